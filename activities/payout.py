"""A payout's calls at the PSP, and what is booked of them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.charge import DEAD_KEYS, try_again
from activities.handover import Handover
from activities.heartbeat import heartbeating
from db import payout, payout_progress
from db.database import Database, clock
from db.payout import Call
from db.records import Payout
from domain.errors import Conflict, Unprocessable
from domain.ids import payout_cancel_key
from domain.money import to_major
from domain.payout import (
    BookPayoutStep,
    BookTransferStep,
    PayoutCall,
    PayoutResolutionStep,
    PayoutState,
    PayoutStep,
)
from domain.psp import (
    Failure,
    PayoutOutcome,
    PayoutRequest,
    PayoutResult,
    ReversalRequest,
    TransferOutcome,
    TransferRequest,
    TransferResult,
)
from gateways.psp import Psp

R = TypeVar("R", TransferResult, PayoutResult)

_CLOCK_SLACK = timedelta(minutes=10)
"""How far the PSP's clock may be from the database's when a payout is looked up by its time of creation."""


class PayoutActivities:
    """`send_for_s`: how long a request may be sent under its key; `fast_timeout_s` bounds the attempt inside a task."""

    def __init__(
        self,
        database: Database,
        psps: Mapping[str, Psp],
        handover: Handover,
        *,
        fast_timeout_s: float,
        timeout_s: float,
        send_for_s: float,
    ) -> None:
        self._database = database
        self._psps = psps
        self._handover = handover
        self._fast_timeout_s = fast_timeout_s
        self._timeout_s = timeout_s
        self._send_for_s = send_for_s

    # --- the seller's account at the PSP ---

    @activity.defn
    async def transfer_once(self, step: PayoutStep) -> TransferResult:
        """The first request, as a local activity: one call, bounded below its own timeout, which RETURNS unknown."""
        return await self._transfer(step, self._fast_timeout_s)

    @activity.defn
    @heartbeating
    async def transfer_until_known(self, step: PayoutStep) -> TransferResult:
        """Ask until the PSP's word is known, always under the same key; past its time, look it up."""
        return self._known(await self._transfer(step, self._timeout_s))

    @activity.defn
    @heartbeating
    async def reverse_transfer(self, step: PayoutStep) -> TransferResult:
        """Take back what lies on the seller's account. Past its key's time a person has to look."""
        row, call, now = await self._read(step, PayoutCall.REVERSAL)
        if now >= call.send_until:
            return TransferResult(outcome=TransferOutcome.NOT_FOUND)
        assert row.transfer_reference is not None, "only what was transferred is taken back"
        request = ReversalRequest(
            key=call.key,
            payout_id=row.id,
            transfer_reference=row.transfer_reference,
            amount=row.amount,
            currency=row.currency,
        )
        return self._known(await self._psps[row.psp].reverse_transfer(request, timeout_s=self._timeout_s))

    async def _transfer(self, step: PayoutStep, timeout_s: float) -> TransferResult:
        row, call, now = await self._read(step, PayoutCall.TRANSFER)
        if now >= call.send_until:
            return _as_asked(row, await self._psps[row.psp].find_transfer(row.id, timeout_s=timeout_s))
        request = TransferRequest(
            key=call.key, payout_id=row.id, destination=row.destination, amount=row.amount, currency=row.currency
        )
        result = await self._psps[row.psp].transfer(request, timeout_s=timeout_s)
        return await self._found(row, result, timeout_s)

    async def _found(self, row: Payout, result: TransferResult, timeout_s: float) -> TransferResult:
        """Under a key that the PSP answers with an old error for ever, only looking can tell what happened."""
        if result.reason not in DEAD_KEYS:
            return result
        found = _as_asked(row, await self._psps[row.psp].find_transfer(row.id, timeout_s=timeout_s))
        return result if found.outcome is TransferOutcome.NOT_FOUND else found

    # --- the seller's bank ---

    @activity.defn
    async def pay_out_once(self, step: PayoutStep) -> PayoutResult:
        return await self._pay_out(step, self._fast_timeout_s)

    @activity.defn
    @heartbeating
    async def pay_out_until_known(self, step: PayoutStep) -> PayoutResult:
        return self._known(await self._pay_out(step, self._timeout_s))

    @activity.defn
    @heartbeating
    async def check_payout(self, step: PayoutStep) -> PayoutResult:
        """One look; UNKNOWN means look again later."""
        row, asked_at = await self._row(step)
        assert row.reference is not None, "only what has a name is looked at"
        result = await self._psps[row.psp].retrieve_payout(
            row.reference, destination=row.destination, timeout_s=self._timeout_s
        )
        return result.model_copy(update={"asked_at": asked_at})

    @activity.defn
    @heartbeating
    async def cancel_payout(self, step: PayoutStep) -> PayoutResult:
        """Stop it if the bank has not got it yet; else its present state, with why not."""
        row, asked_at = await self._row(step)
        assert row.reference is not None, "only what has a name is cancelled"
        result = await self._psps[row.psp].cancel_payout(
            row.reference, destination=row.destination, key=payout_cancel_key(row.id), timeout_s=self._timeout_s
        )
        return result.model_copy(update={"asked_at": asked_at})

    async def _pay_out(self, step: PayoutStep, timeout_s: float) -> PayoutResult:
        row, call, now = await self._read(step, PayoutCall.PAYOUT)
        psp = self._psps[row.psp]
        if row.reference is not None:
            result = await psp.retrieve_payout(row.reference, destination=row.destination, timeout_s=timeout_s)
        elif now >= call.send_until:
            result = await self._find_payout(row, call, timeout_s)
        else:
            request = PayoutRequest(
                key=call.key, payout_id=row.id, destination=row.destination, amount=row.amount, currency=row.currency
            )
            result = await psp.pay_out(request, timeout_s=timeout_s)
            if result.reason in DEAD_KEYS:
                found = await self._find_payout(row, call, timeout_s)
                result = result if found.outcome is PayoutOutcome.NOT_FOUND else found
        return result.model_copy(update={"asked_at": now})

    async def _find_payout(self, row: Payout, call: Call, timeout_s: float) -> PayoutResult:
        found = await self._psps[row.psp].find_payout(
            row.id,
            destination=row.destination,
            created_from=call.created_at - _CLOCK_SLACK,
            timeout_s=timeout_s,
        )
        return _as_asked(row, found)

    # --- our own database ---

    @activity.defn
    async def book_transfer(self, step: BookTransferStep) -> PayoutState:
        state = await self._database.run(lambda c: payout_progress.book_transfer(c, step, self._send_for_s))
        self._handover.announce(step.payout_id)
        return state

    @activity.defn
    async def book_payout(self, step: BookPayoutStep) -> PayoutState:
        state = await self._database.run(lambda c: payout_progress.book_payout(c, step, self._send_for_s))
        self._handover.announce(step.payout_id)
        return state

    @activity.defn
    async def look_at_payout(self, step: PayoutStep) -> PayoutState:
        """Where it stands by its row."""
        row, _ = await self._row(step)
        return payout_progress.state_of(row)

    @activity.defn
    async def resolve_payout(self, step: PayoutResolutionStep) -> PayoutState:
        """A person's decision that came through Temporal. What cannot be decided so is said, not tried again."""
        try:
            return await self._database.run(lambda c: payout_progress.resolve(c, step, self._send_for_s))
        except (Conflict, Unprocessable) as error:
            raise ApplicationError(error.detail, type=error.code, non_retryable=True) from error

    async def _row(self, step: PayoutStep) -> tuple[Payout, datetime]:
        now = await self._database.read(clock)
        return await self._database.read(lambda c: payout.get(c, step.payout_id)), now

    async def _read(self, step: PayoutStep, wanted: PayoutCall) -> tuple[Payout, Call, datetime]:
        """The row, the attempt that was written for this call, and the time on the database's clock."""
        row, now = await self._row(step)
        call = await self._database.read(lambda c: payout.last_call(c, row.id, wanted))
        assert call is not None, "a call is written before it is made"
        return row, call, now

    @staticmethod
    def _known(result: R) -> R:
        if result.outcome in (TransferOutcome.UNKNOWN, PayoutOutcome.UNKNOWN):
            raise try_again(result.reason or "")
        return result


def _as_asked(row: Payout, found: R) -> R:
    """What a look finds carries our id. Of another amount it is not what was asked for: NOT_FOUND, with what it is
    instead, for a person to decide."""
    unclear = (TransferOutcome.UNKNOWN, TransferOutcome.NOT_FOUND, PayoutOutcome.UNKNOWN, PayoutOutcome.NOT_FOUND)
    if found.outcome in unclear or (found.amount, found.currency) == (row.amount, row.currency):
        return found
    of = f"{to_major(found.amount or 0, found.currency or row.currency)} {found.currency}"
    message = f"The PSP shows {found.reference} of {of}, not of {to_major(row.amount, row.currency)} {row.currency}."
    failure = Failure(code="amount_mismatch", message=message)
    nothing = PayoutOutcome.NOT_FOUND if isinstance(found, PayoutResult) else TransferOutcome.NOT_FOUND
    return found.model_copy(update={"outcome": nothing, "reference": None, "failure": failure})
