"""Decisions about a payout: cancelling it, and answering the question that it waits with."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, task
from db.payout import lifecycle, transition
from db.payout import payout as payouts
from db.payout.record import WAITS_AS, Payout
from db.schema.payout import payout
from domain.decisions import in_words, offered_for_payout
from domain.errors import Conflict, Unprocessable
from domain.ledger import Kind
from domain.payout import (
    BANK_PATIENCE,
    BankWaitPolicy,
    PayoutCall,
    PayoutDecision,
    PayoutResolution,
    PayoutResolutionStep,
    PayoutState,
)
from domain.psp import TransferOutcome, TransferResult
from domain.status import PayoutStatus

_CANCELLABLE = (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED, PayoutStatus.IN_TRANSIT)


async def request_cancel(connection: AsyncConnection, payout_id: str, by: str, at: datetime) -> Payout:
    """Mark a payout as not wanted any more; its workflow does what can still be done. Raises Conflict
    `payout_not_cancellable`."""
    row = await payouts.lock(connection, payout_id)
    if row.cancel_requested or row.status is PayoutStatus.CANCELLED or row.ends_as is PayoutStatus.CANCELLED:
        return row
    if row.status not in _CANCELLABLE or row.cancel_failure is not None:
        why = row.cancel_failure.message if row.cancel_failure else f"It is {row.status}."
        raise Conflict(f"{payout_id} cannot be cancelled: {why}", code="payout_not_cancellable")
    await transition.change(connection, row, cancel_requested_at=at, cancel_requested_by=by)
    return await payouts.get(connection, payout_id)


def refuse_impossible(row: Payout, resolution: PayoutResolution) -> None:
    """Raises Conflict `payout_not_waiting`, Unprocessable `decision_not_possible`."""
    if row.status is not PayoutStatus.NEEDS_ATTENTION:
        raise Conflict(f"{row.id} is {row.status}: there is nothing to decide.", code="payout_not_waiting")
    call, decision = transition.call_of(row), resolution.decision
    possible = offered_for_payout(call)
    if decision in possible and (decision is not PayoutDecision.REFERENCE or resolution.reference):
        return
    words = in_words(possible).replace("reference", "reference with the PSP's name for it")
    raise Unprocessable(f"The {call} of {row.id} is waited for: say {words}.", code="decision_not_possible")


async def resolve(
    connection: AsyncConnection, step: PayoutResolutionStep, send_for_s: float, bank: BankWaitPolicy = BANK_PATIENCE
) -> PayoutState:
    """Carry out a person's decision about a payout that needs attention. Raises what `refuse_impossible` does, and
    Conflict `reference_taken`."""
    row = await payouts.lock(connection, step.payout_id)
    resolution, by, at = step.resolution, step.resolution.by, step.at
    refuse_impossible(row, resolution)
    call = transition.call_of(row)
    detail = {"decision": resolution.decision.value, "reference": resolution.reference, "note": resolution.note}
    await audit_log.record(connection, row.tenant_id, by, "payout.resolve", row.id, detail)
    await task.close_of(connection, row.id, by=by, resolution=f"{resolution.decision}: {resolution.note}".rstrip(": "))
    match resolution.decision:
        case PayoutDecision.RETRY:
            return await _again(connection, row, call, by, at, send_for_s)
        case PayoutDecision.PAID:
            await transition.webhooks_done(connection, row, f"the seller has the money, says {by}")
            kind = Kind.PAYOUT_SETTLED if call is PayoutCall.REVERSAL else Kind.PAYOUT_PAID
            return await lifecycle.paid(connection, row, kind, f"the seller has the money, says {by}", at, bank)
        case PayoutDecision.DONE:
            ends_as = PayoutStatus.CANCELLED if row.cancel_requested else PayoutStatus.FAILED
            return await lifecycle.taken_back(
                connection, row.model_copy(update={"ends_as": row.ends_as or ends_as}), at
            )
        case PayoutDecision.REFERENCE:
            assert resolution.reference is not None, "refused above"
            return await _made_by_hand(connection, row, call, resolution.reference, by, at, send_for_s)


async def _again(
    connection: AsyncConnection, row: Payout, call: PayoutCall, by: str, at: datetime, send_for_s: float
) -> PayoutState:
    if transition.late(row):
        return await transition.move(
            connection, row, PayoutStatus.IN_TRANSIT, f"{by} waits on", at, next_check_at=func.now()
        )
    await payouts.new_call(connection, row, call, send_for_s)
    return await transition.move(connection, row, WAITS_AS[call], f"retry by {by}", at, next_check_at=func.now())


async def _made_by_hand(
    connection: AsyncConnection,
    row: Payout,
    call: PayoutCall,
    reference: str,
    by: str,
    at: datetime,
    send_for_s: float,
) -> PayoutState:
    """Go on with what was made by hand, under its name at the PSP, which was looked at before."""
    name = payout.c.transfer_reference if call is PayoutCall.TRANSFER else payout.c.reference
    others = select(payout.c.id).where(name == reference, payout.c.psp == row.psp, payout.c.id != row.id)
    taken = await connection.scalar(others)
    if taken is not None:
        raise Conflict(f"{reference} is the {call} of {taken}.", code="reference_taken")
    if call is PayoutCall.TRANSFER:
        result = TransferResult(outcome=TransferOutcome.DONE, reference=reference)
        return await lifecycle.transferred(connection, row, result, at, send_for_s)
    return await transition.move(
        connection, row, PayoutStatus.IN_TRANSIT, f"named by {by}", at, reference=reference, next_check_at=func.now()
    )
