"""A refund of a payment whose own workflow has ended: asked for, made at the PSP, lost, or one that came back."""

from temporalio import workflow

from workflows.refunding import RefundingWorkflow, finish_refund, refund_until_known

with workflow.unsafe.imports_passed_through():
    from domain.psp import RefundOutcome, RefundResult
    from domain.refund import REFUND_WORKFLOW, RefundInput, RefundStep


@workflow.defn(name=REFUND_WORKFLOW)
class RefundWorkflow(RefundingWorkflow):
    """Ends when the money is with the buyer, or the PSP has refused a refund that was asked for."""

    @workflow.init
    def __init__(self, inp: RefundInput) -> None:
        super().__init__(inp.payment_id, inp.task_queue, inp.psp, inp.refund_id)

    @workflow.run
    async def run(self, inp: RefundInput) -> str:
        """The PSP is asked, under the same key always: for the refund, or, where it has one, what became of it."""
        step = RefundStep(refund_id=inp.refund_id)
        if inp.version >= 3:
            self._messages.take_nudge()  # that of its own start, which the first call answers
        if inp.version >= 2:
            result = await self._calls.refund_once(step)
            if result.outcome is RefundOutcome.UNKNOWN:
                result = await self._until_known(inp)
        else:
            result = await self._look_first(inp, step)
        await self._finish(inp, result)
        while inp.version >= 3 and self._messages.take_nudge():
            # One that was made may come back, and a message to a run that ends reaches no other.
            await self._finish(inp, await self._calls.check_refund(step))
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"{inp.refund_id} is done"

    async def _look_first(self, inp: RefundInput, step: RefundStep) -> RefundResult:
        """The beginning of version 1; some of those may still run."""
        result = await self._calls.check_refund(step)
        while result.outcome is RefundOutcome.UNKNOWN:
            await self._messages.wait(inp.patience.polls.first, None, "look again")
            result = await self._calls.check_refund(step)
        if result.outcome is RefundOutcome.NOT_FOUND:
            result = await self._until_known(inp)
        return result

    async def _until_known(self, inp: RefundInput) -> RefundResult:
        return await refund_until_known(self._calls, self._messages, inp.refund_id, inp.patience.unknown_s)

    async def _finish(self, inp: RefundInput, result: RefundResult) -> None:
        await finish_refund(self._calls, self._messages, inp.patience, inp.refund_id, result)
