"""Giving the money back, until it is back: shared by the payment's compensation and the late charge."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import workflow

from workflows.pending_messages import PendingMessages
from workflows.steps import Steps

with workflow.unsafe.imports_passed_through():
    from domain.messages import Decision
    from domain.payment import RestStep
    from domain.psp import RefundOutcome, RefundResult
    from domain.refund import BookRefundStep, RefundStep
    from domain.status import RefundStatus, Status
    from domain.waiting import WaitPolicy


async def _nothing() -> bool:
    return False


async def make_refund(
    steps: Steps,
    messages: PendingMessages,
    patience: WaitPolicy,
    payment_id: str,
    refund_id: str,
    *,
    before_booking: Callable[[], Awaitable[bool]] = _nothing,
    show: Callable[[Status], None] = lambda _: None,
    resting: bool = True,
) -> Status:
    """Ask for the refund and see it through; see `finish_refund`."""
    result = await steps.refund_until_known(RefundStep(refund_id=refund_id))
    return await finish_refund(
        steps,
        messages,
        patience,
        payment_id,
        refund_id,
        result,
        before_booking=before_booking,
        show=show,
        resting=resting,
    )


async def finish_refund(
    steps: Steps,
    messages: PendingMessages,
    patience: WaitPolicy,
    payment_id: str,
    refund_id: str,
    result: RefundResult,
    *,
    before_booking: Callable[[], Awaitable[bool]] = _nothing,
    show: Callable[[Status], None] = lambda _: None,
    resting: bool = True,
) -> Status:
    """Book the PSP's word on a refund, and go on until that is the last: what undoes a charge and is refused or fails
    waits for a person, who may have it tried again; a refund that was asked for ends.

    `before_booking` lets the saga mark a cancel that came meanwhile, `show` the status that the payment rests in;
    `resting` is false where another workflow, or none, answers for the payment's status. Returns that status.
    """
    step = RefundStep(refund_id=refund_id)
    gap = timedelta(seconds=patience.poll_first_s)
    retry = False
    while True:
        await before_booking()
        state = await steps.book_refund(BookRefundStep(refund_id=refund_id, result=result, at=workflow.now()))
        if state.status is RefundStatus.SUCCEEDED or state.ended:
            return state.payment_status
        if resting:
            await _rest(steps, payment_id, state.status, gap, show)
        await messages.wait(gap, None, "next look at the refund")
        gap = min(gap * 2, timedelta(seconds=patience.poll_max_s))
        resolution = messages.take_resolution()
        retry = retry or (resolution is not None and resolution.decision is Decision.RETRY)
        # A fresh look before anything new is asked for: what the person saw may be older.
        result = await steps.check_refund(step)
        if retry and result.outcome in (RefundOutcome.FAILED, RefundOutcome.NOT_FOUND):
            await steps.retry_refund(step)
            result = await steps.refund_until_known(step)
        # What a person decided holds for what the PSP says now, not for what it may say one day.
        retry = retry and result.outcome is RefundOutcome.UNKNOWN


async def _rest(
    steps: Steps, payment_id: str, refund: RefundStatus, gap: timedelta, show: Callable[[Status], None]
) -> None:
    """The payment rests while its refund does."""
    failed = refund in (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)
    status = Status.NEEDS_ATTENTION if failed else Status.PENDING
    await steps.rest(
        RestStep(
            payment_id=payment_id,
            status=status,
            next_check_s=gap.total_seconds(),
            reason="refund_failed" if failed else "refund_pending",
            at=workflow.now(),
        )
    )
    show(status)
