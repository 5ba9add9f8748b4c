"""A payout, from the wallet to the seller's bank: transfer, pay out, wait; and back again where that fails."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.calls import Calls, reason
from workflows.pending_messages import PendingMessages

with workflow.unsafe.imports_passed_through():
    from activities.payout import PayoutActivities
    from domain.messages import Nudge
    from domain.payout import (
        PAYOUT_WORKFLOW,
        BookPayoutStep,
        BookTransferStep,
        PayoutCall,
        PayoutDecision,
        PayoutInput,
        PayoutResolution,
        PayoutResolutionStep,
        PayoutState,
        PayoutStep,
    )
    from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
    from domain.status import PAYOUT_ENDED, PayoutStatus


class PayoutSteps(Calls):
    async def transfer(self, step: PayoutStep) -> TransferResult:
        """One attempt in the task; until it is known if that has no answer."""
        try:
            result = await self._local(PayoutActivities.transfer_once, step, f"transfer at {self._psp}")
        except FailureError as error:
            result = TransferResult(outcome=TransferOutcome.UNKNOWN, reason=reason(error))
        if result.outcome is not TransferOutcome.UNKNOWN:
            return result
        return await self._durable(PayoutActivities.transfer_until_known, step, f"transfer at {self._psp} until known")

    async def pay_out(self, step: PayoutStep) -> PayoutResult:
        try:
            result = await self._local(PayoutActivities.pay_out_once, step, f"pay out at {self._psp}")
        except FailureError as error:
            result = PayoutResult(outcome=PayoutOutcome.UNKNOWN, reason=reason(error))
        if result.outcome is not PayoutOutcome.UNKNOWN:
            return result
        return await self._durable(PayoutActivities.pay_out_until_known, step, f"pay out at {self._psp} until known")

    async def check(self, step: PayoutStep) -> PayoutResult:
        return await self._durable(PayoutActivities.check_payout, step, f"look at the payout at {self._psp}")

    async def cancel(self, step: PayoutStep) -> PayoutResult:
        return await self._durable(PayoutActivities.cancel_payout, step, f"cancel the payout at {self._psp}")

    async def take_back(self, step: PayoutStep) -> TransferResult:
        return await self._durable(PayoutActivities.reverse_transfer, step, f"take the transfer back at {self._psp}")

    async def book_transfer(self, step: BookTransferStep) -> PayoutState:
        return await self._commit(PayoutActivities.book_transfer, step, f"book {step.call}: {step.result.outcome}")

    async def book_payout(self, step: BookPayoutStep) -> PayoutState:
        return await self._commit(PayoutActivities.book_payout, step, f"book payout: {step.result.outcome}")

    async def look(self, step: PayoutStep) -> PayoutState:
        return await self._commit(PayoutActivities.look_at_payout, step, "where it stands")

    async def resolve(self, step: PayoutResolutionStep) -> PayoutState:
        if step.resolution.decision is PayoutDecision.REFERENCE:
            what = f"look at {step.resolution.reference} at {self._psp}"
            await self._durable(PayoutActivities.check_reference, step, what)
        return await self._commit(PayoutActivities.resolve_payout, step, f"resolved by {step.resolution.by}")


@workflow.defn(name=PAYOUT_WORKFLOW)
class PayoutWorkflow:
    """Ends when the money is at the seller's bank, or in the wallet again. A bank may return it days later: then it is
    started again from its row, as PAID."""

    @workflow.init
    def __init__(self, inp: PayoutInput) -> None:
        self._inp = inp
        self._step = PayoutStep(payout_id=inp.payout_id)
        self._steps = PayoutSteps(inp.task_queue, inp.psp)
        self._messages = PendingMessages()
        self._gap = timedelta(seconds=inp.patience.poll_first_s)
        self._cancel_tried = False
        self._state = PayoutState(status=inp.status)

    @workflow.run
    async def run(self, inp: PayoutInput) -> str:
        if self._state.status in PAYOUT_ENDED:
            self._messages.nudged = True
        while self._state.status not in PAYOUT_ENDED or self._messages.nudged:
            self._state = await self._advance(self._state)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"{inp.payout_id} is {self._state.status}"

    async def _advance(self, state: PayoutState) -> PayoutState:
        match state.status:
            case PayoutStatus.REQUESTED:
                return await self._transfer(PayoutCall.TRANSFER, await self._steps.transfer(self._step))
            case PayoutStatus.TRANSFERRED:
                return await self._book(await self._steps.pay_out(self._step))
            case PayoutStatus.IN_TRANSIT:
                return await self._wait_for_the_bank(state)
            case PayoutStatus.RETURNING:
                return await self._transfer(PayoutCall.REVERSAL, await self._steps.take_back(self._step))
            case PayoutStatus.NEEDS_ATTENTION:
                return await self._wait_for_a_person()
            case _:
                # Something was said while the last answer was on its way, and nobody would be told of it again.
                self._messages.nudged = False
                return await self._look_at_the_bank(state)

    async def _transfer(self, call: PayoutCall, result: TransferResult) -> PayoutState:
        return await self._steps.book_transfer(
            BookTransferStep(payout_id=self._inp.payout_id, call=call, result=result, at=workflow.now())
        )

    async def _wait_for_the_bank(self, state: PayoutState) -> PayoutState:
        """A webhook or the timer, whichever is first; then the PSP is asked. A wish to cancel is tried at once, and
        while that has no answer at each look."""
        if self._cancel_tried or not state.cancel_requested:
            await self._rest(self._gap, "next look at the payout")
            self._gap = min(self._gap * 2, timedelta(seconds=self._inp.patience.poll_max_s))
            state = await self._steps.look(self._step)
        if state.status is not PayoutStatus.IN_TRANSIT:
            return state
        if not state.cancel_requested:
            return await self._look_at_the_bank(state)
        if not self._cancel_tried:
            self._cancel_tried, self._gap = True, timedelta(seconds=self._inp.patience.poll_first_s)
        return await self._book(await self._steps.cancel(self._step), cancelling=True)

    async def _rest(self, longest: timedelta, summary: str) -> None:
        """Until a message, or so long; a history that has grown goes on as a new one."""
        await self._messages.wait(longest, None, summary)
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(self._inp.model_copy(update={"status": self._state.status}))

    async def _look_at_the_bank(self, state: PayoutState) -> PayoutState:
        if state.status is not PayoutStatus.PAID and state.status in PAYOUT_ENDED:
            return state
        return await self._book(await self._steps.check(self._step))

    async def _book(self, result: PayoutResult, *, cancelling: bool = False) -> PayoutState:
        now = workflow.now()
        state = await self._steps.book_payout(
            BookPayoutStep(
                payout_id=self._inp.payout_id,
                result=result,
                next_check_at=now + self._gap,
                cancelling=cancelling,
                at=now,
            )
        )
        workflow.set_current_details(f"**{state.status}** · looks again in {self._gap.total_seconds():.0f} s")
        return state

    async def _wait_for_a_person(self) -> PayoutState:
        """The decision is in the row; who wrote it there nudges. What the PSP has by name may still arrive."""
        workflow.set_current_details("**NEEDS_ATTENTION** · waits for `resolve`")
        await self._rest(timedelta(seconds=self._inp.patience.poll_max_s), "a person decides")
        state = await self._steps.look(self._step)
        return await self._look_at_the_bank(state) if state.late else state

    @workflow.signal(description="Look at the PSP now.")
    def nudge(self, message: Nudge) -> None:
        self._messages.nudge(message)

    @workflow.update(
        description="Decide about a payout that needs attention: retry (the call, under a new key; or wait on for the "
        "bank), reference (it was made, and this is the PSP's name for it), done (taken back by hand) or paid (the "
        "seller has the money), and by whom."
    )
    async def resolve(self, message: PayoutResolution) -> str:
        step = PayoutResolutionStep(payout_id=self._inp.payout_id, resolution=message, at=workflow.now())
        state = await self._steps.resolve(step)
        self._messages.nudge(Nudge(reason="resolved"))
        return f"{self._inp.payout_id} is {state.status}"
