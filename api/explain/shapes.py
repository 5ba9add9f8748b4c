"""The shapes of a payment's explanation, and how it is made of the rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import quote

from pydantic import Field

from api.dispute.shapes import DisputeOut, dispute_out
from api.fields import Out
from api.refund.shapes import RefundOut, refund_out
from api.risk.shapes import RiskDecisionOut, risk_out
from config.settings import Settings
from db import risk, task
from db.core.database import Database, clock
from db.payment import charge, find
from db.payment.record import Charge, Payment, Transition
from db.refund.record import Refund
from db.task import Task
from domain.ids import payment_workflow_id
from domain.psp import ChargeOutcome
from domain.status import RefundStatus, Status
from domain.unknown import TO_DO, TO_DO_ABOUT_A_REFUND, waiting_for
from services import access
from services import dispute as disputes
from services import refund as refunds
from services.command import Caller


class UnansweredOut(Out):
    """A question to the PSP whose answer is not known yet, while it is asked again and again."""

    about: str = Field(description="the payment, for its charge or capture; or our refund")
    reason: str | None = Field(description="timeout, connection, server_error, server_error_replayed, in_flight, …")
    detail: str = Field(examples=["the PSP did not answer in time; 3 tries so far"])
    tries: int = Field(description="answers so far that could not be trusted")
    next_try_at: datetime | None = Field(description="null: it is under way now, or overdue because no worker runs")
    ends_at: datetime | None = Field(
        description="only where the PSP repeats a stored error: what it has not made by then counts as not made"
    )
    what_to_do: str


class TransitionOut(Out):
    payment_order_id: str
    from_status: Status | None
    to_status: Status
    reason: str
    actor: str
    at: datetime


class AttemptOut(Out):
    """One charge attempt at the PSP, and its last word on it."""

    attempt: int
    psp: str
    reference: str | None
    outcome: str | None
    unknown_answers: int
    send_until: datetime
    last_answer: dict[str, object] | None
    last_answer_at: datetime | None


class TaskOut(Out):
    id: str
    kind: str
    detail: str
    opened_at: datetime


class ExplainOut(Out):
    """Why a payment is where it is, from the rows alone: it answers also when no worker does."""

    object: Literal["explanation"] = "explanation"
    payment_id: str
    status: Status
    summary: str = Field(examples=["Waiting for the buyer to authenticate; cancelled at the deadline otherwise."])
    next_check_at: datetime | None = Field(
        description="never in the past: null where the look is under way, or overdue because no worker runs"
    )
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    workflow_id: str
    workflow_url: str | None
    capture_requested_at: datetime | None
    attempts: list[AttemptOut]
    unanswered: list[UnansweredOut] = Field(description="what the PSP has not answered in a way that can be trusted")
    risk: list[RiskDecisionOut]
    compensation: list[RefundOut]
    refunds: list[RefundOut]
    disputes: list[DisputeOut]
    tasks: list[TaskOut]
    transitions: list[TransitionOut]


def _attempt(row: Charge) -> AttemptOut:
    return AttemptOut(
        attempt=row.attempt,
        psp=row.psp,
        reference=row.reference,
        outcome=row.outcome,
        unknown_answers=row.unknown_count,
        send_until=row.send_until,
        last_answer=row.last_answer,
        last_answer_at=row.last_answer_at,
    )


def _unanswered(row: Payment, made: Sequence[Refund], patience_s: float, now: datetime) -> list[UnansweredOut]:
    charge = row.charge
    answer = charge.last_answer or {}
    found: list[UnansweredOut] = []
    if row.open and answer.get("outcome") == ChargeOutcome.UNKNOWN:
        reason = answer.get("reason")
        again = _ahead(row.next_check_at, now)
        to_do = TO_DO if row.status is Status.PENDING else "A person decides: see tasks."
        found.append(_one(row.id, reason, charge.unknown_count, again, _end(charge.dead_since, patience_s), to_do))
    for refund in made:
        if refund.status is RefundStatus.REQUESTED and refund.failure is not None:
            end = _end(refund.dead_since, patience_s)
            again = _ahead(refund.next_check_at, now)
            reason = refund.failure.psp_code
            found.append(_one(refund.id, reason, refund.unknown_count, again, end, TO_DO_ABOUT_A_REFUND))
    return found


def _one(
    about: str, reason: str | None, tries: int, again: datetime | None, end: datetime | None, to_do: str
) -> UnansweredOut:
    return UnansweredOut(
        about=about,
        reason=reason,
        detail=waiting_for(reason, tries, again),
        tries=tries,
        next_try_at=again,
        ends_at=end,
        what_to_do=to_do,
    )


def _end(dead_since: datetime | None, patience_s: float) -> datetime | None:
    return None if dead_since is None else dead_since + timedelta(seconds=patience_s)


def _ahead(at: datetime | None, now: datetime) -> datetime | None:
    return at if at is not None and at > now else None


def task_out(row: Task) -> TaskOut:
    return TaskOut(id=row.id, kind=row.kind, detail=row.detail, opened_at=row.opened_at)


def _transition(row: Transition, names: Mapping[str, str]) -> TransitionOut:
    """`names`: our order ids → the client's."""
    return TransitionOut(payment_order_id=names[row.order_id], **row.model_dump(exclude={"order_id"}))


_WHY = {
    Status.NOT_STARTED: "Waiting for POST /confirm; cancelled at the deadline otherwise.",
    Status.EXECUTING: "On its way: the charge or the settlement is being made.",
    Status.REQUIRES_ACTION: "Waiting for the buyer to authenticate (next_action); cancelled at the deadline otherwise.",
    Status.PENDING: "Waiting for the PSP: a webhook or the next look moves it on, whichever is first.",
    Status.IN_REVIEW: "Waiting for a person's decision (POST /review); see risk. At the deadline the default holds.",
    Status.AUTHORIZED: "Reserved on the card: POST /capture or /cancel. At the deadline its own policy holds.",
    Status.NEEDS_ATTENTION: "Waiting for a person: see tasks; `paysaga tasks` lists the commands that answer them.",
    Status.SUCCESS: "Paid: the sellers' wallets are credited and the ledger is posted.",
    Status.FAILED: "Not paid; nothing of it is left on any account but fees that the PSP keeps.",
    Status.CANCELLED: "Cancelled; whatever had been taken was refunded.",
}


def _summary(row: Payment, unanswered: Sequence[UnansweredOut], now: datetime) -> str:
    """The state in words; of a wait for an answer, why there is none and what a person can do."""
    if row.status is Status.PENDING and unanswered:
        why = unanswered[0].detail
        return f"Waiting for the PSP: {why}. {unanswered[0].what_to_do}"
    if row.open and row.next_check_at is not None and row.next_check_at <= now:
        due = f"{row.next_check_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{_WHY[row.status]} The look that was due at {due} is under way, or no worker runs."
    return _WHY[row.status]


async def explanation(settings: Settings, database: Database, by: Caller, row: Payment) -> ExplainOut:
    """The explanation of a payment that was found, as much of it as the caller sees."""
    read, inside = database.read, access.sees_inside(by)
    names = {order.id: order.payment_order_id for order in row.orders}
    workflow_id = payment_workflow_id(row.id)
    made = await refunds.of_payment(database, by, row)
    steps = access.transitions(by, row, await read(lambda c: find.transitions(c, row.id)))
    now = await read(clock)
    unanswered = _unanswered(row, made, settings.unknown_patience_s, now)
    return ExplainOut(
        payment_id=row.id,
        status=row.status,
        summary=_summary(row, unanswered, now),
        next_check_at=_ahead(row.next_check_at, now),
        deadline_at=row.deadline_at,
        cancel_requested_at=row.cancel_requested_at,
        capture_requested_at=row.capture_requested_at,
        workflow_id=workflow_id,
        workflow_url=_url(settings, workflow_id) if inside else None,
        attempts=[_attempt(a) for a in await read(lambda c: charge.attempts(c, row.id))] if inside else [],
        unanswered=unanswered,
        risk=[risk_out(d) for d in await read(lambda c: risk.decisions(c, row.id))] if inside else [],
        compensation=[refund_out(r, names) for r in made if r.undoes_charge],
        refunds=[refund_out(r, names) for r in made if not r.undoes_charge],
        disputes=[dispute_out(d) for d in await disputes.of_payment(database, by, row)],
        tasks=[task_out(t) for t in await read(lambda c: task.open_tasks(c, payment_id=row.id))] if inside else [],
        transitions=[_transition(step, names) for step in steps],
    )


def _url(settings: Settings, workflow_id: str) -> str | None:
    ui, namespace = settings.temporal_ui_url, settings.temporal_namespace
    return f"{ui}/namespaces/{quote(namespace)}/workflows/{quote(workflow_id)}" if ui else None
