"""A payout's calls at the PSP, and what is booked of them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeat import heartbeating
from activities.queues import Queue, on
from activities.retry import DEAD_KEYS, try_again
from db.core.database import Database, clock
from db.payout import decision, payout, transition
from db.payout import lifecycle as payout_lifecycle
from db.payout.record import Call, Payout
from domain.errors import Conflict, PaysagaError, Unprocessable
from domain.ids import payout_cancel_key
from domain.payout import (
    BankWaitPolicy,
    BookPayoutStep,
    BookTransferStep,
    PayoutCall,
    PayoutResolutionStep,
    PayoutState,
    PayoutStep,
)
from domain.psp import (
    PayoutOutcome,
    PayoutRequest,
    PayoutResult,
    ReversalRequest,
    TransferOutcome,
    TransferRequest,
    TransferResult,
)
from gateways.protocol import Psp
from runtime.notifier import CompletionNotifier
from services.payout_reference import as_asked, check_reference, payout_named

R = TypeVar("R", TransferResult, PayoutResult)

_CLOCK_SLACK = timedelta(minutes=10)
"""Tolerance: so far may the PSP's clock be from the database's when a payout is looked up by its time of creation."""


class PayoutActivities:
    """`send_for_s`: how long a request may be sent under its key; `fast_timeout_s` bounds the attempt inside a task;
    `bank`: how long the seller's bank may take."""

    def __init__(
        self,
        database: Database,
        psps: Mapping[str, Psp],
        notifier: CompletionNotifier,
        *,
        fast_timeout_s: float,
        timeout_s: float,
        send_for_s: float,
        bank: BankWaitPolicy,
    ) -> None:
        self._database = database
        self._psps = psps
        self._notifier = notifier
        self._fast_timeout_s = fast_timeout_s
        self._timeout_s = timeout_s
        self._send_for_s = send_for_s
        self._bank = bank

    # --- the seller's account at the PSP ---

    @activity.defn
    @on(Queue.OWN)
    async def transfer_once(self, step: PayoutStep) -> TransferResult:
        """The first request, as a local activity: one call, bounded below its own timeout, which RETURNS unknown."""
        return await self._transfer(step, self._fast_timeout_s)

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def transfer_until_known(self, step: PayoutStep) -> TransferResult:
        """Ask until the PSP's word is known, always under the same key; past its time, look it up."""
        return self._known(await self._transfer(step, self._timeout_s))

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def reverse_transfer(self, step: PayoutStep) -> TransferResult:
        """Take back what lies on the seller's account. Past its key's time it is only looked whether that was done."""
        row, call, now = await self._read(step, PayoutCall.REVERSAL)
        assert row.transfer_reference is not None, "only what was transferred is taken back"
        request = ReversalRequest(
            key=call.key,
            payout_id=row.id,
            transfer_reference=row.transfer_reference,
            amount=row.amount,
            currency=row.currency,
        )
        psp = self._psps[row.psp]
        if now >= call.send_until:
            return self._known(await psp.find_reversal(request, timeout_s=self._timeout_s))
        return self._known(await psp.reverse_transfer(request, timeout_s=self._timeout_s))

    async def _transfer(self, step: PayoutStep, timeout_s: float) -> TransferResult:
        row, call, now = await self._read(step, PayoutCall.TRANSFER)
        is_over = now >= call.send_until
        if is_over or call.attempt > 1:
            found = await self._find_transfer(row, timeout_s)
            if is_over or found.outcome is not TransferOutcome.NOT_FOUND or found.failure is not None:
                return found
        stopped = await self._begin(row, call)
        if stopped is not None:
            return TransferResult(outcome=TransferOutcome.REFUSED, reason=stopped)
        request = TransferRequest(
            key=call.key, payout_id=row.id, destination=row.destination, amount=row.amount, currency=row.currency
        )
        result = await self._psps[row.psp].transfer(request, timeout_s=timeout_s)
        if result.reason in DEAD_KEYS:  # answered with an old error for ever: only looking can tell what happened
            found = await self._find_transfer(row, timeout_s)
            return result if found.outcome is TransferOutcome.NOT_FOUND and found.failure is None else found
        return result

    async def _find_transfer(self, row: Payout, timeout_s: float) -> TransferResult:
        return as_asked(row, await self._psps[row.psp].find_transfer(row.id, timeout_s=timeout_s))

    async def _begin(self, row: Payout, call: Call) -> str | None:
        """Before the first request of an attempt. Why it is not made any more; None: it is."""
        if call.sent_at is not None:
            return None
        return await self._database.run(lambda c: payout_lifecycle.begin(c, row.id, call.key))

    # --- the seller's bank ---

    @activity.defn
    @on(Queue.OWN)
    async def pay_out_once(self, step: PayoutStep) -> PayoutResult:
        return await self._pay_out(step, self._fast_timeout_s)

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def pay_out_until_known(self, step: PayoutStep) -> PayoutResult:
        return self._known(await self._pay_out(step, self._timeout_s))

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def check_payout(self, step: PayoutStep) -> PayoutResult:
        """One look; UNKNOWN means look again later."""
        row, asked_at = await self._row(step)
        return (await self._look(row, self._timeout_s)).model_copy(update={"asked_at": asked_at})

    async def _look(self, row: Payout, timeout_s: float) -> PayoutResult:
        if row.reference is None:
            return await self._find_payout(row, timeout_s)
        return await payout_named(self._psps[row.psp], row, row.reference, timeout_s)

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def cancel_payout(self, step: PayoutStep) -> PayoutResult:
        """Stop it if the bank has not got it yet; else its present state, with why not."""
        row, asked_at = await self._row(step)
        assert row.reference is not None, "only what has a name is cancelled"
        result = await self._psps[row.psp].cancel_payout(
            row.reference,
            payout_id=row.id,
            destination=row.destination,
            key=payout_cancel_key(row.id),
            timeout_s=self._timeout_s,
        )
        return result.model_copy(update={"asked_at": asked_at})

    async def _pay_out(self, step: PayoutStep, timeout_s: float) -> PayoutResult:
        row, call, now = await self._read(step, PayoutCall.PAYOUT)
        result = await self._made(row, call, now, timeout_s)
        if result is None:
            result = await self._send(row, call, timeout_s)
        return result.model_copy(update={"asked_at": now})

    async def _made(self, row: Payout, call: Call, now: datetime, timeout_s: float) -> PayoutResult | None:
        """The payout that is at the PSP already, where this attempt must not be sent, or not before that is known; else
        None."""
        is_over = now >= call.send_until
        if not is_over and call.attempt == 1:
            return None
        found = await self._find_payout(row, timeout_s)
        nothing = found.outcome is PayoutOutcome.NOT_FOUND and found.failure is None
        # An earlier attempt that failed is why there is another.
        is_free = nothing or found.outcome in (PayoutOutcome.FAILED, PayoutOutcome.CANCELLED)
        return None if is_free and not is_over else found

    async def _send(self, row: Payout, call: Call, timeout_s: float) -> PayoutResult:
        stopped = await self._begin(row, call)
        if stopped is not None:
            return PayoutResult(outcome=PayoutOutcome.CANCELLED, reason=stopped)
        request = PayoutRequest(
            key=call.key, payout_id=row.id, destination=row.destination, amount=row.amount, currency=row.currency
        )
        result = await self._psps[row.psp].pay_out(request, timeout_s=timeout_s)
        if result.reason in DEAD_KEYS:
            found = await self._find_payout(row, timeout_s)
            return result if found.outcome is PayoutOutcome.NOT_FOUND and found.failure is None else found
        return result

    async def _find_payout(self, row: Payout, timeout_s: float) -> PayoutResult:
        found = await self._psps[row.psp].find_payout(
            row.id,
            destination=row.destination,
            created_from=row.created_at - _CLOCK_SLACK,
            timeout_s=timeout_s,
        )
        return as_asked(row, found)

    # --- our own database ---

    @activity.defn
    @on(Queue.OWN)
    async def book_transfer(self, step: BookTransferStep) -> PayoutState:
        state = await self._database.run_patiently(lambda c: payout_lifecycle.book_transfer(c, step, self._send_for_s))
        self._notifier.announce(step.payout_id)
        return state

    @activity.defn
    @on(Queue.OWN)
    async def book_payout(self, step: BookPayoutStep) -> PayoutState:
        state = await self._database.run_patiently(
            lambda c: payout_lifecycle.book_payout(c, step, self._send_for_s, self._bank)
        )
        self._notifier.announce(step.payout_id)
        return state

    @activity.defn
    @on(Queue.OWN)
    async def look_at_payout(self, step: PayoutStep) -> PayoutState:
        """Where it stands by its row."""
        row, _ = await self._row(step)
        return transition.state_of(row)

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def check_reference(self, step: PayoutResolutionStep) -> None:
        """Before a person's decision is taken: what cannot be so is said, not tried again."""
        row, _ = await self._row(PayoutStep(payout_id=step.payout_id))
        try:
            await check_reference(self._psps[row.psp], row, step.resolution, timeout_s=self._timeout_s)
        except PaysagaError as error:
            raise ApplicationError(error.detail, type=error.code, non_retryable=True) from error

    @activity.defn
    @on(Queue.OWN)
    async def resolve_payout(self, step: PayoutResolutionStep) -> PayoutState:
        """A person's decision that came through Temporal. What cannot be decided so is said, not tried again."""
        try:
            return await self._database.run(lambda c: decision.resolve(c, step, self._send_for_s, self._bank))
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
