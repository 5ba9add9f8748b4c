"""The PSP's answers about a payout, carried into its row and the ledger: each step under the row's lock, each safe to
repeat."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.payout import payout as payouts
from db.payout import request, trace, transition
from db.payout.record import WAITS_AS, Call, Payout
from db.schema.merchant import merchant
from db.schema.payout import payout_call
from domain import ledger as books
from domain.calendar import working_days_after
from domain.ledger import Kind
from domain.model import Failure
from domain.payout import BANK_PATIENCE, BankWaitPolicy, BookPayoutStep, BookTransferStep, PayoutCall, PayoutState
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
from domain.status import MerchantStatus, PayoutStatus

_AT_THE_BANK = (PayoutStatus.TRANSFERRED, PayoutStatus.IN_TRANSIT, PayoutStatus.PAID)

_RETURN_AGAIN = timedelta(hours=1)
_RETURN_GIVEN_UP = timedelta(days=3)
"""A look at what was paid that has no answer is repeated so soon, until so long after the last."""


def listens(row: Payout) -> bool:
    """True while its workflow waits, so that a message moves it on. An earlier step reads what a person wrote from the
    row, and a message would only make its first task run twice."""
    return row.status in (PayoutStatus.IN_TRANSIT, PayoutStatus.NEEDS_ATTENTION)


async def begin(connection: AsyncConnection, payout_id: str, key: str) -> str | None:
    """Mark a call that was never sent as sent: from now on the PSP may have it. Or say why it is not sent any more: it
    was cancelled, or its seller frozen or closed, which cancels it."""
    return await _begin(connection, await payouts.lock(connection, payout_id), key)


async def _begin(connection: AsyncConnection, row: Payout, key: str) -> str | None:
    seller = (merchant.c.tenant_id == row.tenant_id, merchant.c.seller_account == row.seller_account)
    status = await connection.scalar(select(merchant.c.status).where(*seller))
    if row.status not in (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED):
        return f"it is {row.status}"
    if row.cancel_requested:
        return "cancelled before it was sent"
    if status != MerchantStatus.ACTIVE:
        why = f"the seller is {status}"
        await transition.change(connection, row, cancel_requested_at=func.now(), cancel_requested_by=why)
        return why
    await connection.execute(update(payout_call).where(payout_call.c.key == key).values(sent_at=func.now()))
    return None


@dataclass(frozen=True)
class Ready:
    """A call that is marked as sent, at `now` on the database's clock; `stopped`: why it is not sent any more."""

    row: Payout
    call: Call
    now: datetime
    stopped: str | None


async def ready(connection: AsyncConnection, payout_id: str, wanted: PayoutCall) -> Ready | None:
    """Mark the first attempt at a call as sent, as `begin`. None where the payout does not wait for it, or what is at
    the PSP has to be looked at before: it is another attempt, or its time is over."""
    row, now = await payouts.now(connection, payout_id, lock=True)
    call = await payouts.last_call(connection, payout_id, wanted) if row.status is WAITS_AS[wanted] else None
    if call is None or call.attempt > 1 or now >= call.send_until:
        return None
    return Ready(row, call, now, None if call.sent_at else await _begin(connection, row, call.key))


async def unanswered(
    connection: AsyncConnection, payout_id: str, call: PayoutCall, reason: str, next_check_at: datetime
) -> None:
    """Write down that a call has no answer that can be trusted, as long as the payout waits for one."""
    row = await payouts.lock(connection, payout_id)
    if row.status is WAITS_AS[call]:
        await transition.unanswered(connection, row, call, reason, next_check_at)


# --- the seller's account at the PSP ---


async def book_transfer(connection: AsyncConnection, step: BookTransferStep, send_for_s: float) -> PayoutState:
    """The PSP's word on the transfer, or on taking it back. One that the row has moved on from changes nothing."""
    row = await payouts.lock(connection, step.payout_id)
    if row.status is not WAITS_AS[step.call]:
        return transition.state_of(row)
    result = step.result
    if result.outcome is TransferOutcome.UNKNOWN:
        return await transition.unanswered(connection, row, step.call, result.reason or "", step.next_check_at)
    await transition.note_call(connection, row, step.call, result.outcome.value, result.reference, result.failure)
    if result.outcome is TransferOutcome.NOT_FOUND:
        kind = transition.unclear(result.failure)
        return await transition.needs_attention(connection, row, step.call, kind, result.failure, step.at)
    if step.call is PayoutCall.TRANSFER:
        return await transferred(connection, row, result, step.at, send_for_s)
    if result.outcome is TransferOutcome.REFUSED:
        return await transition.needs_attention(
            connection, row, step.call, transition.NOT_RETURNED, result.failure, step.at
        )
    return await taken_back(connection, row, step.at)


async def transferred(
    connection: AsyncConnection, row: Payout, result: TransferResult, at: datetime, send_for_s: float
) -> PayoutState:
    if result.outcome is TransferOutcome.REFUSED:
        await request.return_to_wallet(connection, row, at)
        ends_as = PayoutStatus.CANCELLED if row.cancel_requested else PayoutStatus.FAILED
        return await transition.move(
            connection, row, ends_as, result.reason or "transfer refused", at, failure=result.failure
        )
    lines = books.payout_transfer(row.psp, row.amount, row.currency)
    await payouts.post(connection, row, Kind.PAYOUT_TRANSFER, lines, at)
    state = await transition.move(
        connection, row, PayoutStatus.TRANSFERRED, "transferred", at, transfer_reference=result.reference
    )
    if not row.cancel_requested:
        await payouts.new_call(connection, row, PayoutCall.PAYOUT, send_for_s)
        return state
    row = await payouts.get(connection, row.id)
    return await _return(connection, row, PayoutStatus.CANCELLED, None, "cancelled", at, send_for_s)


async def taken_back(connection: AsyncConnection, row: Payout, at: datetime) -> PayoutState:
    lines = books.reversed_lines(books.payout_transfer(row.psp, row.amount, row.currency))
    await payouts.post(connection, row, Kind.PAYOUT_TRANSFER_REVERSAL, lines, at, corrects=Kind.PAYOUT_TRANSFER)
    await request.return_to_wallet(connection, row, at)
    await transition.webhooks_done(connection, row, "the money is in the wallet again")
    assert row.ends_as is not None, "what is being taken back has an end"
    return await transition.move(connection, row, row.ends_as, "the money is in the wallet again", at)


# --- the seller's bank ---


async def book_payout(
    connection: AsyncConnection, step: BookPayoutStep, send_for_s: float, bank: BankWaitPolicy = BANK_PATIENCE
) -> PayoutState:
    """The PSP's word on the payout to the seller's bank. What it said before it was asked is thereby read."""
    row = await payouts.lock(connection, step.payout_id)
    result = step.result
    await trace.keep(connection, row.psp, [(result.reference, result.trace_id)])
    if row.settled:
        await transition.webhooks_read(connection, row, result)
    if row.settled or not (row.status in _AT_THE_BANK or transition.late(row)):
        return transition.state_of(row)
    if row.status is PayoutStatus.TRANSFERRED and result.outcome is PayoutOutcome.UNKNOWN:
        return await transition.unanswered(connection, row, PayoutCall.PAYOUT, result.reason or "", step.next_check_at)
    if row.status is PayoutStatus.TRANSFERRED:
        await transition.note_call(
            connection, row, PayoutCall.PAYOUT, result.outcome.value, result.reference, result.failure
        )
    if result.outcome in (PayoutOutcome.UNKNOWN, PayoutOutcome.NOT_FOUND):
        return await _unclear(connection, row, step, bank)
    await transition.webhooks_read(connection, row, result)
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
        paid_at = await transition.since(connection, row, PayoutStatus.PAID)
        return await transition.change(
            connection, row, **seen | {"next_check_at": bank.return_look(paid_at, after=step.at)}
        )
    if result.outcome is PayoutOutcome.PAID:
        return await paid(connection, row, Kind.PAYOUT_PAID, "at the seller's bank", step.at, bank, **seen)
    return await _under_way(connection, row, step.at, bank, seen)


async def _under_way(
    connection: AsyncConnection, row: Payout, at: datetime, bank: BankWaitPolicy, seen: dict[str, Any]
) -> PayoutState:
    if row.status is PayoutStatus.TRANSFERRED:
        return await transition.move(
            connection, row, PayoutStatus.IN_TRANSIT, "on its way to the seller's bank", at, **seen
        )
    await transition.change(connection, row, **seen)
    row = await payouts.get(connection, row.id)
    if row.status is PayoutStatus.IN_TRANSIT and await _is_too_late(connection, row, at, bank):
        return await transition.needs_attention(connection, row, PayoutCall.PAYOUT, transition.LATE, _TOO_LATE, at)
    return transition.state_of(row)


_TOO_LATE = Failure(code="payout_late", message="The bank should have had it days ago.")


async def _unclear(connection: AsyncConnection, row: Payout, step: BookPayoutStep, bank: BankWaitPolicy) -> PayoutState:
    """The PSP does not say where it is: it is looked at again, unless it was never seen there, is not what was asked
    for, or should have arrived long ago."""
    result, at = step.result, step.at
    if row.status is PayoutStatus.PAID:
        return await _return_unknown(connection, row, result.failure, at, bank)
    if transition.late(row):
        return await transition.unknown(connection, row)
    unseen = row.status is PayoutStatus.TRANSFERRED or result.failure is not None
    if result.outcome is PayoutOutcome.NOT_FOUND and unseen:
        kind = transition.unclear(result.failure)
        return await transition.needs_attention(connection, row, PayoutCall.PAYOUT, kind, result.failure, at)
    if row.status is PayoutStatus.IN_TRANSIT and await _is_too_late(connection, row, at, bank):
        return await transition.needs_attention(connection, row, PayoutCall.PAYOUT, transition.LATE, _TOO_LATE, at)
    return await transition.unknown(connection, row, next_check_at=step.next_check_at)


async def _return_unknown(
    connection: AsyncConnection, row: Payout, failure: Failure | None, at: datetime, bank: BankWaitPolicy
) -> PayoutState:
    """It was paid, and whether the bank has returned it is not known: asked again soon, in the end a person is told; at
    once where the PSP shows something else than was paid (`failure`)."""
    if row.reference is None or row.next_check_at is None:
        return transition.state_of(row)
    paid_at = await transition.since(connection, row, PayoutStatus.PAID)
    given_up_at = paid_at + timedelta(days=max(bank.return_look_days, default=0)) + _RETURN_GIVEN_UP
    if failure is None and at < given_up_at:
        return await transition.unknown(connection, row, next_check_at=at + _RETURN_AGAIN)
    said = failure.message if failure else "the PSP does not say whether the bank has returned it"
    detail = f"{row.id} was paid, and now: {said}" if failure else f"{row.id} was paid, and {said}"
    await task.open_task(connection, row.tenant_id, None, transition.UNCHECKED, detail, object_id=row.id)
    return await transition.unknown(connection, row, next_check_at=None)


async def paid(
    connection: AsyncConnection, row: Payout, kind: Kind, reason: str, at: datetime, bank: BankWaitPolicy, **seen: Any
) -> PayoutState:
    await payouts.post(connection, row, kind, books.payout_paid(row.amount, row.currency), at)
    seen["next_check_at"] = None if kind is Kind.PAYOUT_SETTLED else bank.return_look(at, after=at)
    return await transition.move(connection, row, PayoutStatus.PAID, reason, at, **seen)


async def _is_too_late(connection: AsyncConnection, row: Payout, at: datetime, bank: BankWaitPolicy) -> bool:
    since = await transition.since(connection, row, PayoutStatus.IN_TRANSIT)
    return at >= working_days_after(max(since, row.arrival_at or since), bank.days)


async def _not_paid(
    connection: AsyncConnection, row: Payout, result: PayoutResult, at: datetime, send_for_s: float
) -> PayoutState:
    """It is on the seller's account at the PSP again, or has never left it: it is taken back from there."""
    cancelled = result.outcome is PayoutOutcome.CANCELLED
    if row.status is PayoutStatus.TRANSFERRED and row.cancel_requested:
        cancelled = True  # who asked for a cancel before it was on its way gets one
    ends_as = PayoutStatus.CANCELLED if cancelled else PayoutStatus.FAILED
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
    return await transition.move(
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
