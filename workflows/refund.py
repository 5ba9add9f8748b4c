"""The refund of a payment whose own workflow has ended: one that failed after it had succeeded, or that was lost."""

from datetime import timedelta

from temporalio import workflow

from workflows.compensation import finish_refund
from workflows.mailbox import Mailbox
from workflows.steps import Steps

with workflow.unsafe.imports_passed_through():
    from domain.payment import REFUND_WORKFLOW, Nudge, RefundInput, RefundStep, Resolution, ResolutionStep
    from domain.psp import RefundOutcome


@workflow.defn(name=REFUND_WORKFLOW)
class RefundWorkflow:
    """Ends when the money is with the buyer. The payment's status stays what it is."""

    @workflow.init
    def __init__(self, inp: RefundInput) -> None:
        self._inp = inp
        self._steps = Steps(inp.task_queue, inp.psp)
        self._mailbox = Mailbox()

    @workflow.run
    async def run(self, inp: RefundInput) -> str:
        """The PSP is asked first: a webhook is only a nudge. What it never heard of is sent, under the same key."""
        step = RefundStep(refund_id=inp.refund_id)
        result = await self._steps.check_refund(step)
        while result.outcome is RefundOutcome.UNKNOWN:
            await self._mailbox.wait(timedelta(seconds=inp.patience.poll_first_s), None, "look again")
            result = await self._steps.check_refund(step)
        if result.outcome is RefundOutcome.NOT_FOUND:
            result = await self._steps.refund_until_known(step)
        await finish_refund(
            self._steps, self._mailbox, inp.patience, inp.payment_id, inp.refund_id, result, resting=False
        )
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"{inp.refund_id} is with the buyer"

    @workflow.signal(description="Ask the PSP now.")
    def nudge(self, message: Nudge) -> None:
        self._mailbox.nudge(message)

    @workflow.update(description="Decide about a refund that failed: retry, or reference (made by hand), and by whom.")
    async def resolve(self, message: Resolution) -> str:
        await self._steps.record_resolution(ResolutionStep(payment_id=self._inp.payment_id, resolution=message))
        self._mailbox.resolution = message
        return f"{message.decision} noted"
