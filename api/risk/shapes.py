"""The shapes of risk rules, of their decisions, and of reviews over HTTP."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.fields import In, Out
from db.risk import Judgement, OpenReview, RuleSetVersion
from domain.limits import Note
from domain.money import to_major
from domain.risk import ReviewDecision, RuleSet, Stage, Verdict


class ReviewIn(In):
    decision: Literal["approve", "reject"] = Field(examples=["approve"])
    note: Note = Field(default="", examples=["called the buyer"])


class RiskDecisionOut(Out):
    """The decision of the rules, and a person's on a review."""

    stage: Stage
    verdict: Verdict
    reasons: list[str] = Field(examples=[["large amount: 150000.00 INR is above 100000.00 INR"]])
    rules_version: int
    at: datetime
    review: ReviewDecision | None
    reviewed_by: str | None
    review_note: str | None
    reviewed_at: datetime | None


class ReviewOut(Out):
    """A payment that waits for a person's decision."""

    object: Literal["review"] = "review"
    payment_id: str
    amount: str
    currency: str
    stage: Stage
    reasons: list[str]
    deadline_at: datetime | None


class ReviewList(Out):
    object: Literal["list"] = "list"
    data: list[ReviewOut]


class RuleSetOut(Out):
    object: Literal["risk_rules"] = "risk_rules"
    version: int = Field(description="0: none were ever written")
    rules: RuleSet
    updated_by: str | None
    updated_at: datetime | None


def risk_out(row: Judgement) -> RiskDecisionOut:
    """The shape of the rules' decision on a payment at a stage."""
    return RiskDecisionOut(rules_version=row.version, **row.model_dump(include=set(RiskDecisionOut.model_fields)))


def review_out(row: OpenReview) -> ReviewOut:
    return ReviewOut(
        payment_id=row.payment_id,
        amount=to_major(row.amount, row.currency),
        currency=row.currency,
        stage=row.stage,
        reasons=list(row.reasons),
        deadline_at=row.deadline_at,
    )


def rules_out(row: RuleSetVersion | None) -> RuleSetOut:
    """`row`: None where no rules were ever written."""
    return RuleSetOut(
        version=row.version if row else 0,
        rules=row.rules if row else RuleSet(),
        updated_by=row.actor if row else None,
        updated_at=row.created_at if row else None,
    )
