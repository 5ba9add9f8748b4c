"""A payout, from the wallet to the seller's bank: transfer, pay out, wait; and back again where that fails."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.calls import Calls, reason
from workflows.inputs import update_input
from workflows.pending_messages import PendingMessages

with workflow.unsafe.imports_passed_through():
    from activities.payout import PayoutActivities
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


class PayoutCalls(Calls):
    """The calls of a payout in which the lack of an answer is decided about."""

    async def transfer(self, step: PayoutStep) -> TransferResult:
        """One attempt in the task; until it is known if that has no answer."""
        try:
            result = await self.local(PayoutActivities.transfer_once, step, f"transfer at {self.psp}")
        except FailureError as error:
            result = TransferResult(outcome=TransferOutcome.UNKNOWN, reason=reason(error))
        if result.outcome is not TransferOutcome.UNKNOWN:
            return result
        return await self.durable(PayoutActivities.transfer_until_known, step, f"transfer at {self.psp} until known")

    async def pay_out(self, step: PayoutStep) -> PayoutResult:
        """One attempt in the task; until it is known if that has no answer."""
        try:
            result = await self.local(PayoutActivities.pay_out_once, step, f"pay out at {self.psp}")
        except FailureError as error:
            result = PayoutResult(outcome=PayoutOutcome.UNKNOWN, reason=reason(error))
        if result.outcome is not PayoutOutcome.UNKNOWN:
            return result
        return await self.durable(PayoutActivities.pay_out_until_known, step, f"pay out at {self.psp} until known")

    async def read(self, step: PayoutStep) -> PayoutState:
        return await self.commit(PayoutActivities.look_at_payout, step, "where it stands")


@workflow.defn(name=PAYOUT_WORKFLOW)
class PayoutWorkflow:
    """Ends when the money is at the seller's bank, or in the wallet again. A bank may return it days later: then it is
    started again from its row, as PAID."""

    @workflow.init
    def __init__(self, inp: PayoutInput) -> None:
        self._inp = inp
        self._step = PayoutStep(payout_id=inp.payout_id)
        self._calls = PayoutCalls(inp.task_queue, inp.psp)
        self._messages = PendingMessages()
        self._polls = inp.patience.polls
        self._gap = self._polls.first
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
                return await self._transfer(PayoutCall.TRANSFER, await self._calls.transfer(self._step))
            case PayoutStatus.TRANSFERRED:
                return await self._book(await self._calls.pay_out(self._step))
            case PayoutStatus.IN_TRANSIT:
                return await self._wait_for_the_bank(state)
            case PayoutStatus.RETURNING:
                return await self._take_back()
            case PayoutStatus.NEEDS_ATTENTION:
                return await self._wait_for_a_person()
            case _:
                # Something was said while the last answer was on its way, and nobody would be told of it again.
                self._messages.nudged = False
                return await self._check_the_bank(state)

    async def _transfer(self, call: PayoutCall, result: TransferResult) -> PayoutState:
        step = BookTransferStep(payout_id=self._inp.payout_id, call=call, result=result, at=workflow.now())
        return await self._calls.commit(PayoutActivities.book_transfer, step, f"book {call}: {result.outcome}")

    async def _take_back(self) -> PayoutState:
        summary = f"take the transfer back at {self._calls.psp}"
        result = await self._calls.durable(PayoutActivities.reverse_transfer, self._step, summary)
        return await self._transfer(PayoutCall.REVERSAL, result)

    async def _wait_for_the_bank(self, state: PayoutState) -> PayoutState:
        """A webhook or the timer, whichever is first; then the PSP is asked. A requested cancel is tried at once, and
        while that has no answer at each look."""
        if self._cancel_tried or not state.cancel_requested:
            await self._wait(self._gap, "next look at the payout")
            self._gap = self._polls.after(self._gap)
            state = await self._calls.read(self._step)
        if state.status is not PayoutStatus.IN_TRANSIT:
            return state
        if not state.cancel_requested:
            return await self._check_the_bank(state)
        if not self._cancel_tried:
            self._cancel_tried, self._gap = True, self._polls.first
        summary = f"cancel the payout at {self._calls.psp}"
        result = await self._calls.durable(PayoutActivities.cancel_payout, self._step, summary)
        return await self._book(result, cancelling=True)

    async def _wait(self, longest: timedelta, summary: str) -> None:
        """Until a message, or so long; a history that has grown goes on as a new one."""
        await self._messages.wait(longest, None, summary)
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(self._inp.model_copy(update={"status": self._state.status}))

    async def _check_the_bank(self, state: PayoutState) -> PayoutState:
        if state.status is not PayoutStatus.PAID and state.status in PAYOUT_ENDED:
            return state
        summary = f"look at the payout at {self._calls.psp}"
        return await self._book(await self._calls.durable(PayoutActivities.check_payout, self._step, summary))

    async def _book(self, result: PayoutResult, *, cancelling: bool = False) -> PayoutState:
        now = workflow.now()
        step = BookPayoutStep(
            payout_id=self._inp.payout_id, result=result, next_check_at=now + self._gap, cancelling=cancelling, at=now
        )
        state = await self._calls.commit(PayoutActivities.book_payout, step, f"book payout: {result.outcome}")
        workflow.set_current_details(f"**{state.status}** · looks again in {self._gap.total_seconds():.0f} s")
        return state

    async def _wait_for_a_person(self) -> PayoutState:
        """The decision is in the row; who wrote it there nudges. What the PSP has by name may still arrive."""
        workflow.set_current_details("**NEEDS_ATTENTION** · waits for `resolve`")
        await self._wait(self._polls.longest, "a person decides")
        state = await self._calls.read(self._step)
        return await self._check_the_bank(state) if state.late else state

    @workflow.signal(description="Look at the PSP now.")
    def nudge(self, *_: object) -> None:
        self._messages.nudge()

    @workflow.update(
        description="Decide about a payout that needs attention: retry (the call, under a new key; or wait on for the "
        "bank), reference (it was made, and this is the PSP's name for it), done (taken back by hand) or paid (the "
        "seller has the money), and by whom."
    )
    async def resolve(self, *inputs: object) -> str:
        message = update_input(PayoutResolution, inputs)
        step = PayoutResolutionStep(payout_id=self._inp.payout_id, resolution=message, at=workflow.now())
        if message.decision is PayoutDecision.REFERENCE:
            summary = f"look at {message.reference} at {self._calls.psp}"
            await self._calls.durable(PayoutActivities.check_reference, step, summary)
        state = await self._calls.commit(PayoutActivities.resolve_payout, step, f"resolved by {message.by}")
        self._messages.nudge()
        return f"{self._inp.payout_id} is {state.status}"
