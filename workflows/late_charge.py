"""A payment that had ended unpaid was paid after all: book it, give it back, book that. No status changes."""

from temporalio import workflow

from workflows.aftermath import RefundAftermath
from workflows.compensation import make_refund

with workflow.unsafe.imports_passed_through():
    from datetime import timedelta

    from domain.late_charge import LATE_CHARGE_WORKFLOW, LateChargeInput, LateChargeStep
    from domain.payment import ChargeStep
    from domain.psp import ChargeOutcome


@workflow.defn(name=LATE_CHARGE_WORKFLOW)
class LateChargeWorkflow(RefundAftermath):
    @workflow.init
    def __init__(self, inp: LateChargeInput) -> None:
        super().__init__(inp.payment_id, inp.task_queue, inp.psp)

    @workflow.run
    async def run(self, inp: LateChargeInput) -> str:
        """The event is a nudge: the PSP itself is asked whether it was paid. Returns what was done, for the reader."""
        result = await self._steps.check_charge(ChargeStep(payment_id=inp.payment_id, reference=inp.reference))
        while result.outcome is ChargeOutcome.UNKNOWN:
            await self._messages.wait(timedelta(seconds=inp.patience.poll_first_s), None, "look again")
            result = await self._steps.check_charge(ChargeStep(payment_id=inp.payment_id, reference=inp.reference))
        if result.outcome is not ChargeOutcome.SUCCEEDED:
            return f"not paid: {result.outcome}"
        compensation = await self._steps.begin_late_charge(
            LateChargeStep(payment_id=inp.payment_id, charge_id=inp.charge_id, result=result, at=workflow.now())
        )
        for refund_id in compensation.refund_ids:
            await make_refund(self._steps, self._messages, inp.patience, inp.payment_id, refund_id, resting=False)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"refunded: {', '.join(compensation.refund_ids) or 'nothing to refund'}"
