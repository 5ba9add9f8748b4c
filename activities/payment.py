"""The steps of a payment's saga that write to our own database: each one transaction, each safe to repeat."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from temporalio import activity

from activities.queues import Queue, on
from db import risk
from db.core.database import Database
from db.core.keyring import Keyring
from db.hot import end, read, rest
from db.hot.terms import TermsCache
from db.payment import capture, compensation, lifecycle, settlement
from db.payment.record import Payment
from domain.errors import Conflict
from domain.messages import ResolutionStep
from domain.payment import (
    CancelStep,
    CaptureMark,
    CaptureStep,
    CloseStep,
    CompensateStep,
    Compensation,
    HoldStep,
    Resumed,
    ResumeStep,
    ReviewStep,
    Settlement,
    SettleOutcome,
    SettleStep,
    WaitState,
    WaitStep,
)
from domain.risk import ReviewDecision
from domain.status import Status
from gateways.protocol import Psp
from runtime.notifier import CompletionNotifier
from runtime.recent import RecentPayments

T = TypeVar("T")


class PaymentActivities:
    """`send_for_s`: how long a refund may be sent under its key (the PSP's key lifetime less a margin)."""

    def __init__(
        self,
        database: Database,
        psps: Mapping[str, Psp],
        keyring: Keyring,
        terms: TermsCache,
        recent: RecentPayments,
        notifier: CompletionNotifier,
        *,
        send_for_s: float,
    ) -> None:
        self._database = database
        self._psps = psps
        self._keyring = keyring
        self._terms = terms
        self._recent = recent
        self._notifier = notifier
        self._send_for_s = send_for_s

    @activity.defn
    @on(Queue.OWN)
    async def await_confirmation(self, step: WaitStep) -> WaitState:
        """Start to wait for the confirm message, unless the row says that it has come."""
        assert step.deadline_s is not None, "an unconfirmed payment has a deadline"
        deadline_s = step.deadline_s
        state = await self._database.run(
            lambda c: lifecycle.await_confirmation(c, step.payment_id, deadline_s, step.at)
        )
        self._notifier.announce(step.payment_id)
        return state

    @activity.defn
    @on(Queue.OWN)
    async def close_unconfirmed(self, step: CloseStep) -> Status:
        status = await self._database.run(lambda c: lifecycle.close_unconfirmed(c, step))
        self._notifier.announce(step.payment_id)
        return status

    @activity.defn
    @on(Queue.OWN)
    async def settle(self, step: SettleStep) -> Settlement:
        """Credit the wallet and post the ledger for one order; the last one ends the payment."""
        ended = await self._at_once(step.payment_id, lambda row: end.settle(self._database, self._terms, row, step))
        if ended is not None:
            self._recent.moved(ended)
            settled = Settlement(outcome=SettleOutcome.SETTLED, status=ended.status)
        else:
            settled = await self._database.run(lambda c: settlement.settle(c, step))
        self._notifier.announce(step.payment_id)
        return settled

    @activity.defn(name="rest")
    @on(Queue.OWN)
    async def wait_in_status(self, step: WaitStep) -> WaitState:
        """Let the payment wait; what came for it before this is in the answer."""
        rested = await self._at_once(step.payment_id, lambda row: rest.rest(self._database, row, step))
        if rested is not None:
            self._recent.moved(rested.payment)
            state = rested.state
        else:
            state = await self._database.run(lambda c: lifecycle.wait_in_status(c, self._keyring, step))
        self._notifier.announce(step.payment_id)
        return state

    @activity.defn
    @on(Queue.OWN)
    async def request_cancel(self, step: CancelStep) -> bool:
        """Mark a cancel that came through Temporal. False: too late, everything is settled."""
        try:
            await self._database.run(lambda c: lifecycle.request_cancel(c, step))
        except Conflict:
            return False
        return True

    @activity.defn
    @on(Queue.OWN)
    async def mark_capture(self, step: CaptureStep) -> CaptureMark:
        """Write down that the PSP may be asked to capture from now on."""
        return await self._database.run(lambda c: capture.mark(c, step))

    @activity.defn
    @on(Queue.OWN)
    async def expire_authorization(self, step: CaptureStep) -> CaptureMark:
        """Write down that it is void from now on, unless a capture was requested before."""
        return await self._database.run(lambda c: capture.expire(c, step))

    @activity.defn
    @on(Queue.OWN)
    async def review(self, step: ReviewStep) -> bool:
        """Write down a person's decision that came through Temporal. False: there is nothing to decide (any more)."""
        try:
            await self._database.run(lambda c: risk.review(c, step))
        except Conflict:
            return False
        return True

    @activity.defn
    @on(Queue.OWN)
    async def review_by_default(self, step: ReviewStep) -> ReviewDecision:
        """Decide as the rules say for when nobody did in time."""
        return await self._database.run(lambda c: risk.review_by_default(c, step))

    @activity.defn(name="release")
    @on(Queue.OWN)
    async def resume(self, step: ResumeStep) -> Resumed:
        """Let a payment whose review was approved go on to its charge."""
        return await self._database.run(lambda c: risk.resume_approved(c, step, self._send_for_s))

    @activity.defn
    @on(Queue.OWN)
    async def begin_compensation(self, step: CompensateStep) -> Compensation:
        begun = await self._database.run(lambda c: compensation.begin_compensation(c, step, self._send_for_s))
        self._notifier.announce(step.payment_id)
        return begun

    @activity.defn
    @on(Queue.OWN)
    async def hold(self, step: HoldStep) -> None:
        await self._database.run(lambda c: compensation.hold(c, step))

    @activity.defn
    @on(Queue.OWN)
    async def close(self, step: CloseStep) -> Status:
        ended = await self._at_once(step.payment_id, lambda row: end.close(self._database, row, step))
        if ended is not None:
            self._recent.moved(ended)
            status = ended.status
        else:
            status = await self._database.run(lambda c: lifecycle.close(c, step))
        self._notifier.announce(step.payment_id)
        return status

    @activity.defn
    @on(Queue.OWN)
    async def record_resolution(self, step: ResolutionStep) -> str | None:
        """Write down a person's decision, with a name, before it is acted on. Returns why it cannot be, if so."""
        return await self._database.run(lambda c: lifecycle.record_resolution(c, step, self._unit))

    async def _at_once(self, payment_id: str, step: Callable[[Payment], Awaitable[T | None]]) -> T | None:
        """Move the payment on in one statement, by what is known of it here, or else, or if that is out of date, by
        what is read. None: under its lock, then."""
        known = self._recent.known(payment_id)
        done = await step(known) if known is not None else None
        if done is None:
            row = await read.payment(self._database, payment_id)
            assert row is not None, "a workflow starts after its payment's row is committed"
            done = await step(row) if row != known else None
        if done is None:
            self._recent.forget(payment_id)
        return done

    def _unit(self, row: Payment) -> int:
        """The smallest amount that the payment's PSP can move."""
        return self._psps[row.psp].unit(row.currency)
