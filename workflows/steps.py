"""One typed call per activity of a payment and of what follows it."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.calls import FOR_EVER, HEARTBEAT_TIMEOUT, PSP_TIMEOUT, Calls, reason

with workflow.unsafe.imports_passed_through():
    from activities.charge import ChargeActivities
    from activities.dispute import DisputeActivities
    from activities.payment import PaymentActivities
    from activities.refund import RefundActivities
    from activities.risk import RiskActivities
    from domain.dispute import (
        BookDisputeStep,
        BookEvidenceStep,
        DisputeState,
        DisputeStep,
        EvidenceStep,
        EvidenceWarningStep,
    )
    from domain.late_charge import LateChargeStep
    from domain.messages import ResolutionStep
    from domain.payment import (
        AssessStep,
        CancelStep,
        CaptureMark,
        CaptureStep,
        ChargeStep,
        CloseStep,
        CompensateStep,
        Compensation,
        HoldStep,
        Released,
        ReleaseStep,
        RestState,
        RestStep,
        ReviewStep,
        RiskDecision,
        Settlement,
        SettleStep,
    )
    from domain.psp import ChargeOutcome, ChargeResult, DisputeResult, RefundOutcome, RefundResult
    from domain.refund import BookRefundStep, RefundState, RefundStep
    from domain.risk import ReviewDecision
    from domain.status import Status


class Steps(Calls):
    """The steps of one payment, and of what follows it."""

    # --- PSP ---

    async def charge_once(self, step: ChargeStep) -> ChargeResult:
        try:
            return await self._local(ChargeActivities.charge_once, step, f"charge at {self._psp}")
        except FailureError as error:
            return ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=reason(error))

    async def charge_until_known(self, step: ChargeStep) -> ChargeResult:
        return await self._durable(ChargeActivities.charge_until_known, step, f"charge at {self._psp} until known")

    async def check_charge(self, step: ChargeStep) -> ChargeResult:
        """One look; UNKNOWN when there was no answer: the saga's own timer looks again."""
        try:
            return await workflow.execute_activity_method(
                ChargeActivities.check_charge,
                step,
                task_queue=self._psp_queue,
                start_to_close_timeout=PSP_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                schedule_to_close_timeout=timedelta(minutes=10),
                retry_policy=FOR_EVER,
                summary=f"look at {self._psp}",
            )
        except FailureError as error:
            return ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=reason(error))

    async def void_charge(self, step: ChargeStep) -> ChargeResult:
        try:
            return await self._local(ChargeActivities.void_charge, step, f"void at {self._psp}")
        except FailureError:
            return await self._durable(ChargeActivities.void_charge, step, f"void at {self._psp} until known")

    async def capture_charge(self, step: ChargeStep) -> ChargeResult:
        """One attempt in the task, which may end UNKNOWN."""
        try:
            return await self._local(ChargeActivities.capture_charge, step, f"capture at {self._psp}")
        except FailureError as error:
            return ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=reason(error))

    async def capture_until_known(self, step: ChargeStep) -> ChargeResult:
        return await self._durable(ChargeActivities.capture_charge, step, f"capture at {self._psp} until known")

    async def refund_once(self, step: RefundStep) -> RefundResult:
        try:
            return await self._local(RefundActivities.refund_once, step, f"refund at {self._psp}")
        except FailureError as error:
            return RefundResult(outcome=RefundOutcome.UNKNOWN, reason=reason(error))

    async def refund_until_known(self, step: RefundStep) -> RefundResult:
        return await self._durable(RefundActivities.refund_until_known, step, f"refund at {self._psp}")

    async def check_refund(self, step: RefundStep) -> RefundResult:
        return await self._durable(RefundActivities.check_refund, step, f"look at the refund at {self._psp}")

    async def check_dispute(self, step: DisputeStep) -> DisputeResult:
        return await self._durable(DisputeActivities.check_dispute, step, f"look at the dispute at {self._psp}")

    async def submit_evidence(self, step: EvidenceStep) -> DisputeResult:
        return await self._durable(DisputeActivities.submit_evidence, step, f"submit evidence to {self._psp}")

    # --- our own database ---

    async def await_confirmation(self, step: RestStep) -> RestState:
        return await self._commit(PaymentActivities.await_confirmation, step, "wait for confirm")

    async def close_unconfirmed(self, step: CloseStep) -> Status:
        return await self._commit(PaymentActivities.close_unconfirmed, step, "cancel unconfirmed")

    async def assess(self, step: AssessStep) -> RiskDecision:
        return await self._commit(RiskActivities.assess, step, f"risk: {step.stage}")

    async def review(self, step: ReviewStep) -> bool:
        return await self._commit(PaymentActivities.review, step, f"review: {step.review.decision}")

    async def review_by_default(self, step: ReviewStep) -> ReviewDecision:
        return await self._commit(PaymentActivities.review_by_default, step, "review: nobody decided")

    async def release(self, step: ReleaseStep) -> Released:
        return await self._commit(PaymentActivities.release, step, "release for the charge")

    async def mark_capture(self, step: CaptureStep) -> CaptureMark:
        return await self._commit(PaymentActivities.mark_capture, step, f"mark capture by {step.by}")

    async def expire_authorization(self, step: CaptureStep) -> CaptureMark:
        return await self._commit(PaymentActivities.expire_authorization, step, "mark void: not captured in time")

    async def settle(self, step: SettleStep) -> Settlement:
        return await self._commit(PaymentActivities.settle, step, f"credit wallet, post ledger: {step.order_id}")

    async def rest(self, step: RestStep) -> RestState:
        return await self._commit(PaymentActivities.rest, step, f"rest: {step.status}")

    async def request_cancel(self, step: CancelStep) -> bool:
        return await self._commit(PaymentActivities.request_cancel, step, "mark cancel")

    async def begin_compensation(self, step: CompensateStep) -> Compensation:
        return await self._commit(
            PaymentActivities.begin_compensation, step, "compensate: reverse and hold in suspense"
        )

    async def hold(self, step: HoldStep) -> None:
        await self._commit(PaymentActivities.hold, step, "hold in suspense")

    async def close(self, step: CloseStep) -> Status:
        return await self._commit(PaymentActivities.close, step, f"end: {step.status}")

    async def record_resolution(self, step: ResolutionStep) -> None:
        await self._commit(PaymentActivities.record_resolution, step, f"resolved by {step.resolution.by}")

    async def begin_late_charge(self, step: LateChargeStep) -> Compensation:
        return await self._commit(RefundActivities.begin_late_charge, step, "late charge: hold in suspense")

    async def book_refund(self, step: BookRefundStep) -> RefundState:
        return await self._commit(RefundActivities.book_refund, step, f"book refund: {step.result.outcome}")

    async def retry_refund(self, step: RefundStep) -> None:
        await self._commit(RefundActivities.retry_refund, step, "new refund attempt")

    async def book_dispute(self, step: BookDisputeStep) -> DisputeState:
        return await self._commit(DisputeActivities.book_dispute, step, f"book dispute: {step.result.outcome}")

    async def book_evidence(self, step: BookEvidenceStep) -> None:
        await self._commit(DisputeActivities.book_evidence, step, "note the evidence")

    async def warn_of_deadline(self, step: EvidenceWarningStep) -> None:
        await self._commit(DisputeActivities.warn_of_deadline, step, "evidence is due soon")
