"""Discrepancies: finding one, deciding about it, and doing what is proposed.

What is proposed is booked here, or done by the workflow that owns the matter: never by writing a status. The workflow
asks the PSP itself, and a later look sees what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from db import audit_log
from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.hot import read
from db.payment import lifecycle
from db.payment.record import Payment
from db.payout import payout
from db.reconciliation import discrepancy, fix
from db.reconciliation.fix import Refused
from domain.errors import Conflict, NotFound, Unprocessable
from domain.ids import CLIENT_ID, payment_workflow_id
from domain.limits import Note
from domain.messages import Nudge
from domain.reconciliation.discrepancy import Discrepancy, allowed_decisions, refusal
from domain.reconciliation.reconciliation import (
    BOOKING_FIXES,
    BY_ITSELF,
    Decision,
    DiscrepancyStatus,
    Fix,
    ResolveStep,
)
from services.command import Caller, check, once

if TYPE_CHECKING:
    from runtime.workflow_client import WorkflowClient


@dataclass(frozen=True)
class Decided:
    """A discrepancy after a decision, and whether its key had been used before."""

    row: Discrepancy
    replayed: bool


async def find(database: Database, tenant_id: str | None, discrepancy_id: str) -> Discrepancy:
    """The discrepancy, as far as the tenant (None: an operator) may see it. Raises NotFound `discrepancy_not_found`."""
    named = CLIENT_ID.fullmatch(discrepancy_id) is not None
    row = await database.read(lambda c: discrepancy.find(c, tenant_id, discrepancy_id)) if named else None
    if row is None:
        raise NotFound("There is no such discrepancy.", code="discrepancy_not_found")
    return row


# --- a person's decision ---


async def resolve(
    database: Database,
    workflow_client: WorkflowClient,
    caller: Caller,
    discrepancy_id: str,
    decision: Decision,
    note: str,
    *,
    request: Request | None = None,
    at: datetime | None = None,
) -> Decided:
    """Decide about a discrepancy, once. What a workflow was asked for stays OPEN until the fact is there. A fix that
    was not carried out when its key was used first is carried out by the repetition: twice is as once.

    Raises NotFound `discrepancy_not_found`; Conflict `discrepancy_closed` (with who decided, and when), `fix_refused`;
    Unprocessable `decision_not_allowed` (with what is), `note_required`, `field_invalid`; Unavailable.
    """
    row = await find(database, caller.tenant_id, discrepancy_id)
    check(Note, note, "note")
    step = ResolveStep(discrepancy_id=row.id, decision=decision, by=caller.actor, note=note, at=at or datetime.now(UTC))
    tenant_id = caller.tenant_id or row.tenant_id
    done = await once(database, tenant_id, request, row.id, lambda c: _decide(c, step))
    row = await database.read(lambda c: discrepancy.get(c, step.discrepancy_id))
    if step.decision is not Decision.APPLY_FIX or not row.open:
        return Decided(row, done.replayed)
    if not (done.replayed and row.fix_asked_at):
        try:
            await apply_fix(database, workflow_client, row, step.at, by=step.by, note=step.note or None)
        except Refused as error:
            raise Conflict(f"The fix does not fit any more: {error}.", code="fix_refused") from error
    return Decided(await database.read(lambda c: discrepancy.get(c, step.discrepancy_id)), done.replayed)


async def _decide(connection: Connection, step: ResolveStep) -> None:
    """Write down the decision and, but for `apply_fix`, which comes after it, do it."""
    row = await discrepancy.get(connection, step.discrepancy_id, lock=True)
    _require_allowed(row, step)
    transaction_id = None
    if step.decision in (Decision.ADJUST, Decision.TO_SUSPENSE):
        explained = await discrepancy.explained(connection, row)
        if explained is not None:
            why = f"{explained} To book it again would falsify the ledger: reconcile anew, and it is matched."
            raise Unprocessable(why, code="decision_not_allowed", allowed=Decision.ACCEPT.value)
        transaction_id = await discrepancy.book_decision(connection, row, step)
    if step.decision is not Decision.APPLY_FIX:
        await discrepancy.end(
            connection,
            row,
            DiscrepancyStatus.RESOLVED,
            step.decision.value,
            by=step.by,
            note=step.note or None,
            transaction_id=transaction_id,
            at=step.at,
        )
    detail = {
        "decision": step.decision.value,
        "note": step.note,
        "class": row.cls.value,
        "reason": row.reason,
        "ledger_transaction": transaction_id,
    }
    await audit_log.record(connection, row.tenant_id, step.by, "discrepancy.resolve", row.id, detail)


def _require_allowed(row: Discrepancy, step: ResolveStep) -> None:
    if not row.open:
        raise Conflict(
            f"It is {row.status} by {row.resolved_by}: {row.resolution}.",
            code="discrepancy_closed",
            resolved_by=row.resolved_by,
            resolved_at=row.resolved_at.isoformat() if row.resolved_at else None,
            resolution=row.resolution,
        )
    allowed = allowed_decisions(row)
    if step.decision not in allowed:
        names = ", ".join(allowed)
        why = refusal(row, step.decision)
        detail = f"{why} A discrepancy of the class {row.cls} like this one takes: {names}."
        raise Unprocessable(detail, code="decision_not_allowed", allowed=names)
    if step.decision is Decision.ACCEPT and not step.note.strip():
        raise Unprocessable("Nothing is booked: the note has to explain it.", code="note_required")


# --- what is proposed ---


async def apply_fix(
    database: Database,
    workflow_client: WorkflowClient,
    row: Discrepancy,
    at: datetime,
    *,
    by: str = BY_ITSELF,
    note: str | None = None,
) -> bool:
    """Do what is proposed: True where the money is booked by that, False where a workflow was asked. Twice is as once.
    Raises Refused where it does not fit any more, Unavailable."""
    if row.fix in BOOKING_FIXES:
        await database.run(lambda c: fix.book(c, row.id, at, by=by, note=note))
        return True
    told = await _ask(database, workflow_client, row, at)
    told = told if by == BY_ITSELF else f"{told}, by {by}"
    await database.run(lambda c: discrepancy.asked(c, row.id, told, at))
    return False


async def _ask(database: Database, workflow_client: WorkflowClient, row: Discrepancy, at: datetime) -> str:
    """Tell the workflow that owns the matter; a sentence of what was done."""
    match row.fix:
        case Fix.ADVANCE_PAYMENT:
            return await _advance_payment(database, workflow_client, row)
        case Fix.ADVANCE_REFUND:
            owner, refund_id = await database.run(lambda c: fix.know_refund(c, row))
            if owner.open:
                return await _nudge(workflow_client, owner)
            await workflow_client.start_refund(owner, refund_id)
            return f"asked the workflow of {refund_id}"
        case Fix.ADVANCE_DISPUTE:
            owner, dispute_id = await database.run(lambda c: fix.know_dispute(c, row, at))
            await workflow_client.start_dispute(owner, dispute_id)
            return f"asked the workflow of {dispute_id}"
        case _:
            payout_id = row.object_id
            assert payout_id is not None, "it is of a payout"
            paid = await database.read(lambda c: payout.get(c, payout_id))
            await workflow_client.start_payout(paid)
            return f"asked the workflow of {paid.id}"


async def _advance_payment(database: Database, workflow_client: WorkflowClient, row: Discrepancy) -> str:
    owner, reference = await database.run(lambda c: fix.name_charge(c, row))
    fresh = await read.payment(database, owner.id)
    assert fresh is not None, "it was locked a moment ago"
    if fresh.open:
        return await _nudge(workflow_client, fresh)
    if not fresh.charge.booked:
        await workflow_client.start_late_charge(fresh, fresh.charge.id, reference)
        return f"asked for the refund of {fresh.charge.id}: {fresh.id} had ended"
    return f"{fresh.id} is {fresh.status} and booked by now"


async def _nudge(workflow_client: WorkflowClient, owner: Payment) -> str:
    """Have the payment's workflow ask the PSP. In its first task a message would make it run twice, and it asks then
    anyhow."""
    running = await workflow_client.is_running(payment_workflow_id(owner.id))
    if not running or lifecycle.listens(owner):
        await workflow_client.tell(owner, Nudge(reason="reconciliation"))
    return f"asked the workflow of {owner.id}"
