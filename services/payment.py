"""Payments: finding one, telling its workflow, waiting for its outcome; cancel. (Confirm, capture, review follow.)"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from db import audit_log, lookup
from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.payment import lifecycle, payment
from db.payment.record import Payment
from domain.errors import Conflict, NotFound, Unavailable
from domain.ids import CLIENT_ID
from domain.messages import CancelRequest, Nudge
from domain.payment import CancelStep
from domain.status import TERMINAL
from runtime.wiring import Runtime
from services.command import Caller, once
from services.waiting import wait_until


@dataclass(frozen=True)
class Answer:
    """A payment after a command, and whether its key had been used before."""

    payment: Payment
    replayed: bool


async def find(database: Database, caller: Caller, name: str) -> tuple[Payment, str | None]:
    """The payment called `name` (`pay_…`, `po_…`, the client's payment_order_id; for a person at a terminal also its
    checkout_id), and the id of the order if one was named.

    Raises NotFound `payment_not_found`, also for what is no id at all; Conflict `payment_ambiguous` where several
    tenants have one of this name.
    """
    found = await _named(database, caller, name) if CLIENT_ID.fullmatch(name) else None
    if found is None:
        raise NotFound(
            f"There is no payment {name}." if caller.tenant_id is None else "There is no such payment.",
            code="payment_not_found",
        )
    return await load(database, found[0]), found[1]


async def _named(database: Database, caller: Caller, name: str) -> tuple[str, str | None] | None:
    tenant_id = caller.tenant_id
    if tenant_id is not None:
        return await database.read(lambda c: payment.find(c, tenant_id, name))
    found = await database.read(lambda c: lookup.find_payments(c, name))
    if len({tenant for _, tenant in found}) > 1:
        ids = ", ".join(f"{payment_id} ({tenant})" for payment_id, tenant in found)
        detail = f"{name} is the name of several tenants' payments: {ids}. Use the payment's own id."
        raise Conflict(detail, code="payment_ambiguous")
    if not found:
        return None
    row = await load(database, found[0][0])
    return row.id, next((order.id for order in row.orders if name in (order.id, order.payment_order_id)), None)


async def load(database: Database, payment_id: str) -> Payment:
    """The payment of a stored id."""
    row = await database.read(lambda c: payment.get(c, payment_id))
    assert row is not None, "it was committed before it is loaded"
    return row


async def tell(runtime: Runtime, row: Payment, message: Nudge | CancelRequest) -> None:
    """Signal the workflow, but only while it listens: a signal would make its first task run twice. Whoever calls this
    has marked the row, so where Temporal is away the workflow's next step, or the sweeper, acts on the mark."""
    if lifecycle.listens(row):
        with contextlib.suppress(Unavailable):
            await runtime.workflow_client.tell(row, message)


async def cancel(
    runtime: Runtime, caller: Caller, name: str, *, request: Request | None = None, wait_s: float = 0.0
) -> Answer:
    """Cancel a payment that has not settled: what was charged is refunded, and it ends CANCELLED. Cancelling twice is
    no error. Raises NotFound; Conflict `payment_settled`, `idempotency_in_progress`."""
    row, _ = await find(runtime.database, caller, name)
    step = CancelStep(payment_id=row.id, by=caller.actor, at=datetime.now(UTC))

    async def mark(connection: Connection) -> Payment:
        marked = await lifecycle.request_cancel(connection, step)
        if marked.open:
            detail = {"status": marked.status.value}
            await audit_log.record(connection, row.tenant_id, caller.actor, "payment.cancel", row.id, detail)
        return marked

    done = await once(runtime.database, row.tenant_id, request, row.id, mark, repeat=True)
    assert done.result is not None, "it is done again under the same key"
    marked = done.result
    if not marked.open:
        return Answer(marked, done.replayed)
    return Answer(await _told(runtime, marked, CancelRequest(by=caller.actor), wait_s, until=ended), done.replayed)


def ended(row: Payment) -> bool:
    return row.status in TERMINAL


async def _told(
    runtime: Runtime, row: Payment, message: Nudge | CancelRequest, wait_s: float, *, until: Callable[[Payment], bool]
) -> Payment:
    """The payment after its workflow was told and has had `wait_s` to act on it."""
    with runtime.notifier.watch(row.id) as changed:
        await tell(runtime, row, message)
        return await wait_until(lambda: load(runtime.database, row.id), until, changed=changed, wait_s=wait_s)
