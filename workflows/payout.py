"""A payout, from the wallet to the seller's bank: transfer, pay out, wait; and back again where that fails."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.calls import Calls, reason
from workflows.inputs import update_input
from workflows.patches import CHECK_PAYOUT_RETRY
from workflows.pending_messages import PendingMessages

with workflow.unsafe.imports_passed_through():
    from activities.payout import PayoutActivities
    from domain import unknown
    from domain.decisions import in_words
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
        SendPayoutStep,
        SentPayout,
    )
    from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
    from domain.status import PAYOUT_ENDED, PayoutStatus
    from domain.waiting import Backoff


class PayoutCalls(Calls):
    """The calls of a payout in which the lack of an answer is decided about."""

    async def transfer(self, step: PayoutStep, *, again: bool) -> TransferResult:
        """One attempt in the task, unless it is made `again`; until it is known if that has no answer."""
        if not again:
            try:
                result = await self.local(PayoutActivities.transfer_once, step, f"transfer at {self.psp}")
            except FailureError as error:
                result = TransferResult(outcome=TransferOutcome.UNKNOWN, reason=reason(error))
            if result.outcome is not TransferOutcome.UNKNOWN:
                return result
            _show_unanswered(f"transfer: {unknown.in_words(result.reason)}")
        return await self.durable(PayoutActivities.transfer_until_known, step, f"transfer at {self.psp} until known")

    async def pay_out(self, step: PayoutStep, *, again: bool) -> PayoutResult:
        """As `transfer`."""
        if not again:
            try:
                result = await self.local(PayoutActivities.pay_out_once, step, f"pay out at {self.psp}")
            except FailureError as error:
                result = PayoutResult(outcome=PayoutOutcome.UNKNOWN, reason=reason(error))
            if result.outcome is not PayoutOutcome.UNKNOWN:
                return result
            _show_unanswered(f"payout: {unknown.in_words(result.reason)}")
        return await self.durable(PayoutActivities.pay_out_until_known, step, f"pay out at {self.psp} until known")

    async def read(self, step: PayoutStep) -> PayoutState:
        return await self.commit(PayoutActivities.look_at_payout, step, "where it stands")


def _show_unanswered(what: str, call: PayoutCall = PayoutCall.TRANSFER) -> None:
    workflow.set_current_details(f"**Unanswered** · {what} · {unknown.to_do_about_a_payout(call)}")


def _show(state: PayoutState, next_check_at: datetime) -> None:
    again = "" if state.status in PAYOUT_ENDED else f" · looks again at {next_check_at:%Y-%m-%d %H:%M:%S} UTC"
    workflow.set_current_details(f"**{state.status}**{again}")


_LOOKS = Backoff(first_s=5, max_s=120)
"""The gaps between looks for what was sent under a dead key."""


@workflow.defn(name=PAYOUT_WORKFLOW)
class PayoutWorkflow:
    """Ends when the money is at the seller's bank, or in the wallet again. A bank may return it days later: then it is
    started again from its row, as PAID."""

    @workflow.init
    def __init__(self, inp: PayoutInput) -> None:
        self._inp = inp
        self._step = PayoutStep(payout_id=inp.payout_id, waits=True)
        self._calls = PayoutCalls(inp.task_queue, inp.psp)
        self._messages = PendingMessages()
        self._polls = inp.patience.polls
        self._gap = self._polls.first
        self._dead_since: datetime | None = None
        self._looks = 0
        self._cancel_tried = False
        self._tried = False
        self._state = PayoutState(status=inp.status)

    @workflow.run
    async def run(self, inp: PayoutInput) -> str:
        if self._state.status in PAYOUT_ENDED:
            self._messages.nudged = True
        if inp.version >= 2 and self._state.status is PayoutStatus.REQUESTED:
            self._state = await self._send()
        while self._state.status not in PAYOUT_ENDED or self._messages.nudged:
            self._state = await self._advance(self._state)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"{inp.payout_id} is {self._state.status}"

    async def _advance(self, state: PayoutState) -> PayoutState:
        match state.status:
            case PayoutStatus.REQUESTED:
                transfer = await self._calls.transfer(self._step, again=self._is_tried())
                return await self._transfer(PayoutCall.TRANSFER, transfer)
            case PayoutStatus.TRANSFERRED:
                return await self._pay_out(await self._calls.pay_out(self._step, again=self._is_tried()))
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

    def _is_tried(self) -> bool:
        """Whether the next call was made in the task already, so that it is asked about until there is an answer."""
        tried, self._tried = self._tried, False
        return tried or self._dead_since is not None

    async def _send(self) -> PayoutState:
        """The usual way to the seller's bank, in this task. What it does not bring there goes on by single steps."""
        sent = await self._at_once(PayoutActivities.send_once, f"pay at {self._calls.psp}")
        if sent is not None and sent.unknown is None:
            return sent.state
        self._tried = True
        return sent.state if sent is not None else await self._calls.read(self._step)

    async def _at_once(
        self, method: Callable[[Any, SendPayoutStep], Awaitable[SentPayout]], summary: str
    ) -> SentPayout | None:
        """None: it has no answer, and what came of it is in the row."""
        now = workflow.now()
        step = SendPayoutStep(payout_id=self._inp.payout_id, next_check_at=now + self._gap, at=now)
        try:
            sent = await self._calls.local(method, step, summary)
        except FailureError as error:
            _show_unanswered(f"{summary}: {unknown.in_words(reason(error))}")
            return None
        if sent.unknown is not None:
            _show_unanswered(f"{summary}: {unknown.in_words(sent.unknown)}")
        else:
            _show(sent.state, step.next_check_at)
        return sent

    async def _transfer(self, call: PayoutCall, result: TransferResult) -> PayoutState:
        gap = None if result.outcome is not TransferOutcome.UNKNOWN else self._next_look()
        if gap is None:
            self._dead_since = None
            if result.outcome is TransferOutcome.UNKNOWN:
                # Of a reversal the money is on the seller's account still, which is for a person to decide.
                ends_as = TransferOutcome.REFUSED if call is PayoutCall.TRANSFER else TransferOutcome.NOT_FOUND
                result = TransferResult(outcome=ends_as, failure=unknown.not_made(call))
        now = workflow.now()
        step = BookTransferStep(
            payout_id=self._inp.payout_id, call=call, result=result, next_check_at=now + gap if gap else None, at=now
        )
        state = await self._calls.commit(PayoutActivities.book_transfer, step, f"book {call}: {result.outcome}")
        if gap is not None:
            await self._look_later(call, result.reason, gap)
        return state

    async def _pay_out(self, result: PayoutResult) -> PayoutState:
        gap = None if result.outcome is not PayoutOutcome.UNKNOWN else self._next_look()
        if gap is not None:
            state = await self._book(result, gap)
            await self._look_later(PayoutCall.PAYOUT, result.reason, gap)
            return state
        self._dead_since = None
        if result.outcome is PayoutOutcome.UNKNOWN:
            result = PayoutResult(outcome=PayoutOutcome.FAILED, failure=unknown.not_made(PayoutCall.PAYOUT))
        return await self._book(result)

    def _next_look(self) -> timedelta | None:
        """The gap until the next look for what was sent under a dead key: nothing of it can execute any more, but the
        PSP's lists may lag. None: it was looked for long enough, and counts as not made."""
        now = workflow.now()
        if self._dead_since is None:
            self._dead_since, self._looks = now, 0
        left = self._dead_since + timedelta(seconds=self._inp.patience.unknown_s) - now
        if left <= timedelta(0):
            return None
        self._looks += 1
        return min(_LOOKS.nth(self._looks - 1), self._polls.longest, left)

    async def _look_later(self, call: PayoutCall, cause: str | None, gap: timedelta) -> None:
        _show_unanswered(f"{call}: {unknown.waiting_for(cause, self._looks, workflow.now() + gap)}", call)
        await self._wait(gap, f"next look for the {call}")

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
            if self._inp.version >= 2:
                seen = await self._at_once(PayoutActivities.look_once, f"look at the payout at {self._calls.psp}")
                if seen is not None and seen.unknown is None and not seen.state.cancel_requested:
                    return seen.state
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

    async def _book(
        self, result: PayoutResult, gap: timedelta | None = None, *, cancelling: bool = False
    ) -> PayoutState:
        """`gap`: until the next look, where that is not the next poll."""
        now, gap = workflow.now(), gap or self._gap
        step = BookPayoutStep(
            payout_id=self._inp.payout_id, result=result, next_check_at=now + gap, cancelling=cancelling, at=now
        )
        state = await self._calls.commit(PayoutActivities.book_payout, step, f"book payout: {result.outcome}")
        _show(state, step.next_check_at)
        return state

    async def _wait_for_a_person(self) -> PayoutState:
        """The decision is in the row; who wrote it there nudges. What the PSP has by name may still arrive."""
        why = f" · {self._state.why}" if self._state.why else ""
        offered = f": {in_words(self._state.offered)}" if self._state.offered else ""
        workflow.set_current_details(f"**NEEDS_ATTENTION**{why} · waits for `resolve`{offered}")
        await self._wait(self._polls.longest, "a person decides")
        state = await self._calls.read(self._step)
        state = state.model_copy(update={"why": self._state.why})
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
        if message.decision is PayoutDecision.REFERENCE or (
            message.decision is PayoutDecision.RETRY and workflow.patched(CHECK_PAYOUT_RETRY)
        ):
            summary = f"look at {message.reference or 'what there is of it'} at {self._calls.psp}"
            await self._calls.durable(PayoutActivities.check_reference, step, summary)
        state = await self._calls.commit(PayoutActivities.resolve_payout, step, f"resolved by {message.by}")
        self._messages.nudge()
        return f"{self._inp.payout_id} is {state.status}"
