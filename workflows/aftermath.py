"""What the workflows that follow a payment have in common: their messages."""

from temporalio import workflow

from workflows.mailbox import Mailbox
from workflows.steps import Steps

with workflow.unsafe.imports_passed_through():
    from domain.payment import Nudge, Resolution, ResolutionStep


class Aftermath:
    """Of one payment, after its own workflow has ended. The payment's status stays what it is."""

    def __init__(self, payment_id: str, task_queue: str, psp: str) -> None:
        self._payment_id = payment_id
        self._steps = Steps(task_queue, psp)
        self._mailbox = Mailbox()

    @workflow.signal(description="Ask the PSP now.")
    def nudge(self, message: Nudge) -> None:
        self._mailbox.nudge(message)


class RefundAftermath(Aftermath):
    """One that makes refunds, about which a person may have to decide."""

    @workflow.update(description="Decide about a refund that failed: retry, or reference (made by hand), and by whom.")
    async def resolve(self, message: Resolution) -> str:
        await self._steps.record_resolution(ResolutionStep(payment_id=self._payment_id, resolution=message))
        self._mailbox.resolution = message
        return f"{message.decision} noted"
