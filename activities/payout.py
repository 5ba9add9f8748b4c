"""A payout's calls at the PSP, and what is booked of them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeat import heartbeating
from activities.queues import Queue, on
from activities.retry import try_again
from db.core.database import Connection, Database
from db.hot import payout as hot
from db.payout import decision, payout, transition
from db.payout import lifecycle as payout_lifecycle
from db.payout.lifecycle import Ready
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
    SendPayoutStep,
    SentPayout,
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
from domain.status import PayoutStatus
from domain.unknown import DEAD_KEYS
from gateways.protocol import Psp
from runtime.notifier import CompletionNotifier
from services.payout_reference import (
    another_amount,
    as_asked,
    check_decision,
    payout_named,
    payout_of,
    transfer_named,
    transfer_of,
)

R = TypeVar("R", TransferResult, PayoutResult)


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

    # --- the usual way ---

    @activity.defn
    @on(Queue.OWN)
    async def send_once(self, step: SendPayoutStep) -> SentPayout:
        """A new payout to the seller's bank as one local activity: transfer, book, pay out, book. It stops at an answer
        that is not plain, and where something has to be looked at first: the workflow goes on from there."""
        payout_id = step.payout_id
        transfer = await self._ready(payout_id)
        if transfer is None:
            call = await self._database.run(lambda c: payout_lifecycle.ready(c, payout_id, PayoutCall.PAYOUT))
        else:
            result = await self._send_transfer(transfer.row, transfer.call, transfer.stopped, self._fast_timeout_s)
            if result.outcome is TransferOutcome.UNKNOWN:
                return SentPayout(state=transition.state_of(transfer.row), unknown=result.reason or "")
            book = BookTransferStep(payout_id=payout_id, call=PayoutCall.TRANSFER, result=result, at=step.at)
            call = await self._transferred(transfer, book)
        if call is None:
            return SentPayout(state=await self.look_at_payout(PayoutStep(payout_id=payout_id)))
        answer = await self._send_payout(call.row, call.call, call.stopped, self._fast_timeout_s)
        if answer.outcome is PayoutOutcome.UNKNOWN:
            return SentPayout(state=transition.state_of(call.row), unknown=answer.reason or "")
        seen = _seen(step, answer, call.now)
        return await self._booked(payout_id, await hot.sent(self._database, call, seen), seen)

    async def _ready(self, payout_id: str) -> Ready | None:
        ready = await hot.ready(self._database, payout_id)
        if ready is not None:
            return ready
        return await self._database.run(lambda c: payout_lifecycle.ready(c, payout_id, PayoutCall.TRANSFER))

    async def _transferred(self, ready: Ready, step: BookTransferStep) -> Ready | None:
        """Book the transfer, and mark the payout to the bank as sent; None: it is not to be sent now."""
        following = await hot.transferred(self._database, ready, step, self._send_for_s)
        if following is not None:
            return following

        async def general(connection: Connection) -> Ready | None:
            await payout_lifecycle.book_transfer(connection, step, self._send_for_s)
            return await payout_lifecycle.ready(connection, step.payout_id, PayoutCall.PAYOUT)

        return await self._database.run_patiently(general)

    async def _booked(self, payout_id: str, state: PayoutState | None, seen: BookPayoutStep) -> SentPayout:
        """Announce a step that was booked in one statement (`state`); without one it is booked by single steps."""
        if state is None:
            return SentPayout(state=await self.book_payout(seen))
        self._notifier.announce(payout_id)
        return SentPayout(state=state)

    @activity.defn
    @on(Queue.OWN)
    async def look_once(self, step: SendPayoutStep) -> SentPayout:
        """One look at a payout on its way; what is seen is booked. One that is to be cancelled is left as it is. It may
        be PAID: this step has seen that, and is made again because the PSP said more meanwhile."""
        row, asked_at = await self._row(PayoutStep(payout_id=step.payout_id))
        if row.status not in (PayoutStatus.IN_TRANSIT, PayoutStatus.PAID) or row.cancel_requested:
            return SentPayout(state=transition.state_of(row))
        result = await self._look(row, self._fast_timeout_s)
        if result.outcome is PayoutOutcome.UNKNOWN:
            return SentPayout(state=transition.state_of(row), unknown=result.reason or "")
        seen = _seen(step, result, asked_at)
        return await self._booked(row.id, await hot.paid(self._database, row, seen, self._bank), seen)

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
        """Ask until the PSP's word is known, always under the same key; past its time, look it up. UNKNOWN is returned
        where the PSP repeats an old error under the key and shows nothing of it: the workflow looks again."""
        return await self._known(step, PayoutCall.TRANSFER, await self._transfer(step, self._timeout_s))

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
        call_psp = psp.find_reversal if now >= call.send_until else psp.reverse_transfer
        result = await call_psp(request, timeout_s=self._timeout_s)
        if result.reason == "amount_mismatch":  # the answer may be wrong, not what was done
            found = await psp.find_reversal(request, timeout_s=self._timeout_s)
            is_clear = found.outcome is TransferOutcome.DONE or found.reason not in (None, "amount_mismatch")
            result = found if is_clear else another_amount(row, result)
        return await self._known(step, PayoutCall.REVERSAL, result)

    async def _transfer(self, step: PayoutStep, timeout_s: float) -> TransferResult:
        row, call, now = await self._read(step, PayoutCall.TRANSFER)
        is_over = now >= call.send_until
        if is_over or call.attempt > 1:
            found = await transfer_of(self._psps[row.psp], row, timeout_s)
            if is_over or not _is_nothing(found):
                return found
        return await self._send_transfer(row, call, await self._begin(row, call), timeout_s)

    async def _send_transfer(self, row: Payout, call: Call, stopped: str | None, timeout_s: float) -> TransferResult:
        """Make the call that was marked as sent, unless it was stopped before."""
        if stopped is not None:
            return TransferResult(outcome=TransferOutcome.REFUSED, reason=stopped)
        request = TransferRequest(
            key=call.key, payout_id=row.id, destination=row.destination, amount=row.amount, currency=row.currency
        )
        psp = self._psps[row.psp]
        result = await psp.transfer(request, timeout_s=timeout_s)
        if result.outcome is not TransferOutcome.UNKNOWN:
            return result
        if result.reference is not None:  # it exists, but not as we asked for it: what it is now is booked or shown
            found = await transfer_named(psp, row, result.reference, timeout_s)
        elif result.reason in DEAD_KEYS:  # answered with an old error for ever: only looking can tell what happened
            found = await transfer_of(psp, row, timeout_s)
        else:
            return result
        return result if _is_nothing(found) else found

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
        """As `transfer_until_known`."""
        return await self._known(step, PayoutCall.PAYOUT, await self._pay_out(step, self._timeout_s))

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def check_payout(self, step: PayoutStep) -> PayoutResult:
        """One look; UNKNOWN means look again later."""
        row, asked_at = await self._row(step)
        return (await self._look(row, self._timeout_s)).model_copy(update={"asked_at": asked_at})

    async def _look(self, row: Payout, timeout_s: float) -> PayoutResult:
        if row.reference is None:
            return await payout_of(self._psps[row.psp], row, timeout_s)
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
        return as_asked(row, result).model_copy(update={"asked_at": asked_at})

    async def _pay_out(self, step: PayoutStep, timeout_s: float) -> PayoutResult:
        row, call, now = await self._read(step, PayoutCall.PAYOUT)
        result = await self._made(row, call, now, timeout_s)
        if result is None:
            result = await self._send_payout(row, call, await self._begin(row, call), timeout_s)
        return result.model_copy(update={"asked_at": now})

    async def _made(self, row: Payout, call: Call, now: datetime, timeout_s: float) -> PayoutResult | None:
        """The payout that is at the PSP already, where this attempt must not be sent, or not before that is known; else
        None."""
        is_over = now >= call.send_until
        if not is_over and call.attempt == 1:
            return None
        found = await payout_of(self._psps[row.psp], row, timeout_s)
        # An earlier attempt that failed is why there is another.
        is_free = _is_nothing(found) or found.outcome in (PayoutOutcome.FAILED, PayoutOutcome.CANCELLED)
        return None if is_free and not is_over else found

    async def _send_payout(self, row: Payout, call: Call, stopped: str | None, timeout_s: float) -> PayoutResult:
        """As `_send_transfer`."""
        if stopped is not None:
            return PayoutResult(outcome=PayoutOutcome.CANCELLED, reason=stopped)
        request = PayoutRequest(
            key=call.key, payout_id=row.id, destination=row.destination, amount=row.amount, currency=row.currency
        )
        psp = self._psps[row.psp]
        result = await psp.pay_out(request, timeout_s=timeout_s)
        if result.outcome is not PayoutOutcome.UNKNOWN:
            return result
        if result.reference is not None:
            found = await payout_named(psp, row, result.reference, timeout_s)
        elif result.reason in DEAD_KEYS:
            found = await payout_of(psp, row, timeout_s)
        else:
            return result
        return result if _is_nothing(found) else found

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
            await check_decision(self._psps[row.psp], row, step.resolution, timeout_s=self._timeout_s)
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
        return await hot.read(self._database, step.payout_id)

    async def _read(self, step: PayoutStep, wanted: PayoutCall) -> tuple[Payout, Call, datetime]:
        """The row, the attempt that was written for this call, and the time on the database's clock."""
        row, now = await self._row(step)
        call = await self._database.read(lambda c: payout.last_call(c, row.id, wanted))
        assert call is not None, "a call is written before it is made"
        return row, call, now

    async def _known(self, step: PayoutStep, call: PayoutCall, result: R) -> R:
        """Raises for another attempt while the answer is unknown, having written down why, and when that is."""
        if result.outcome not in (TransferOutcome.UNKNOWN, PayoutOutcome.UNKNOWN):
            return result
        reason = result.reason or ""
        if step.waits and reason in DEAD_KEYS:
            return result
        again = try_again(reason)
        delay = again.next_retry_delay or timedelta(0)
        await self._database.run(
            lambda c: payout_lifecycle.unanswered(c, step.payout_id, call, reason, datetime.now(UTC) + delay)
        )
        raise again


def _seen(step: SendPayoutStep, result: PayoutResult, asked_at: datetime) -> BookPayoutStep:
    result = result.model_copy(update={"asked_at": asked_at})
    return BookPayoutStep(payout_id=step.payout_id, result=result, next_check_at=step.next_check_at, at=step.at)


def _is_nothing(found: TransferResult | PayoutResult) -> bool:
    """The PSP shows nothing of it, neither what was asked for nor something else."""
    return found.outcome in (TransferOutcome.NOT_FOUND, PayoutOutcome.NOT_FOUND) and found.failure is None
