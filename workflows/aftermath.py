"""What the workflows that follow a payment have in common: their messages."""

from temporalio import workflow

from workflows.pending_messages import PendingMessages
from workflows.steps import Steps

with workflow.unsafe.imports_passed_through():
    from domain.messages import Nudge, Resolution, ResolutionStep


class Aftermath:
    """Of one payment, after its own workflow has ended. The payment's status stays what it is."""

    def __init__(self, payment_id: str, task_queue: str, psp: str) -> None:
        self._payment_id = payment_id
        self._steps = Steps(task_queue, psp)
        self._messages = PendingMessages()

    @workflow.signal(description="Ask the PSP now.")
    def nudge(self, message: Nudge) -> None:
        self._messages.nudge(message)


class RefundAftermath(Aftermath):
    """One that makes refunds, about which a person may have to decide; `refund_id` where it is about one alone."""

    def __init__(self, payment_id: str, task_queue: str, psp: str, refund_id: str | None = None) -> None:
        super().__init__(payment_id, task_queue, psp)
        self._refund_id = refund_id

    @workflow.update(
        description="Decide about a refund that needs attention: retry, reference (made by hand) or accept (another "
        "amount than was asked for), and by whom."
    )
    async def resolve(self, message: Resolution) -> str:
        step = ResolutionStep(
            payment_id=self._payment_id, resolution=message, refund_id=self._refund_id, at=workflow.now()
        )
        await self._steps.record_resolution(step)
        self._messages.resolution = message
        return f"{message.decision} noted"
