"""A dispute, from the buyer's complaint to the bank's decision: look, book, submit evidence, and look again."""

from datetime import datetime, timedelta

from temporalio import workflow

from workflows.calls import Calls
from workflows.pending_messages import PendingMessages

with workflow.unsafe.imports_passed_through():
    from activities.dispute import DisputeActivities
    from domain.dispute import (
        DISPUTE_WORKFLOW,
        BookDisputeStep,
        BookEvidenceStep,
        DisputeInput,
        DisputeState,
        DisputeStep,
        EvidenceStep,
        EvidenceWarningStep,
    )
    from domain.psp import DisputeResult
    from domain.status import DisputeStatus


@workflow.defn(name=DISPUTE_WORKFLOW)
class DisputeWorkflow:
    @workflow.init
    def __init__(self, inp: DisputeInput) -> None:
        self._inp = inp
        self._calls = Calls(inp.task_queue, inp.psp)
        self._messages = PendingMessages()
        self._polls = inp.patience.polls
        self._gap = self._polls.first
        self._warned = False

    @workflow.signal(description="Ask the PSP now.")
    def nudge(self, *_: object) -> None:
        self._messages.nudge()

    @workflow.run
    async def run(self, inp: DisputeInput) -> str:
        """A webhook is only a nudge: the PSP is asked, and what it says is booked, until the bank has decided."""
        if inp.version >= 2:
            self._messages.take_nudge()  # that of its own start, which the first look answers
        state = await self._check()
        while not state.ended or self._has_news():
            if state.ended:
                state = await self._check()
                continue
            if state.evidence_id is not None:
                state = await self._submit(state.evidence_id)
                continue
            warn_at = self._warn_at(state)
            await self._messages.wait(self._gap, warn_at, "next look at the dispute")
            if warn_at is not None and workflow.now() >= warn_at and state.evidence_due_at is not None:
                self._warned = True
                await self._calls.commit(
                    DisputeActivities.warn_of_deadline,
                    EvidenceWarningStep(dispute_id=inp.dispute_id, due_at=state.evidence_due_at),
                    "evidence is due soon",
                )
            self._gap = self._polls.after(self._gap)
            state = await self._check()
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(inp)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"{inp.dispute_id} is {state.status}"

    def _has_news(self) -> bool:
        """Whether something was said while the decision was on its way: a bank may decide anew, and a message to a run
        that ends reaches no other."""
        return self._inp.version >= 2 and self._messages.take_nudge()

    async def _check(self) -> DisputeState:
        step = DisputeStep(dispute_id=self._inp.dispute_id)
        summary = f"look at the dispute at {self._calls.psp}"
        return await self._book(await self._calls.durable(DisputeActivities.check_dispute, step, summary))

    async def _book(self, result: DisputeResult) -> DisputeState:
        now = workflow.now()
        state = await self._calls.commit(
            DisputeActivities.book_dispute,
            BookDisputeStep(dispute_id=self._inp.dispute_id, result=result, next_check_at=now + self._gap, at=now),
            f"book dispute: {result.outcome}",
        )
        due = f" · evidence due {state.evidence_due_at:%Y-%m-%d %H:%M} UTC" if state.evidence_due_at else ""
        workflow.set_current_details(f"**{state.status}** · looks again in {self._gap.total_seconds():.0f} s{due}")
        return state

    async def _submit(self, evidence_id: str) -> DisputeState:
        """Once: whatever the PSP makes of it, the next piece is for a person to send."""
        dispute_id = self._inp.dispute_id
        answer = await self._calls.durable(
            DisputeActivities.submit_evidence,
            EvidenceStep(dispute_id=dispute_id, evidence_id=evidence_id),
            f"submit evidence to {self._calls.psp}",
        )
        await self._calls.commit(
            DisputeActivities.book_evidence,
            BookEvidenceStep(dispute_id=dispute_id, evidence_id=evidence_id, failure=answer.failure, at=workflow.now()),
            "note the evidence",
        )
        self._gap = self._polls.first
        return await self._book(answer)

    def _warn_at(self, state: DisputeState) -> datetime | None:
        if self._warned or state.evidence_due_at is None or state.status is not DisputeStatus.NEEDS_RESPONSE:
            return None
        return state.evidence_due_at - timedelta(seconds=self._inp.patience.evidence_warning_s)
