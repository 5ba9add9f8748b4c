"""Risk: TODO docstring."""

from datetime import datetime
from typing import Literal

from pydantic import (
    Field,
)

from api.schemas.fields import In, Out
from domain.risk import ReviewDecision, RuleSet, Stage, Verdict


class ReviewIn(In):
    decision: Literal["approve", "reject"] = Field(examples=["approve"])
    note: str = Field(default="", max_length=2000, examples=["called the buyer"])


class RiskDecisionOut(Out):
    """What the rules said, and what a person made of a review."""

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
