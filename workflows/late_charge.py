"""A payment that had ended unpaid was paid after all: book it, give it back, book that. No status changes."""

from temporalio import workflow

from workflows.refunding import RefundingWorkflow, make_refund

with workflow.unsafe.imports_passed_through():
    from activities.refund import RefundActivities
    from domain.late_charge import LATE_CHARGE_WORKFLOW, LateChargeInput, LateChargeStep
    from domain.payment import ChargeStep
    from domain.psp import ChargeOutcome, ChargeResult
    from domain.unknown import waiting_for


@workflow.defn(name=LATE_CHARGE_WORKFLOW)
class LateChargeWorkflow(RefundingWorkflow):
    @workflow.init
    def __init__(self, inp: LateChargeInput) -> None:
        super().__init__(inp.payment_id, inp.task_queue, inp.psp)

    @workflow.run
    async def run(self, inp: LateChargeInput) -> str:
        """The event is a nudge: the PSP itself is asked whether it was paid. Returns what was done, for the reader."""
        if inp.version >= 2:
            self._messages.take_nudge()  # that of its own start, which the first look answers
        result = await self._look(inp)
        while result.outcome is not ChargeOutcome.SUCCEEDED and inp.version >= 2 and self._messages.take_nudge():
            result = await self._look(inp)  # it was paid while the answer that it was not was on its way
        if result.outcome is not ChargeOutcome.SUCCEEDED:
            return f"not paid: {result.outcome}"
        compensation = await self._calls.commit(
            RefundActivities.begin_late_charge,
            LateChargeStep(payment_id=inp.payment_id, charge_id=inp.charge_id, result=result, at=workflow.now()),
            "late charge: hold in suspense",
        )
        for refund_id in compensation.refund_ids:
            await make_refund(self._calls, self._messages, inp.patience, refund_id)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"refunded: {', '.join(compensation.refund_ids) or 'nothing to refund'}"

    async def _look(self, inp: LateChargeInput) -> ChargeResult:
        """The PSP's word, however long it takes."""
        step = ChargeStep(payment_id=inp.payment_id, reference=inp.reference)
        gap = inp.patience.polls.first
        result = await self._calls.check_charge(step)
        tries = 0
        while result.outcome is ChargeOutcome.UNKNOWN:
            tries += 1
            why = waiting_for(result.reason, tries, workflow.now() + gap)
            workflow.set_current_details(f"**{inp.reference} is looked at** · {why}")
            await self._messages.wait(gap, None, "look again")
            result = await self._calls.check_charge(step)
        return result
