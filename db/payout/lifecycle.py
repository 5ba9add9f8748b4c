"""What becomes of a payout: each step under its row lock, each safe to repeat."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, task
from db.payout import payout as payouts
from db.payout.record import Payout
from db.schema.merchant import merchant
from db.schema.messages import webhook_inbox
from db.schema.payout import payout, payout_call, payout_transition
from domain import ledger as books
from domain.calendar import working_days_after
from domain.errors import Conflict, Unprocessable
from domain.ledger import Kind
from domain.model import Failure
from domain.payout import (
    BANK_PATIENCE,
    BankWaitPolicy,
    BookPayoutStep,
    BookTransferStep,
    PayoutCall,
    PayoutDecision,
    PayoutResolution,
    PayoutResolutionStep,
    PayoutState,
)
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
from domain.status import PAYOUT_ENDED, PAYOUT_TRANSITIONS, MerchantStatus, PayoutStatus

UNCLEAR = "payout_unclear"
"""A call was made, its key has expired, and the PSP shows nothing of it."""
NOT_RETURNED = "payout_not_returned"
"""The PSP refuses to take back what lies on the seller's account there."""
LATE = "payout_late"
"""The bank should have had it days ago."""
UNCHECKED = "payout_unchecked"
"""It was paid, and the PSP did not say whether the bank has returned it."""
STUCK = "payout_stuck"

_AT_THE_BANK = (PayoutStatus.TRANSFERRED, PayoutStatus.IN_TRANSIT, PayoutStatus.PAID)
_CANCELLABLE = (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED, PayoutStatus.IN_TRANSIT)

_RETURN_AGAIN = timedelta(hours=1)
_RETURN_GIVEN_UP = timedelta(days=3)
"""A look at what was paid that has no answer is repeated so soon, until so long after the last."""


def state_of(row: Payout) -> PayoutState:
    return PayoutState(status=row.status, cancel_requested=row.cancel_requested, late=_late(row))


def _late(row: Payout) -> bool:
    """Whether a person is asked about one that the PSP has by name, and that may still arrive."""
    return row.status is PayoutStatus.NEEDS_ATTENTION and row.ends_as is None and row.reference is not None


def listens(row: Payout) -> bool:
    """Whether its workflow waits, so that a message moves it on. An earlier step reads what a person wrote from the
    row, and a message would only make its first task run twice."""
    return row.status in (PayoutStatus.IN_TRANSIT, PayoutStatus.NEEDS_ATTENTION)


def call_of(row: Payout) -> PayoutCall:
    """The call that the payout waits for; one that needs attention, the call about which it does."""
    if row.ends_as is not None:
        return PayoutCall.REVERSAL
    return PayoutCall.TRANSFER if row.transfer_reference is None else PayoutCall.PAYOUT


async def begin(connection: AsyncConnection, payout_id: str, key: str) -> str | None:
    """Mark a call that was never sent as sent: from now on the PSP may have it. Or say why it is not sent any more: it
    was cancelled, or its seller frozen or closed, which cancels it."""
    row = await payouts.lock(connection, payout_id)
    seller = (merchant.c.tenant_id == row.tenant_id, merchant.c.seller_account == row.seller_account)
    status = await connection.scalar(select(merchant.c.status).where(*seller))
    if row.status not in (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED):
        return f"it is {row.status}"
    if row.cancel_requested:
        return "cancelled before it was sent"
    if status != MerchantStatus.ACTIVE:
        why = f"the seller is {status}"
        await _change(connection, row, cancel_requested_at=func.now(), cancel_requested_by=why)
        return why
    await connection.execute(update(payout_call).where(payout_call.c.key == key).values(sent_at=func.now()))
    return None


# --- the seller's account at the PSP ---


async def book_transfer(connection: AsyncConnection, step: BookTransferStep, send_for_s: float) -> PayoutState:
    """The PSP's word on the transfer, or on taking it back. One that the row has moved on from changes nothing."""
    row = await payouts.lock(connection, step.payout_id)
    waits_for = PayoutStatus.REQUESTED if step.call is PayoutCall.TRANSFER else PayoutStatus.RETURNING
    if row.status is not waits_for:
        return state_of(row)
    result = step.result
    await _note_call(connection, row, step.call, result.outcome.value, result.reference, result.failure)
    if result.outcome is TransferOutcome.UNKNOWN:
        return await _unknown(connection, row)
    if result.outcome is TransferOutcome.NOT_FOUND:
        return await _needs_attention(connection, row, step.call, UNCLEAR, result.failure, step.at)
    if step.call is PayoutCall.TRANSFER:
        return await _transferred(connection, row, result, step.at, send_for_s)
    if result.outcome is TransferOutcome.REFUSED:
        return await _needs_attention(connection, row, step.call, NOT_RETURNED, result.failure, step.at)
    return await _taken_back(connection, row, step.at)


async def _transferred(
    connection: AsyncConnection, row: Payout, result: TransferResult, at: datetime, send_for_s: float
) -> PayoutState:
    if result.outcome is TransferOutcome.REFUSED:
        await payouts.give_back(connection, row, at)
        ends_as = PayoutStatus.CANCELLED if row.cancel_requested else PayoutStatus.FAILED
        return await _move(connection, row, ends_as, result.reason or "transfer refused", at, failure=result.failure)
    lines = books.payout_transfer(row.psp, row.amount, row.currency)
    await payouts.post(connection, row, Kind.PAYOUT_TRANSFER, lines, at)
    state = await _move(
        connection, row, PayoutStatus.TRANSFERRED, "transferred", at, transfer_reference=result.reference
    )
    if not row.cancel_requested:
        await payouts.new_call(connection, row, PayoutCall.PAYOUT, send_for_s)
        return state
    row = await payouts.get(connection, row.id)
    return await _return(connection, row, PayoutStatus.CANCELLED, None, "cancelled", at, send_for_s)


async def _taken_back(connection: AsyncConnection, row: Payout, at: datetime) -> PayoutState:
    lines = books.reversed_lines(books.payout_transfer(row.psp, row.amount, row.currency))
    await payouts.post(connection, row, Kind.PAYOUT_TRANSFER_REVERSAL, lines, at, corrects=Kind.PAYOUT_TRANSFER)
    await payouts.give_back(connection, row, at)
    await _webhooks_done(connection, row, "the money is in the wallet again")
    assert row.ends_as is not None, "what is being taken back has an end"
    return await _move(connection, row, row.ends_as, "the money is in the wallet again", at)


# --- the seller's bank ---


async def book_payout(
    connection: AsyncConnection, step: BookPayoutStep, send_for_s: float, bank: BankWaitPolicy = BANK_PATIENCE
) -> PayoutState:
    """The PSP's word on the payout to the seller's bank. What it said before it was asked is thereby read."""
    row = await payouts.lock(connection, step.payout_id)
    result = step.result
    if row.settled:
        await _webhooks_read(connection, row, result)
    if row.settled or not (row.status in _AT_THE_BANK or _late(row)):
        return state_of(row)
    if row.status is PayoutStatus.TRANSFERRED:
        await _note_call(connection, row, PayoutCall.PAYOUT, result.outcome.value, result.reference, result.failure)
    if result.outcome in (PayoutOutcome.UNKNOWN, PayoutOutcome.NOT_FOUND):
        return await _unclear(connection, row, step, bank)
    await _webhooks_read(connection, row, result)
    if result.outcome in (PayoutOutcome.FAILED, PayoutOutcome.CANCELLED):
        return await _not_paid(connection, row, result, step.at, send_for_s)
    seen: dict[str, Any] = {
        "reference": result.reference or row.reference,
        "arrival_at": result.arrival_at or row.arrival_at,
        "next_check_at": step.next_check_at,
    }
    if step.cancelling and result.failure is not None:
        seen["cancel_failure"] = result.failure.model_dump()
    if row.status is PayoutStatus.PAID:
        paid_at = await _since(connection, row, PayoutStatus.PAID)
        return await _change(connection, row, **seen | {"next_check_at": bank.return_look(paid_at, after=step.at)})
    if result.outcome is PayoutOutcome.PAID:
        return await _paid(connection, row, Kind.PAYOUT_PAID, "at the seller's bank", step.at, bank, **seen)
    return await _under_way(connection, row, step.at, bank, seen)


async def _under_way(
    connection: AsyncConnection, row: Payout, at: datetime, bank: BankWaitPolicy, seen: dict[str, Any]
) -> PayoutState:
    if row.status is PayoutStatus.TRANSFERRED:
        return await _move(connection, row, PayoutStatus.IN_TRANSIT, "on its way to the seller's bank", at, **seen)
    await _change(connection, row, **seen)
    row = await payouts.get(connection, row.id)
    if row.status is PayoutStatus.IN_TRANSIT and await _is_too_late(connection, row, at, bank):
        return await _needs_attention(connection, row, PayoutCall.PAYOUT, LATE, _TOO_LATE, at)
    return state_of(row)


_TOO_LATE = Failure(code="payout_late", message="The bank should have had it days ago.")


async def _unclear(connection: AsyncConnection, row: Payout, step: BookPayoutStep, bank: BankWaitPolicy) -> PayoutState:
    """The PSP does not say where it is: it is looked at again, unless it was never seen there, is not what was asked
    for, or should have arrived long ago."""
    result, at = step.result, step.at
    if row.status is PayoutStatus.PAID:
        return await _return_unknown(connection, row, at, bank)
    if _late(row):
        return await _unknown(connection, row)
    unseen = row.status is PayoutStatus.TRANSFERRED or result.failure is not None
    if result.outcome is PayoutOutcome.NOT_FOUND and unseen:
        return await _needs_attention(connection, row, PayoutCall.PAYOUT, UNCLEAR, result.failure, at)
    if row.status is PayoutStatus.IN_TRANSIT and await _is_too_late(connection, row, at, bank):
        return await _needs_attention(connection, row, PayoutCall.PAYOUT, LATE, _TOO_LATE, at)
    return await _unknown(connection, row, next_check_at=step.next_check_at)


async def _return_unknown(connection: AsyncConnection, row: Payout, at: datetime, bank: BankWaitPolicy) -> PayoutState:
    """It was paid, and whether the bank has returned it is not known: asked again soon, in the end a person is told."""
    if row.reference is None or row.next_check_at is None:
        return state_of(row)
    paid_at = await _since(connection, row, PayoutStatus.PAID)
    if at < paid_at + timedelta(days=max(bank.return_look_days, default=0)) + _RETURN_GIVEN_UP:
        return await _unknown(connection, row, next_check_at=at + _RETURN_AGAIN)
    detail = f"{row.id} was paid, and the PSP does not say whether the bank has returned it"
    await task.open_task(connection, row.tenant_id, None, UNCHECKED, detail, object_id=row.id)
    return await _unknown(connection, row, next_check_at=None)


async def _paid(
    connection: AsyncConnection, row: Payout, kind: Kind, reason: str, at: datetime, bank: BankWaitPolicy, **seen: Any
) -> PayoutState:
    await payouts.post(connection, row, kind, books.payout_paid(row.amount, row.currency), at)
    seen["next_check_at"] = None if kind is Kind.PAYOUT_SETTLED else bank.return_look(at, after=at)
    return await _move(connection, row, PayoutStatus.PAID, reason, at, **seen)


async def _is_too_late(connection: AsyncConnection, row: Payout, at: datetime, bank: BankWaitPolicy) -> bool:
    since = await _since(connection, row, PayoutStatus.IN_TRANSIT)
    return at >= working_days_after(max(since, row.arrival_at or since), bank.days)


async def _since(connection: AsyncConnection, row: Payout, status: PayoutStatus) -> datetime:
    """When it became this for the last time."""
    steps = (payout_transition.c.payout_id == row.id, payout_transition.c.to_status == status.value)
    since: datetime = (await connection.execute(select(func.max(payout_transition.c.at)).where(*steps))).scalar_one()
    return since


async def _not_paid(
    connection: AsyncConnection, row: Payout, result: PayoutResult, at: datetime, send_for_s: float
) -> PayoutState:
    """It is on the seller's account at the PSP again, or has never left it: it is taken back from there."""
    ends_as = PayoutStatus.CANCELLED if result.outcome is PayoutOutcome.CANCELLED else PayoutStatus.FAILED
    reason = (result.reason or "cancelled") if ends_as is PayoutStatus.CANCELLED else "failed"
    if row.status is PayoutStatus.PAID:
        lines = books.reversed_lines(books.payout_paid(row.amount, row.currency))
        await payouts.post(connection, row, Kind.PAYOUT_PAID_REVERSAL, lines, at, corrects=Kind.PAYOUT_PAID)
        ends_as, reason = PayoutStatus.RETURNED, "returned by the bank"
    row = row.model_copy(update={"reference": result.reference or row.reference})
    return await _return(connection, row, ends_as, result.failure, reason, at, send_for_s)


async def _return(
    connection: AsyncConnection,
    row: Payout,
    ends_as: PayoutStatus,
    failure: Failure | None,
    reason: str,
    at: datetime,
    send_for_s: float,
) -> PayoutState:
    await payouts.new_call(connection, row, PayoutCall.REVERSAL, send_for_s)
    return await _move(
        connection,
        row,
        PayoutStatus.RETURNING,
        reason,
        at,
        ends_as=ends_as.value,
        reference=row.reference,
        failure=failure,
        next_check_at=func.now(),
    )


# --- persons ---


async def request_cancel(connection: AsyncConnection, payout_id: str, by: str, at: datetime) -> Payout:
    """Mark that it is not wanted any more; its workflow does what can still be done. Raises Conflict
    `payout_not_cancellable`."""
    row = await payouts.lock(connection, payout_id)
    if row.cancel_requested or row.status is PayoutStatus.CANCELLED or row.ends_as is PayoutStatus.CANCELLED:
        return row
    if row.status not in _CANCELLABLE or row.cancel_failure is not None:
        why = row.cancel_failure.message if row.cancel_failure else f"It is {row.status}."
        raise Conflict(f"{payout_id} cannot be cancelled: {why}", code="payout_not_cancellable")
    await _change(connection, row, cancel_requested_at=at, cancel_requested_by=by)
    return await payouts.get(connection, payout_id)


_POSSIBLE = {
    PayoutCall.TRANSFER: (PayoutDecision.RETRY, PayoutDecision.REFERENCE),
    PayoutCall.PAYOUT: (PayoutDecision.RETRY, PayoutDecision.REFERENCE, PayoutDecision.PAID, PayoutDecision.DONE),
    PayoutCall.REVERSAL: (PayoutDecision.RETRY, PayoutDecision.PAID, PayoutDecision.DONE),
}


def refuse_impossible(row: Payout, resolution: PayoutResolution) -> None:
    """Raises Conflict `payout_not_waiting`, Unprocessable `decision_not_possible`."""
    if row.status is not PayoutStatus.NEEDS_ATTENTION:
        raise Conflict(f"{row.id} is {row.status}: there is nothing to decide.", code="payout_not_waiting")
    call, decision = call_of(row), resolution.decision
    if decision in _POSSIBLE[call] and (decision is not PayoutDecision.REFERENCE or resolution.reference):
        return
    words = [word if word != PayoutDecision.REFERENCE else "reference with the PSP's name for it"
             for word in _POSSIBLE[call]]  # fmt: skip
    possible = f"{', '.join(words[:-1])} or {words[-1]}"
    raise Unprocessable(f"The {call} of {row.id} is waited for: say {possible}.", code="decision_not_possible")


async def resolve(
    connection: AsyncConnection, step: PayoutResolutionStep, send_for_s: float, bank: BankWaitPolicy = BANK_PATIENCE
) -> PayoutState:
    """A person's decision about one that needs attention. Raises what `refuse_impossible` does, and Conflict
    `reference_taken`."""
    row = await payouts.lock(connection, step.payout_id)
    resolution, by, at = step.resolution, step.resolution.by, step.at
    refuse_impossible(row, resolution)
    call = call_of(row)
    detail = {"decision": resolution.decision.value, "reference": resolution.reference, "note": resolution.note}
    await audit_log.record(connection, row.tenant_id, by, "payout.resolve", row.id, detail)
    await task.close_of(connection, row.id, by=by, resolution=f"{resolution.decision}: {resolution.note}".rstrip(": "))
    match resolution.decision:
        case PayoutDecision.RETRY:
            return await _again(connection, row, call, by, at, send_for_s)
        case PayoutDecision.PAID:
            await _webhooks_done(connection, row, f"the seller has the money, says {by}")
            kind = Kind.PAYOUT_SETTLED if call is PayoutCall.REVERSAL else Kind.PAYOUT_PAID
            return await _paid(connection, row, kind, f"the seller has the money, says {by}", at, bank)
        case PayoutDecision.DONE:
            ends_as = PayoutStatus.CANCELLED if row.cancel_requested else PayoutStatus.FAILED
            return await _taken_back(connection, row.model_copy(update={"ends_as": row.ends_as or ends_as}), at)
        case PayoutDecision.REFERENCE:
            assert resolution.reference is not None, "refused above"
            return await _made_by_hand(connection, row, call, resolution.reference, by, at, send_for_s)


async def _again(
    connection: AsyncConnection, row: Payout, call: PayoutCall, by: str, at: datetime, send_for_s: float
) -> PayoutState:
    if _late(row):
        return await _move(connection, row, PayoutStatus.IN_TRANSIT, f"{by} waits on", at, next_check_at=func.now())
    back = {
        PayoutCall.TRANSFER: PayoutStatus.REQUESTED,
        PayoutCall.PAYOUT: PayoutStatus.TRANSFERRED,
        PayoutCall.REVERSAL: PayoutStatus.RETURNING,
    }[call]
    await payouts.new_call(connection, row, call, send_for_s)
    return await _move(connection, row, back, f"retry by {by}", at, next_check_at=func.now())


async def _made_by_hand(
    connection: AsyncConnection,
    row: Payout,
    call: PayoutCall,
    reference: str,
    by: str,
    at: datetime,
    send_for_s: float,
) -> PayoutState:
    """Under its name at the PSP, which was looked at before. One name is one payout's."""
    name = payout.c.transfer_reference if call is PayoutCall.TRANSFER else payout.c.reference
    others = select(payout.c.id).where(name == reference, payout.c.psp == row.psp, payout.c.id != row.id)
    taken = await connection.scalar(others)
    if taken is not None:
        raise Conflict(f"{reference} is the {call} of {taken}.", code="reference_taken")
    if call is PayoutCall.TRANSFER:
        result = TransferResult(outcome=TransferOutcome.DONE, reference=reference)
        return await _transferred(connection, row, result, at, send_for_s)
    return await _move(
        connection, row, PayoutStatus.IN_TRANSIT, f"named by {by}", at, reference=reference, next_check_at=func.now()
    )


# --- the row ---


async def _move(
    connection: AsyncConnection,
    row: Payout,
    status: PayoutStatus,
    reason: str,
    at: datetime,
    *,
    failure: Failure | None = None,
    **values: Any,
) -> PayoutState:
    assert (row.status.value, status.value) in PAYOUT_TRANSITIONS, f"{row.id}: {row.status} cannot become {status}"
    if failure is not None:
        values["failure"] = failure.model_dump()
    elif status in (PayoutStatus.IN_TRANSIT, PayoutStatus.PAID):
        values["failure"] = None  # why a person was asked
    await _change(connection, row, status=status.value, **values)
    changed = await payouts.get(connection, row.id)
    await payouts.record(connection, changed, row.status, reason, at)
    if status in PAYOUT_ENDED or row.status is PayoutStatus.NEEDS_ATTENTION:
        await task.close_of(connection, row.id, by="workflow", resolution=f"the payout is {status}")
    return state_of(changed)


async def _change(connection: AsyncConnection, row: Payout, **values: Any) -> PayoutState:
    changed = await connection.execute(
        update(payout).where(payout.c.id == row.id).values(updated_at=func.now(), **values).returning(payout)
    )
    return state_of(Payout(**changed.mappings().one()))


async def _unknown(connection: AsyncConnection, row: Payout, **values: Any) -> PayoutState:
    next_check_at = values.get("next_check_at")
    if next_check_at is not None and next_check_at == row.next_check_at:
        return state_of(row)  # the same step once more, which names the same next look: its answer is counted
    return await _change(connection, row, unknown_count=payout.c.unknown_count + 1, **values)


async def _needs_attention(
    connection: AsyncConnection, row: Payout, call: PayoutCall, kind: str, failure: Failure | None, at: datetime
) -> PayoutState:
    why = failure.message if failure else "nothing is found of it at the PSP, and its key has expired"
    await task.open_task(connection, row.tenant_id, None, kind, f"The {call} of {row.id}: {why}", object_id=row.id)
    return await _move(
        connection, row, PayoutStatus.NEEDS_ATTENTION, f"{call}: {why}", at, failure=failure, next_check_at=None
    )


async def _note_call(
    connection: AsyncConnection,
    row: Payout,
    call: PayoutCall,
    outcome: str,
    reference: str | None,
    failure: Failure | None,
) -> None:
    last = await payouts.last_call(connection, row.id, call)
    assert last is not None, "a call is written before it is made"
    await connection.execute(
        update(payout_call)
        .where(payout_call.c.key == last.key)
        .values(outcome=outcome, reference=reference, failure=failure.model_dump() if failure else None)
    )


async def _webhooks_read(connection: AsyncConnection, row: Payout, result: PayoutResult) -> None:
    """What the PSP had said of this payout before it was asked has been looked at."""
    if result.asked_at is not None:
        before = webhook_inbox.c.received_at < result.asked_at
        await _webhooks_done(connection, row, f"the PSP was asked: {result.outcome}", before)


async def _webhooks_done(connection: AsyncConnection, row: Payout, note: str, *which: ColumnElement[bool]) -> None:
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.payout_id == row.id, webhook_inbox.c.status == "RECEIVED", *which)
        .values(status="PROCESSED", note=note, processed_at=func.now())
    )
