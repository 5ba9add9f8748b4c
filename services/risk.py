"""Risk: a tenant's rules, and a person's decision about a payment in review."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from db import audit_log, risk, tenant
from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.payment.record import Payment
from db.risk import RuleSetVersion
from domain.errors import NotFound
from domain.limits import Note
from domain.messages import Nudge
from domain.payment import Review, ReviewStep
from domain.risk import ReviewDecision, RuleSet
from domain.status import Status
from services import payment as payments
from services.command import Caller, check
from services.payment import Answer

if TYPE_CHECKING:
    from runtime.wiring import Runtime


async def replace_rules(database: Database, caller: Caller, tenant_id: str, rules: RuleSet) -> RuleSetVersion:
    """Replace a tenant's rules by others, as a new version, for payments from now on. Raises NotFound
    `tenant_not_found`."""

    async def work(connection: Connection) -> RuleSetVersion:
        if not await tenant.exists(connection, tenant_id):
            raise NotFound(f"There is no tenant {tenant_id}.", code="tenant_not_found")
        written = await risk.put_rules(connection, tenant_id, rules, caller.actor)
        await audit_log.record(
            connection, tenant_id, caller.actor, "risk.rules", tenant_id, {"version": written.version}
        )
        return written

    return await database.run(work)


async def review(
    runtime: Runtime,
    caller: Caller,
    name: str,
    decision: ReviewDecision,
    note: str,
    *,
    request: Request | None = None,
    wait_s: float = 0.0,
) -> Answer:
    """Let a payment in review go on, or end it as FAILED; the first decision counts, and is written to the audit log.
    Raises NotFound; Unprocessable `field_invalid`, `card_data_forbidden`, `text_invalid`; Conflict
    `payment_not_in_review`, `review_decided`, `idempotency_in_progress`."""
    check(Note, note, "note")
    row, _ = await payments.find(runtime.database, caller, name)
    step = ReviewStep(
        payment_id=row.id, review=Review(decision=decision, by=caller.actor, note=note), at=datetime.now(UTC)
    )

    async def mark(connection: Connection) -> Payment:
        return await risk.review(connection, step)

    def decided(_: Payment, now: Payment) -> bool:
        return now.status not in (Status.IN_REVIEW, Status.EXECUTING)

    message = Nudge(reason="review")
    return await payments.carry_on(runtime, row, mark, message, until=decided, request=request, wait_s=wait_s)
