"""The refund of a payment whose own workflow has ended: one that failed after it had succeeded, or that was lost."""

from temporalio import workflow

from workflows.compensation import finish_refund
from workflows.mailbox import Mailbox
from workflows.steps import Steps

with workflow.unsafe.imports_passed_through():
    from domain.payment import REFUND_WORKFLOW, Decision, Nudge, RefundInput, RefundStep, Resolution, ResolutionStep
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
        if result.outcome in (RefundOutcome.NOT_FOUND, RefundOutcome.UNKNOWN):
            result = await self._steps.refund_until_known(step)
        await finish_refund(self._steps, self._mailbox, inp.patience, inp.payment_id, inp.refund_id, result)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"{inp.refund_id} is with the buyer"

    @workflow.signal(description="Ask the PSP now.")
    def nudge(self, message: Nudge) -> None:
        self._mailbox.nudge(message)

    @workflow.update(description="Decide about a refund that failed: decision retry, by whom.")
    async def resolve(self, message: Resolution) -> str:
        await self._steps.record_resolution(ResolutionStep(payment_id=self._inp.payment_id, resolution=message))
        self._mailbox.resolution = message
        return f"{message.decision} noted" if message.decision is Decision.RETRY else "only retry has an effect here"
