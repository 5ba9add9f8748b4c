"""Refunds, from the request until the money is back: of a compensation, of a late charge, or asked for."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.inputs import update_input
from workflows.pending_messages import PendingMessages
from workflows.psp_calls import PspCalls

with workflow.unsafe.imports_passed_through():
    from activities.payment import PaymentActivities
    from activities.refund import RefundActivities
    from domain.messages import Decision, Resolution, ResolutionStep
    from domain.psp import RefundOutcome, RefundResult
    from domain.refund import BookRefundStep, RefundStep
    from domain.status import RefundStatus, Status
    from domain.unknown import TO_DO_ABOUT_A_REFUND, waiting_for
    from domain.waiting import WaitPolicy


class RefundingWorkflow:
    """Base of the workflows that see refunds through once the payment's own has ended: a person may have to decide
    about one. The payment's status stays as it is.

    `refund_id`: the refund, where the workflow is about one alone.
    """

    def __init__(self, payment_id: str, task_queue: str, psp: str, refund_id: str | None = None) -> None:
        self._payment_id = payment_id
        self._refund_id = refund_id
        self._calls = PspCalls(task_queue, psp)
        self._messages = PendingMessages()

    @workflow.signal(description="Ask the PSP now.")
    def nudge(self, *_: object) -> None:
        self._messages.nudge()

    @workflow.update(
        description="Decide about a refund that needs attention: retry, reference (made by hand) or accept (another "
        "amount than was asked for), and by whom."
    )
    async def resolve(self, *inputs: object) -> str:
        message = update_input(Resolution, inputs)
        step = ResolutionStep(
            payment_id=self._payment_id, resolution=message, refund_id=self._refund_id, at=workflow.now()
        )
        refused = await self._calls.commit(PaymentActivities.record_resolution, step, f"resolved by {message.by}")
        if refused is not None:
            raise ApplicationError(refused, type="NotPossible")
        self._messages.resolution = message
        return f"{message.decision} noted"

    @resolve.validator
    def _may_resolve(self, *inputs: object) -> None:
        self._messages.require_offered(update_input(Resolution, inputs), _ABOUT_A_REFUND)


_ABOUT_A_REFUND = (Decision.RETRY, Decision.REFERENCE, Decision.ACCEPT)


async def _do_nothing(*_: object) -> None:
    pass


async def make_refund(
    calls: PspCalls,
    messages: PendingMessages,
    patience: WaitPolicy,
    refund_id: str,
    *,
    before_booking: Callable[[], Awaitable[object]] = _do_nothing,
    waiting: Callable[[RefundStatus, timedelta], Awaitable[None]] = _do_nothing,
) -> Status:
    """Ask for the refund and see it through; see `finish_refund`."""
    result = await refund_until_known(calls, messages, refund_id, patience.unknown_s, waiting=waiting)
    return await finish_refund(
        calls, messages, patience, refund_id, result, before_booking=before_booking, waiting=waiting
    )


async def refund_until_known(
    calls: PspCalls,
    messages: PendingMessages,
    refund_id: str,
    patience_s: float,
    *,
    waiting: Callable[[RefundStatus, timedelta], Awaitable[None]] = _do_nothing,
) -> RefundResult:
    """Ask for the refund until the PSP's word is known; between two long gaps the workflow says what it waits for."""
    tries = 1
    while True:
        step = RefundStep(refund_id=refund_id, tries=tries, patience_s=patience_s)
        result = await calls.refund_until_known(step)
        if result.again_s is None:
            return result
        tries, gap = result.tries, timedelta(seconds=result.again_s)
        await waiting(RefundStatus.REQUESTED, gap)
        why = waiting_for(result.reason, tries, workflow.now() + gap)
        workflow.set_current_details(f"**refund {refund_id}** · {why} · {TO_DO_ABOUT_A_REFUND}")
        await messages.wait(gap, None, f"ask {calls.psp} again")


async def finish_refund(
    calls: PspCalls,
    messages: PendingMessages,
    patience: WaitPolicy,
    refund_id: str,
    result: RefundResult,
    *,
    before_booking: Callable[[], Awaitable[object]] = _do_nothing,
    waiting: Callable[[RefundStatus, timedelta], Awaitable[None]] = _do_nothing,
) -> Status:
    """Book the PSP's word on a refund, and go on until that is the last: what undoes a charge and is refused or fails
    waits for a person, who may have it tried again; a refund that was asked for ends.

    `before_booking` lets the saga mark a cancel that came meanwhile; `waiting` is called before each wait, with the
    refund's status and the time until the next look. Returns the payment's status.
    """
    step = RefundStep(refund_id=refund_id)
    polls = patience.polls
    gap = polls.first
    retry = False
    messages.offered = None
    while True:
        await before_booking()
        state = await calls.commit(
            RefundActivities.book_refund,
            BookRefundStep(refund_id=refund_id, result=result, at=workflow.now()),
            f"book refund: {result.outcome}",
        )
        if state.status is RefundStatus.SUCCEEDED or state.ended:
            return state.payment_status
        if state.offered is not None:
            messages.offered = state.offered
        await waiting(state.status, gap)
        await messages.wait(gap, None, "next look at the refund")
        gap = polls.after(gap)
        resolution = messages.take_resolution()
        retry = retry or (resolution is not None and resolution.decision is Decision.RETRY)
        # A fresh look before anything new is asked for: what the person saw may be older.
        result = await calls.check_refund(step)
        if retry and result.outcome in (RefundOutcome.FAILED, RefundOutcome.NOT_FOUND):
            await calls.commit(RefundActivities.retry_refund, step, "new refund attempt")
            result = await refund_until_known(calls, messages, refund_id, patience.unknown_s, waiting=waiting)
        # The person's decision holds for what the PSP says now, not for what it may say one day.
        retry = retry and result.outcome is RefundOutcome.UNKNOWN
