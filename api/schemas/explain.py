"""The shape of an explanation: why a payment is where it is."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas.dispute import DisputeOut
from api.schemas.fields import Out
from api.schemas.refund import RefundOut
from api.schemas.risk import RiskDecisionOut
from domain.status import Status


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
    next_check_at: datetime | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    workflow_id: str
    workflow_url: str | None
    capture_requested_at: datetime | None
    attempts: list[AttemptOut]
    risk: list[RiskDecisionOut]
    compensation: list[RefundOut]
    refunds: list[RefundOut]
    disputes: list[DisputeOut]
    tasks: list[TaskOut]
    transitions: list[TransitionOut]
