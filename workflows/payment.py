"""The payment: judge it, charge the buyer, credit each seller and post the ledger; or give everything back.

`_saga` tells the story. No message decides anything before the end of its first task: one that arrives there makes the
server refuse the task's completion and run it again, so what was done must not depend on having seen it.
"""

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.inputs import update_input
from workflows.patches import SECOND_ANSWER_SHOWN
from workflows.pending_messages import PendingMessages
from workflows.psp_calls import PspCalls
from workflows.refunding import make_refund

with workflow.unsafe.imports_passed_through():
    from activities.payment import PaymentActivities
    from activities.risk import RiskActivities
    from domain.decisions import ACCEPTABLE, offered, to_be_decided
    from domain.decisions import in_words as decisions_in_words
    from domain.messages import CancelRequest, CaptureCommand, Decision, Resolution, ResolutionStep
    from domain.model import Failure
    from domain.money import Money
    from domain.payment import (
        PAYMENT_WORKFLOW,
        AssessStep,
        CancelStep,
        CaptureOutcome,
        CaptureStep,
        ChargeStep,
        CloseStep,
        CompensateStep,
        HoldStep,
        PaymentEnd,
        PaymentInput,
        PayStep,
        ResumeStep,
        Review,
        ReviewStep,
        RiskDecision,
        SettleOutcome,
        SettleStep,
        TakeStep,
        WaitState,
        WaitStep,
        failure_of,
    )
    from domain.psp import ChargeOutcome, ChargeResult
    from domain.risk import BLOCKED, REJECTED, ReviewDecision, Stage, Verdict
    from domain.status import TERMINAL, RefundStatus, Status
    from domain.unknown import PSP_ERROR, TASK_KIND, TO_DO, in_words, waiting_for
    from runtime.search_attributes import STATUS


VOIDED_AT_PSP: tuple[Status, Failure | None] = (
    Status.CANCELLED,
    Failure(code="voided_at_psp", message="The payment was cancelled at the PSP."),
)
_FIRST_TRIES_S = 30.0
"""The first tries after an unknown answer are an activity's, with short gaps: longer than that it says nothing."""

NO_ANSWER = Failure(code=PSP_ERROR, message="The PSP did not capture the payment.")
NOT_CAPTURED = Failure(code="authorization_expired", message="The authorisation was not captured in time.")


@workflow.defn(name=PAYMENT_WORKFLOW)
class PaymentWorkflow:
    """One payment with its orders, from the charge to the end of every order. One writer: all messages come here."""

    @workflow.init
    def __init__(self, inp: PaymentInput) -> None:
        self._inp = inp
        self._waits = inp.patience
        self._polls = inp.patience.polls
        self._calls = PspCalls(inp.task_queue, inp.psp)
        self._messages = PendingMessages()
        self._status = Status.EXECUTING if inp.confirmed else Status.NOT_STARTED
        self._in_first_task = True
        self._cancel_marked = False
        self._compensating = False
        self._void_tried = False
        self._amount = inp.amount
        # How the payment ends if the PSP's object turns out to be voided; the cause is known before the void is sent.
        self._if_voided = VOIDED_AT_PSP

    @workflow.run
    async def run(self, _: PaymentInput) -> PaymentEnd:
        """Temporal's own cancel is a message like any other: it never reaches the saga, which could stand anywhere."""
        saga = asyncio.create_task(self._saga())
        while True:
            try:
                end = await asyncio.shield(saga)
                break
            except asyncio.CancelledError:
                if saga.cancelled():  # eviction from the cache, not a cancel
                    raise
                self._messages.request_cancel(CancelRequest(by="temporal"))
        await workflow.wait_condition(workflow.all_handlers_finished)
        return end

    # --- messages ---

    @workflow.signal(description="Ask the PSP for the payment's state now; `reason` is for the reader.")
    def nudge(self, *inputs: object) -> None:
        self._messages.nudge_signalled(inputs)

    @workflow.signal(description="Undo the payment: it ends CANCELLED with everything refunded, unless it has settled.")
    def cancel(self, *inputs: object) -> None:
        self._messages.cancel_signalled(inputs)

    @workflow.update(
        description="Decide about a payment that NEEDS_ATTENTION: retry, not_charged, cancel, reference or accept, and "
        "by whom."
    )
    async def resolve(self, *inputs: object) -> str:
        message = update_input(Resolution, inputs)
        if message.decision is Decision.REFERENCE and not self._compensating:
            await self._verify(message.reference)
        step = ResolutionStep(payment_id=self._inp.payment_id, resolution=message, at=workflow.now())
        refused = await self._calls.commit(PaymentActivities.record_resolution, step, f"resolved by {message.by}")
        if refused is not None:
            raise ApplicationError(refused, type="NotPossible")
        if message.decision is Decision.CANCEL:
            self._messages.request_cancel(CancelRequest(by=message.by))
        self._messages.resolution = message
        return f"{message.decision} noted"

    @resolve.validator
    def _may_resolve(self, *inputs: object) -> None:
        message = update_input(Resolution, inputs)
        if self._status is not Status.NEEDS_ATTENTION:
            raise ApplicationError(f"The payment is {self._status}, not NEEDS_ATTENTION.", type="NotWaiting")
        self._messages.require_offered(message, tuple(Decision))

    @workflow.update(description="Decide about a payment IN_REVIEW: approve or reject, and by whom.")
    async def review(self, *inputs: object) -> str:
        message = update_input(Review, inputs)
        step = ReviewStep(payment_id=self._inp.payment_id, review=message, at=workflow.now())
        if not await self._calls.commit(PaymentActivities.review, step, f"review: {message.decision}"):
            raise ApplicationError("The review was decided already.", type="NotWaiting")
        self._messages.nudged = True
        return f"{message.decision} noted"

    @review.validator
    def _may_review(self, *inputs: object) -> None:
        update_input(Review, inputs)
        if self._status is not Status.IN_REVIEW:
            raise ApplicationError(f"The payment is {self._status}, not IN_REVIEW.", type="NotWaiting")

    @workflow.update(description="Capture an AUTHORIZED payment in full, and by whom.")
    async def capture(self, *inputs: object) -> str:
        message = update_input(CaptureCommand, inputs)
        step = CaptureStep(payment_id=self._inp.payment_id, by=message.by, at=workflow.now())
        mark = await self._calls.commit(PaymentActivities.mark_capture, step, f"mark capture by {message.by}")
        if mark.outcome is not CaptureOutcome.MARKED:
            why = mark.failure.message if mark.failure else mark.outcome
            raise ApplicationError(f"It is not captured: {why}.", type="NotWaiting")
        self._messages.nudged = True
        return "capture noted"

    @capture.validator
    def _may_capture(self, *inputs: object) -> None:
        update_input(CaptureCommand, inputs)
        if self._status is not Status.AUTHORIZED:
            raise ApplicationError(f"The payment is {self._status}, not AUTHORIZED.", type="NotWaiting")

    async def _verify(self, reference: str | None) -> None:
        """That the PSP's object is this payment's own. Raises ApplicationError, which refuses the update."""
        seen = await self._calls.check_charge(ChargeStep(payment_id=self._inp.payment_id, reference=reference))
        if seen.unclear:
            why = "does not exist" if seen.outcome is ChargeOutcome.NOT_FOUND else seen.reason
            raise ApplicationError(f"{reference} is not taken for this payment's charge: {why}.", type="NotOurs")

    # --- the story ---

    async def _saga(self) -> PaymentEnd:
        stopped = await self._may_charge()
        if stopped is not None:
            return stopped
        result = await self._first_attempt()
        while not isinstance(result, PaymentEnd):
            match result.outcome:
                case ChargeOutcome.SUCCEEDED:
                    result = await self._paid(result)
                case ChargeOutcome.DECLINED:
                    result = await self._decline(result)
                case ChargeOutcome.VOIDED:
                    result = await self._close(*self._ending(result), result)
                case ChargeOutcome.NOT_FOUND if result.failure is not None:
                    failure = result.failure if self._messages.cancel is None else None
                    result = await self._close(Status.FAILED, failure, result)
                case ChargeOutcome.AUTHORIZED if self._inp.authorize_only:
                    result = await self._authorized(result)
                case _:
                    result = await self._wait_for_psp(result)
        return result

    async def _may_charge(self) -> PaymentEnd | None:
        """Confirmed, and let through by the risk rules. None: go on and charge."""
        unconfirmed = None if self._inp.confirmed else await self._confirmation()
        if unconfirmed is not None or not self._inp.risk:
            return unconfirmed
        return await self._check_risk()

    async def _confirmation(self) -> PaymentEnd | None:
        """Wait to be confirmed. None: go on and charge."""
        step = WaitStep(
            payment_id=self._inp.payment_id,
            status=Status.NOT_STARTED,
            deadline_s=self._waits.confirm_s,
            next_check_s=self._waits.confirm_s,
            reason="waiting for confirm",
            at=workflow.now(),
        )
        state = await self._calls.commit(PaymentActivities.await_confirmation, step, "wait for confirm")
        while state.status is Status.NOT_STARTED:
            expired = _is_past(state.deadline_at)
            if state.cancel_requested or self._messages.cancel is not None or expired:
                failure = Failure(code="confirmation_expired", message="The payment was not confirmed in time.")
                close = CloseStep(
                    payment_id=self._inp.payment_id,
                    status=Status.CANCELLED,
                    failure=failure if expired else None,
                    at=workflow.now(),
                )
                await self._calls.commit(PaymentActivities.close_unconfirmed, close, "cancel unconfirmed")
            else:
                await self._messages.wait(timedelta(days=1), state.deadline_at, "deadline of the confirmation")
            state = await self._calls.commit(PaymentActivities.await_confirmation, step, "wait for confirm")
        self._status = state.status
        return PaymentEnd(status=state.status) if state.status in TERMINAL else None

    async def _check_risk(self) -> PaymentEnd | None:
        """Judge the payment before the PSP hears of it. None: go on and charge."""
        decision = await self._assess(Stage.BEFORE, None)
        match await self._verdict(Stage.BEFORE, decision, None):
            case Verdict.BLOCK:
                return await self._close(Status.FAILED, BLOCKED, None)
            case ReviewDecision.REJECT:
                return await self._close(Status.FAILED, REJECTED, None)
            case None:
                return await self._close(Status.CANCELLED, None, None)
            case Verdict.ALLOW:
                return None
        step = ResumeStep(payment_id=self._inp.payment_id, at=workflow.now())
        approved = await self._calls.commit(PaymentActivities.resume, step, "approved: go on to the charge")
        if approved.failure is not None:
            return await self._close(Status.FAILED, approved.failure, None)
        if not approved.resumed:  # a cancel came first
            return await self._close(Status.CANCELLED, None, None)
        self._show(approved.status)
        return None

    async def _assess(self, stage: Stage, result: ChargeResult | None) -> RiskDecision:
        step = AssessStep(payment_id=self._inp.payment_id, stage=stage, result=result, at=workflow.now())
        return await self._calls.commit(RiskActivities.assess, step, f"risk: {stage}")

    async def _verdict(
        self, stage: Stage, decision: RiskDecision, result: ChargeResult | None
    ) -> Verdict | ReviewDecision | None:
        """The rules' verdict, or, where that is a review, the person's; None if a cancel came first."""
        if decision.verdict is not Verdict.REVIEW:
            return decision.verdict
        return decision.review or await self._review(stage, decision, result)

    async def _review(self, stage: Stage, decision: RiskDecision, result: ChargeResult | None) -> ReviewDecision | None:
        """Wait until a person decides; at the deadline the default holds. An authorisation does not wait for longer
        than the PSP keeps it. None: cancelled, or ended in a task that the server had run again."""
        gap = self._polls.longest
        deadline_s = decision.deadline_s if result is None else min(decision.deadline_s, self._held_for_s(result))
        while True:
            state = await self._wait_as(
                Status.IN_REVIEW,
                result,
                gap_s=gap.total_seconds(),
                deadline_s=deadline_s,
                reason=f"review: {'; '.join(decision.reasons)}",
                task="review",
                stage=stage,
            )
            if state.review is not None:
                return state.review
            if state.status in TERMINAL or state.cancel_requested or await self._mark_cancel():
                return None
            if _is_past(state.deadline_at):
                by_default = Review(decision=decision.on_deadline, by="deadline")
                step = ReviewStep(payment_id=self._inp.payment_id, review=by_default, stage=stage, at=workflow.now())
                return await self._calls.commit(PaymentActivities.review_by_default, step, "review: nobody decided")
            await self._messages.wait(gap, state.deadline_at, "a person decides")

    async def _first_attempt(self) -> ChargeResult | PaymentEnd:
        """Charge the buyer. A plain answer has ended the payment in the same step; of every other one the story decides
        what follows."""
        if self._inp.version < 2:
            result = await self._calls.charge_once(self._charge_step(None))
        else:
            paid = await self._calls.charge_and_end(PayStep(payment_id=self._inp.payment_id, at=workflow.now()))
            result = paid.result
            if paid.status is not None:
                self._show(paid.status)
                failure = failure_of(result) if result.outcome is ChargeOutcome.DECLINED else None
                return PaymentEnd(status=paid.status, failure=failure)
        return await self._resolve_unknown(result) if result.outcome is ChargeOutcome.UNKNOWN else result

    async def _resolve_unknown(self, result: ChargeResult) -> ChargeResult:
        """The charge was sent, or was not: nobody knows. PENDING until the PSP's word is known, or until the charge
        counts as not made (NOT_FOUND with a failure; see `domain/unknown.py`)."""
        asked = _Asked(result)
        await self._wait_for_answer(asked)
        while True:
            result = await self._calls.charge_until_known(self._asking(None, asked))
            if result.again_s is None:
                return result
            asked.note(result)
            if (await self._wait_for_answer(asked)).status in TERMINAL:
                return result.model_copy(update={"again_s": None})
            self._continue_as_new_if_long()

    async def _wait_for_answer(self, asked: "_Asked") -> WaitState:
        """PENDING until the PSP is asked again: when its time has come, or a message. A wait of long is told to a
        person, though nothing has to be decided."""
        result = asked.result
        is_long = workflow.now() - asked.since >= timedelta(seconds=self._waits.unknown_s)
        gap_s = _FIRST_TRIES_S if result.again_s is None else result.again_s
        state = await self._wait_as(
            Status.PENDING,
            result,
            gap_s=gap_s,
            reason=f"psp_unknown: {result.reason}",
            task=TASK_KIND if is_long else None,
            detail=waiting_for(result.reason, asked.tries, workflow.now() + timedelta(seconds=gap_s)),
        )
        if result.again_s is not None and state.status not in TERMINAL and not state.nudged:
            await self._messages.wait(timedelta(seconds=result.again_s), None, f"ask {self._inp.psp} again")
            await self._mark_cancel()
        return state

    async def _decline(self, result: ChargeResult) -> ChargeResult | PaymentEnd:
        """FAILED is written only once the PSP's object can no longer be paid: it is voided first."""
        failure = failure_of(result)
        self._if_voided = (Status.FAILED, failure)
        after = await self._void(result)
        gone = after.outcome in (ChargeOutcome.VOIDED, ChargeOutcome.NOT_FOUND)
        return await self._close(Status.FAILED, failure, result) if gone else after

    # --- authorised: to be captured, or let go ---

    async def _authorized(self, result: ChargeResult) -> ChargeResult | PaymentEnd:
        """The amount is reserved on the card: judge the PSP's answer, then take it, or wait to be asked to."""
        if self._inp.risk:
            decision = await self._assess(Stage.AFTER, result)
            match await self._verdict(Stage.AFTER, decision, result):
                case Verdict.BLOCK:
                    return await self._let_go(result, Status.FAILED, BLOCKED)
                case ReviewDecision.REJECT:
                    return await self._let_go(result, Status.FAILED, REJECTED)
                case None:
                    return await self._let_go(result, Status.CANCELLED, None)
        if self._inp.capture_by_request:
            return await self._await_capture(result)
        return await self._capture(result, "workflow")

    async def _await_capture(self, result: ChargeResult) -> ChargeResult | PaymentEnd:
        """Wait until somebody captures or cancels. Before the PSP lets go, the payment's own policy decides."""
        self._if_voided = (Status.CANCELLED, NOT_CAPTURED)
        gap = self._polls.first
        first_look = True
        while True:
            state = await self._wait_as(
                Status.AUTHORIZED,
                result,
                gap_s=gap.total_seconds(),
                deadline_s=self._held_for_s(result),
                reason="waiting for capture",
            )
            if state.status in TERMINAL:
                return PaymentEnd(status=state.status)
            if state.cancel_requested or await self._mark_cancel():
                return await self._let_go(result, Status.CANCELLED, None)
            if state.capture_requested:
                return await self._capture(result, "request")
            if _is_past(state.deadline_at):
                return await self._expire(result)
            if not first_look or state.nudged:
                newer = await self._calls.check_charge(self._charge_step(result))
                if newer.outcome is not ChargeOutcome.AUTHORIZED and not newer.unclear:
                    return newer
            first_look = False
            await self._messages.wait(gap, state.deadline_at, f"next look at {self._inp.psp}")
            if self._inp.version >= 2 and self._messages.take_capture():
                after = await self._capture_and_settle(result)
                if after is not None:
                    return after
            gap = self._polls.after(gap)
            self._continue_as_new_if_long()

    async def _expire(self, result: ChargeResult) -> ChargeResult | PaymentEnd:
        """Nobody has captured, and the PSP will not hold it much longer: capture or void, as the payment says."""
        if self._inp.capture_on_expiry:
            return await self._capture(result, "policy")
        step = CaptureStep(payment_id=self._inp.payment_id, by="authorization expiry", at=workflow.now())
        mark = await self._calls.commit(PaymentActivities.expire_authorization, step, "mark void: not captured in time")
        if mark.outcome is CaptureOutcome.MARKED:  # a capture was requested at the last moment
            return await self._capture(result, "request")
        return await self._let_go(result, Status.CANCELLED, NOT_CAPTURED)

    async def _capture(self, result: ChargeResult, by: str) -> ChargeResult | PaymentEnd:
        """Mark it, then take it. Returns what the charge has become: what was taken is settled like any other."""
        step = CaptureStep(payment_id=self._inp.payment_id, by=by, at=workflow.now())
        mark = await self._calls.commit(PaymentActivities.mark_capture, step, f"mark capture by {by}")
        match mark.outcome:
            case CaptureOutcome.CLOSED:
                return PaymentEnd(status=mark.status)
            case CaptureOutcome.CANCELLED:
                return await self._let_go(result, Status.CANCELLED, None)
            case CaptureOutcome.REFUSED:
                return await self._let_go(result, Status.FAILED, mark.failure)
        self._ask_to_capture(mark.amount)
        return await self._captured(result, await self._calls.capture_once(self._charge_step(result)))

    async def _capture_and_settle(self, result: ChargeResult) -> ChargeResult | PaymentEnd | None:
        """Take and settle it in one step, as nearly every capture that was requested can be. None: nothing is known to
        have been captured, and the single steps decide."""
        step = TakeStep(payment_id=self._inp.payment_id, at=workflow.now())
        taken = await self._calls.capture_and_settle(step)
        if taken.result is None:
            return None
        self._ask_to_capture(taken.amount)
        if taken.status is not None:
            self._show(taken.status)
            return PaymentEnd(status=taken.status)
        return await self._captured(result, taken.result)

    def _ask_to_capture(self, amount: int) -> None:
        self._amount = amount
        self._if_voided = (Status.FAILED, NOT_CAPTURED)

    async def _captured(self, held: ChargeResult, taken: ChargeResult) -> ChargeResult | PaymentEnd:
        """Go on by the PSP's first answer to a capture."""
        if taken.outcome is ChargeOutcome.UNKNOWN:
            return await self._capture_until_known(held, taken)
        return await self._capture_refused(taken) if taken.outcome is ChargeOutcome.AUTHORIZED else taken

    async def _capture_until_known(self, held: ChargeResult, taken: ChargeResult) -> ChargeResult | PaymentEnd:
        """Ask for the capture again and again: each time under a fresh key, so that no stored error stands in the way,
        and the PSP takes an authorisation once. Who cancels does not wait for that: what the PSP has not captured is
        voided, and its answer says which of the two came first. So ends also, after a while, what nobody asked to be
        captured: its buyer is at the checkout. What the shop asked for is tried as long as the PSP holds it."""
        asked = _Asked(taken)
        await self._wait_for_answer(asked)
        while True:
            taken = await self._calls.capture_until_known(self._asking(held, asked))
            if taken.again_s is None:
                break
            asked.note(taken)
            state = await self._wait_for_answer(asked)
            if state.status in TERMINAL:
                return PaymentEnd(status=state.status)
            if state.cancel_requested or self._messages.cancel is not None:
                return await self._let_go(held, Status.CANCELLED, None)
            is_long = workflow.now() - asked.since >= timedelta(seconds=self._waits.unknown_s)
            if is_long and not self._inp.capture_by_request:
                return await self._let_go(held, Status.FAILED, NO_ANSWER)
        return await self._capture_refused(taken) if taken.outcome is ChargeOutcome.AUTHORIZED else taken

    async def _capture_refused(self, result: ChargeResult) -> ChargeResult | PaymentEnd:
        """The PSP would not capture what it still holds: a person has it tried again, or cancels."""
        gap = self._polls.longest
        why = result.failure.message if result.failure else "the PSP does not say why"
        while True:
            state = await self._wait_as(
                Status.NEEDS_ATTENTION,
                result,
                gap_s=gap.total_seconds(),
                reason=f"capture_refused: {why}",
                task="capture_refused",
            )
            if state.status in TERMINAL:
                return PaymentEnd(status=state.status)
            if state.cancel_requested or await self._mark_cancel():
                return await self._let_go(result, Status.CANCELLED, None)
            await self._messages.wait(gap, None, "a person decides")
            resolution = self._messages.take_resolution()
            newer = await self._calls.check_charge(self._charge_step(result))
            if newer.outcome is not ChargeOutcome.AUTHORIZED and not newer.unclear:
                return newer
            if resolution is not None and resolution.decision is Decision.RETRY:
                return await self._capture(result, resolution.by)

    async def _let_go(self, result: ChargeResult, status: Status, failure: Failure | None) -> ChargeResult:
        """Void what is only reserved. Returns what the charge has become: VOIDED, unless somebody was faster."""
        self._if_voided = (status, failure)
        return await self._void(result)

    def _held_for_s(self, result: ChargeResult) -> float:
        """Seconds for which the PSP keeps an authorisation, less our margin."""
        if result.capture_before is None:
            return self._waits.authorization_s
        left = (result.capture_before - workflow.now()).total_seconds()
        return max(0.0, left - self._waits.authorization_margin_s)

    # --- paid ---

    async def _paid(self, result: ChargeResult) -> PaymentEnd:
        """The PSP has the money: is it the right sum, and will every seller's wallet take it?"""
        if not self._as_asked(result):
            result = await self._check_twice(result)
            # Of a capture the row knows what was asked for, and the settlement compares; it may be newer than this run.
            if not self._as_asked(result) and not self._inp.authorize_only:
                return await self._hold(result)
        await self._mark_cancel()
        status = Status.SUCCESS
        refused: list[tuple[str, Failure | None]] = []
        for order_id in self._inp.order_ids:
            settlement = await self._calls.commit(
                PaymentActivities.settle,
                self._settle_step(order_id, result),
                f"credit wallet, post ledger: {order_id}",
            )
            status = settlement.status
            match settlement.outcome:
                case SettleOutcome.HELD:
                    return await self._hold(result)
                case SettleOutcome.CANCELLED:
                    return await self._compensate((), result, Status.CANCELLED, None)
                case SettleOutcome.REFUSED | SettleOutcome.COMPENSATING:
                    if not self._inp.keep_successful:
                        return await self._compensate((), result, Status.FAILED, settlement.failure)
                    refused.append((order_id, settlement.failure))
        for order_id, failure in reversed(refused):
            status = (await self._compensate((order_id,), result, Status.FAILED, failure)).status
        self._show(status)
        return PaymentEnd(status=status)

    async def _check_twice(self, result: ChargeResult) -> ChargeResult:
        """A second answer before a person is asked: it may be the first one that was wrong, not the charge."""
        began, gap = workflow.now(), self._waits.first_gap
        again = await self._calls.check_charge(self._charge_step(result))
        tries = 0
        while again.outcome is ChargeOutcome.UNKNOWN:
            tries += 1
            if workflow.patched(SECOND_ANSWER_SHOWN):
                detail = waiting_for(again.reason, tries, workflow.now() + gap)
                why = f"psp_unknown: {again.reason}"
                await self._wait_as(Status.PENDING, again, gap_s=gap.total_seconds(), reason=why, detail=detail)
            await self._messages.wait(gap, None, f"look at {self._inp.psp} again")
            gap = self._waits.gap_after(gap, workflow.now() - began)
            again = await self._calls.check_charge(self._charge_step(result))
        return again if again.outcome is ChargeOutcome.SUCCEEDED else result

    def _settle_step(self, order_id: str, result: ChargeResult) -> SettleStep:
        """With compensate_all the orders become SUCCESS together, with the last one: SUCCESS is never taken back."""
        last = order_id == self._inp.order_ids[-1]
        together = self._inp.order_ids if last else ()
        return SettleStep(
            payment_id=self._inp.payment_id,
            order_id=order_id,
            result=result,
            completes=(order_id,) if self._inp.keep_successful else together,
            at=workflow.now(),
        )

    async def _compensate(
        self, order_ids: tuple[str, ...], result: ChargeResult, ends_as: Status, failure: Failure | None
    ) -> PaymentEnd:
        """In reverse: take back what was posted, refund each order's share, end it. Nothing from outside stops this."""
        self._in_first_task = False
        self._compensating = True
        step = CompensateStep(
            payment_id=self._inp.payment_id,
            order_ids=order_ids,
            result=result,
            ends_as=ends_as,
            failure=failure,
            at=workflow.now(),
        )
        compensation = await self._calls.commit(
            PaymentActivities.begin_compensation, step, "compensate: reverse and hold in suspense"
        )
        status = ends_as
        for refund_id in compensation.refund_ids:
            status = await make_refund(
                self._calls,
                self._messages,
                self._waits,
                refund_id,
                before_booking=self._mark_cancel,
                waiting=self._wait_for_refund,
            )
        self._show(status)
        return PaymentEnd(status=status, failure=failure)

    async def _wait_for_refund(self, refund: RefundStatus, gap: timedelta) -> None:
        """The payment waits while its refund does."""
        failed = refund in (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)
        step = WaitStep(
            payment_id=self._inp.payment_id,
            status=Status.NEEDS_ATTENTION if failed else Status.PENDING,
            next_check_s=gap.total_seconds(),
            reason="refund_failed" if failed else "refund_pending",
            at=workflow.now(),
        )
        await self._calls.commit(PaymentActivities.wait_in_status, step, f"wait: {step.status}")
        self._show(step.status)

    async def _hold(self, result: ChargeResult) -> PaymentEnd:
        """The PSP took another sum than we asked for: book what came, credit nobody, ask a person."""
        step = HoldStep(payment_id=self._inp.payment_id, result=result, at=workflow.now())
        await self._calls.commit(PaymentActivities.hold, step, "hold in suspense")
        got = Money(amount=result.amount or 0, currency=result.currency or self._inp.currency)
        asked = Money(amount=self._amount, currency=self._inp.currency)
        acceptable = got.currency == self._inp.currency and 0 < got.amount <= self._inp.amount
        while True:
            state = await self._wait_as(
                Status.NEEDS_ATTENTION,
                result,
                gap_s=self._polls.max_s,
                reason=f"amount_mismatch: asked for {asked}, the PSP took {got}"
                + (f"; {ACCEPTABLE}" if acceptable else ""),
                task="amount_mismatch",
                acceptable=acceptable,
            )
            if state.status in TERMINAL:
                return PaymentEnd(status=state.status)
            if state.cancel_requested or await self._mark_cancel():
                failure = Failure(code="amount_mismatch", message=f"The PSP took {got} instead of {asked}.")
                return await self._compensate((), result, Status.CANCELLED, failure)
            await self._messages.wait(self._polls.longest, None, "a person decides")
            self._messages.take_resolution()

    # --- waiting for the PSP ---

    async def _wait_for_psp(self, result: ChargeResult) -> ChargeResult | PaymentEnd:
        """Wait until the PSP says something new: by webhook or by poll, whichever is first; at the deadline, or when a
        cancel is wanted, void it there. Returns what the charge has become."""
        status, deadline_s = self._waiting_as(result)
        began, gap = workflow.now(), self._waits.first_gap
        overdue = status is Status.NEEDS_ATTENTION
        while True:
            state = await self._wait_as(
                Status.NEEDS_ATTENTION if overdue else status,
                result,
                gap_s=gap.total_seconds(),
                deadline_s=None if overdue else deadline_s,
                reason=self._why(result, overdue),
                task=self._why(result, overdue) if overdue else None,
                detail=self._unclear_in_words(result),
            )
            if state.status in TERMINAL:
                return PaymentEnd(status=state.status)
            if not state.nudged and not (state.cancel_requested and not self._void_tried):
                await self._messages.wait(gap, None if overdue else state.deadline_at, f"next look at {self._inp.psp}")
            gap = self._waits.gap_after(gap, workflow.now() - began)
            newer = await self._check_or_void(result, state, overdue=overdue)
            decided = self._decided(result, newer)
            if decided is not None:
                return decided
            if newer.outcome is not result.outcome and not newer.unclear:
                return newer
            if newer.outcome is result.outcome and newer.answered_at is not None:
                result = result.model_copy(update={"answered_at": newer.answered_at})  # one more unclear answer
            overdue = overdue or _is_past(state.deadline_at)
            self._continue_as_new_if_long()

    async def _check_or_void(self, result: ChargeResult, state: WaitState, *, overdue: bool) -> ChargeResult:
        """Ask the PSP what has become of it; void it if it is not wanted any more."""
        expired = overdue or _is_past(state.deadline_at)
        wanted = not (await self._mark_cancel() or state.cancel_requested)
        if result.reference is None or (wanted and not expired):
            return await self._calls.check_charge(self._charge_step(result))
        if not wanted:
            self._if_voided = (Status.CANCELLED, None)
        elif result.outcome is ChargeOutcome.REQUIRES_ACTION:
            failure = Failure(code="action_expired", message="The buyer did not complete the payment in time.")
            self._if_voided = (Status.CANCELLED, failure)
        else:
            failure = Failure(code="pending_expired", message="The PSP did not complete the payment in time.")
            self._if_voided = (Status.FAILED, failure)
        return await self._void(result)

    def _decided(self, result: ChargeResult, newer: ChargeResult) -> ChargeResult | None:
        """A person's decision on a charge that cannot be found, once a fresh look agrees: the PSP may know more by now
        than the person saw. Everything else is answered by looking again."""
        resolution = self._messages.resolution
        if resolution is None or newer.outcome is ChargeOutcome.UNKNOWN:
            return None
        self._messages.take_resolution()
        not_charged = resolution.decision is Decision.NOT_CHARGED and result.reference is None
        if not not_charged or newer.outcome is not ChargeOutcome.NOT_FOUND:
            return None
        failure = Failure(code="not_charged", message=f"{resolution.by} found no charge at the PSP.")
        self._if_voided = (Status.FAILED, failure)
        return ChargeResult(outcome=ChargeOutcome.VOIDED)

    def _waiting_as(self, result: ChargeResult) -> tuple[Status, float | None]:
        match result.outcome:
            case ChargeOutcome.REQUIRES_ACTION:
                return Status.REQUIRES_ACTION, self._waits.action_s
            case ChargeOutcome.PENDING:
                return Status.PENDING, self._waits.pending_s
            case _:
                return Status.NEEDS_ATTENTION, None

    @staticmethod
    def _why(result: ChargeResult, overdue: bool) -> str:
        match result.outcome:
            case ChargeOutcome.NOT_FOUND:
                return "charge_not_found"
            case ChargeOutcome.UNKNOWN:
                return "psp_unknown"
            case ChargeOutcome.AUTHORIZED:
                return "authorized_unexpectedly"
            case _:
                return "past_deadline" if overdue else result.outcome.value.lower()

    @staticmethod
    def _unclear_in_words(result: ChargeResult) -> str | None:
        """The reason for which a person has to look, of a charge that cannot be found out."""
        if result.outcome is ChargeOutcome.NOT_FOUND:
            return "The PSP does not list the charge, and the key under which it was sent may not be used any more."
        if result.outcome is ChargeOutcome.UNKNOWN:
            return f"The charge can only be looked up by now, and {in_words(result.reason)}."
        return None

    # --- small parts ---

    def _ending(self, voided: ChargeResult) -> tuple[Status, Failure | None]:
        """The end of a payment whose charge is voided: one that a run before this one declined may have been voided
        since, and the PSP still knows why."""
        declined_before = voided.failure is not None and self._if_voided == VOIDED_AT_PSP
        return (Status.FAILED, voided.failure) if declined_before else self._if_voided

    async def _wait_as(
        self,
        status: Status,
        result: ChargeResult | None,
        *,
        gap_s: float,
        reason: str,
        deadline_s: float | None = None,
        task: str | None = None,
        acceptable: bool = False,
        stage: Stage | None = None,
        detail: str | None = None,
    ) -> WaitState:
        """Wait in a status, as rows and Temporal's UI show it; `detail`: what a person reads instead of the reason."""
        self._in_first_task = False
        has_reference = result is not None and result.reference is not None
        self._messages.offered = offered(task, has_reference=has_reference, acceptable=acceptable) if task else ()
        step = WaitStep(
            payment_id=self._inp.payment_id,
            status=status,
            result=result,
            deadline_s=deadline_s,
            next_check_s=gap_s,
            reason=reason,
            task=task,
            detail=f"{detail} {to_be_decided(self._messages.offered)}" if detail and self._messages.offered else detail,
            stage=stage,
            at=workflow.now(),
        )
        state = await self._calls.commit(PaymentActivities.wait_in_status, step, f"wait: {status}")
        self._show(state.status)
        deadline = f" · deadline {state.deadline_at:%Y-%m-%d %H:%M:%S} UTC" if state.deadline_at else ""
        next_look = workflow.now() + timedelta(seconds=gap_s)
        when = f" · next look by {next_look:%Y-%m-%d %H:%M:%S} UTC{deadline}"
        decisions = self._messages.offered
        to_do = f" · a person decides: {decisions_in_words(decisions)}" if decisions else ""
        if detail is not None and status is Status.PENDING:
            when, to_do = "", f" · {TO_DO}"  # the detail says when
        workflow.set_current_details(f"**{state.status}** · {detail or reason}{when}{to_do}")
        return state

    async def _void(self, result: ChargeResult) -> ChargeResult:
        """Void it at the PSP, however long its answer takes."""
        self._void_tried = True
        voided = await self._calls.void_once(self._charge_step(result))
        if voided is not None:
            return voided
        asked = _Asked(None)
        while True:
            voided = await self._calls.void_until_known(self._asking(result, asked))
            if voided.again_s is None:
                return voided
            asked.note(voided)
            await self._wait_for_answer(asked)

    async def _close(self, status: Status, failure: Failure | None, result: ChargeResult | None) -> PaymentEnd:
        await self._mark_cancel()
        step = CloseStep(
            payment_id=self._inp.payment_id, status=status, failure=failure, result=result, at=workflow.now()
        )
        ended = await self._calls.commit(PaymentActivities.close, step, f"end: {status}")
        self._show(ended)
        return PaymentEnd(status=ended, failure=failure)

    async def _mark_cancel(self) -> bool:
        """A cancel that came as a message is marked on the row, which is what settlement obeys. True: it is wanted."""
        request = self._messages.cancel
        if request is None:
            return False
        if not self._cancel_marked:
            step = CancelStep(payment_id=self._inp.payment_id, by=request.by, at=workflow.now())
            self._cancel_marked = await self._calls.commit(PaymentActivities.request_cancel, step, "mark cancel")
        return True

    def _show(self, status: Status) -> None:
        """Say the status where operators filter; a payment that goes as planned spends no event on it."""
        if status is not self._status and not self._in_first_task and not self._is_as_planned(status):
            workflow.upsert_search_attributes([STATUS.value_set(status.value)])
        self._status = status

    def _is_as_planned(self, status: Status) -> bool:
        """Whether it waits for its capture, or was captured, and never was anything else that had to be said."""
        is_usual = self._inp.version >= 2 and status in (Status.AUTHORIZED, Status.SUCCESS)
        return is_usual and workflow.info().typed_search_attributes.get(STATUS) is None

    def _as_asked(self, result: ChargeResult) -> bool:
        return (result.amount, result.currency) == (self._amount, self._inp.currency)

    def _charge_step(self, result: ChargeResult | None) -> ChargeStep:
        reference = result.reference if result is not None else None
        return ChargeStep(payment_id=self._inp.payment_id, reference=reference)

    def _asking(self, result: ChargeResult | None, asked: "_Asked") -> ChargeStep:
        update = {"tries": asked.tries, "patience_s": self._waits.unknown_s}
        return self._charge_step(result).model_copy(update=update)

    def _continue_as_new_if_long(self) -> None:
        """A payment that waits for months starts afresh from its rows before its history grows too long."""
        quiet = self._messages.cancel is None and self._messages.resolution is None and workflow.all_handlers_finished()
        if quiet and workflow.info().is_continue_as_new_suggested():
            workflow.continue_as_new(self._inp.model_copy(update={"confirmed": True}))


class _Asked:
    """A question to the PSP that has no answer yet: since when, how often, and the last word on it."""

    def __init__(self, result: ChargeResult | None) -> None:
        self.since = workflow.now()
        self.tries = 1
        self.result = result or ChargeResult(outcome=ChargeOutcome.UNKNOWN)

    def note(self, result: ChargeResult) -> None:
        self.result, self.tries = result, result.tries


def _is_past(deadline_at: datetime | None) -> bool:
    return deadline_at is not None and workflow.now() >= deadline_at
