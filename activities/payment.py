"""The steps of a payment's saga that write to our own database: each one transaction, each safe to repeat."""

from temporalio import activity

from db import risk
from db.core.database import Database
from db.payment import capture, compensation, lifecycle, settlement
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
    Released,
    ReleaseStep,
    RestState,
    RestStep,
    ReviewStep,
    Settlement,
    SettleStep,
)
from domain.risk import ReviewDecision
from domain.status import Status
from runtime.notifier import CompletionNotifier


class PaymentActivities:
    """`send_for_s`: how long a refund may be sent under its key (the PSP's key lifetime less a margin)."""

    def __init__(self, database: Database, notifier: CompletionNotifier, *, send_for_s: float) -> None:
        self._database = database
        self._handover = notifier
        self._send_for_s = send_for_s

    @activity.defn
    async def await_confirmation(self, step: RestStep) -> RestState:
        """Start to wait for the confirm message, unless the row says that it has come."""
        assert step.deadline_s is not None, "an unconfirmed payment has a deadline"
        deadline_s = step.deadline_s
        state = await self._database.run(
            lambda c: lifecycle.await_confirmation(c, step.payment_id, deadline_s, step.at)
        )
        self._handover.announce(step.payment_id)
        return state

    @activity.defn
    async def close_unconfirmed(self, step: CloseStep) -> Status:
        status = await self._database.run(lambda c: lifecycle.close_unconfirmed(c, step))
        self._handover.announce(step.payment_id)
        return status

    @activity.defn
    async def settle(self, step: SettleStep) -> Settlement:
        """Credit the wallet and post the ledger for one order; the last one ends the payment."""
        settled = await self._database.run(lambda c: settlement.settle(c, step))
        self._handover.announce(step.payment_id)
        return settled

    @activity.defn
    async def rest(self, step: RestStep) -> RestState:
        state = await self._database.run(lambda c: lifecycle.let_wait(c, step))
        self._handover.announce(step.payment_id)
        return state

    @activity.defn
    async def request_cancel(self, step: CancelStep) -> bool:
        """Mark a cancel that came through Temporal. False: too late, everything is settled."""
        try:
            await self._database.run(lambda c: lifecycle.request_cancel(c, step))
        except Conflict:
            return False
        return True

    @activity.defn
    async def mark_capture(self, step: CaptureStep) -> CaptureMark:
        """From now on the PSP may be asked to capture."""
        return await self._database.run(lambda c: capture.mark(c, step))

    @activity.defn
    async def expire_authorization(self, step: CaptureStep) -> CaptureMark:
        """From now on it is void, unless a capture was requested before."""
        return await self._database.run(lambda c: capture.expire(c, step))

    @activity.defn
    async def review(self, step: ReviewStep) -> bool:
        """A person's decision that came through Temporal. False: there is nothing to decide (any more)."""
        try:
            await self._database.run(lambda c: risk.review(c, step))
        except Conflict:
            return False
        return True

    @activity.defn
    async def review_by_default(self, step: ReviewStep) -> ReviewDecision:
        """Nobody decided in time: what holds now."""
        return await self._database.run(lambda c: risk.review_by_default(c, step))

    @activity.defn
    async def release(self, step: ReleaseStep) -> Released:
        """An approved payment goes on to its charge."""
        return await self._database.run(lambda c: risk.resume_approved(c, step, self._send_for_s))

    @activity.defn
    async def begin_compensation(self, step: CompensateStep) -> Compensation:
        begun = await self._database.run(lambda c: compensation.begin_compensation(c, step, self._send_for_s))
        self._handover.announce(step.payment_id)
        return begun

    @activity.defn
    async def hold(self, step: HoldStep) -> None:
        await self._database.run(lambda c: compensation.hold(c, step))

    @activity.defn
    async def close(self, step: CloseStep) -> Status:
        status = await self._database.run(lambda c: lifecycle.close(c, step))
        self._handover.announce(step.payment_id)
        return status

    @activity.defn
    async def record_resolution(self, step: ResolutionStep) -> None:
        """A person's decision, written down with a name before it is acted on."""
        await self._database.run(lambda c: lifecycle.record_resolution(c, step))
