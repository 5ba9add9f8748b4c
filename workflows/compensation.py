"""Giving the money back, until it is back: shared by the payment's compensation and the late charge."""

from datetime import timedelta

from temporalio import workflow

from workflows.mailbox import Mailbox
from workflows.steps import Steps

with workflow.unsafe.imports_passed_through():
    from domain.payment import BookRefundStep, Decision, Patience, RefundStep, RestStep
    from domain.psp import RefundOutcome
    from domain.status import RefundStatus, Status


async def make_refund(steps: Steps, mailbox: Mailbox, patience: Patience, payment_id: str, refund_id: str) -> None:
    """Refund at the PSP and book it. Returns only when the money is back: a refund that the PSP refuses or fails waits
    for a person, who may have it tried again."""
    step = RefundStep(refund_id=refund_id)
    gap = timedelta(seconds=patience.poll_first_s)
    result = await steps.refund_until_known(step)
    while True:
        state = await steps.book_refund(BookRefundStep(refund_id=refund_id, result=result, at=workflow.now()))
        if state.status is RefundStatus.SUCCEEDED:
            return
        pending = state.status is RefundStatus.PENDING
        await steps.rest(
            RestStep(
                payment_id=payment_id,
                status=Status.PENDING if pending else Status.NEEDS_ATTENTION,
                next_check_s=gap.total_seconds(),
                reason="refund_pending" if pending else "refund_failed",
                at=workflow.now(),
            )
        )
        await mailbox.wait(gap, None, "next look at the refund")
        gap = min(gap * 2, timedelta(seconds=patience.poll_max_s))
        resolution = mailbox.take_resolution()
        if result.outcome is RefundOutcome.FAILED and resolution and resolution.decision is Decision.RETRY:
            await steps.retry_refund(step)
            result = await steps.refund_until_known(step)
        else:
            result = await steps.check_refund(step)
