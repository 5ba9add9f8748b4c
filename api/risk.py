"""`/v1/risk/rules`: a shop's rules, as data. `/v1/payments/{id}/review`: a person's decision."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Body, Request, Response
from pydantic import Field

from api import examples
from api.access import Reviewer, RiskReader, RiskWriter, caller, tenant_of
from api.context import HEADERS, IdempotencyKey, RuntimeOf, Wait, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Limit
from api.fields import In, Out
from api.payment.routes import WAITING, PaymentId, answer
from api.payment.shapes import PaymentOut
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from db import risk
from db.risk import Judgement, OpenReview, RuleSetVersion
from domain.limits import Note
from domain.money import to_major
from domain.risk import ReviewDecision, RuleSet, Stage, Verdict
from services import risk as service

router = Router(prefix="/v1", tags=["risk"], route_class=StrictRoute)


# --- shapes ---


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


def _rules(row: RuleSetVersion | None) -> Response:
    return json_answer(rules_out(row))


# --- routes ---


@router.get("/risk/rules", response_model=RuleSetOut, responses=READ_PROBLEMS, summary="Show the risk rules")
async def show_rules(who: RiskReader, runtime: RuntimeOf) -> Response:
    """The rule set that judges payments created from now on."""
    return _rules(await runtime.database.read(lambda c: risk.rules(c, tenant_of(who))))


@router.put("/risk/rules", response_model=RuleSetOut, responses=WRITE_PROBLEMS, summary="Replace the risk rules")
async def replace_rules(
    body: Annotated[RuleSet, Body(openapi_examples=examples.RISK_RULES)], who: RiskWriter, runtime: RuntimeOf
) -> Response:
    """All of them at once, as a new version: a payment is judged by the version of its creation, and its decision names
    it. No rules: every payment is allowed."""
    return _rules(await service.replace_rules(runtime.database, caller(who), tenant_of(who), body))


@router.get("/reviews", response_model=ReviewList, responses=READ_PROBLEMS, summary="List the payments in review")
async def list_reviews(who: RiskReader, runtime: RuntimeOf, limit: Limit = LIMIT_DEFAULT) -> Response:
    """Those that wait for a person, the oldest first."""
    rows = await runtime.database.read(lambda c: risk.waiting(c, tenant_of(who), limit))
    return json_answer(ReviewList(data=[review_out(row) for row in rows]))


@router.post(
    "/payments/{payment_id}/review",
    response_model=PaymentOut,
    responses={**WRITE_PROBLEMS, 200: {"headers": HEADERS}, 202: WAITING},
    summary="Decide about a payment in review",
)
async def review_payment(
    request: Request,
    payment_id: PaymentId,
    body: Annotated[ReviewIn, Body(openapi_examples=examples.REVIEWS)],
    who: Reviewer,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """`approve` lets it go on to its charge, or to its capture; `reject` ends it as FAILED, having voided what was
    reserved. The first decision counts; at the deadline the rule set's default does."""
    decision, under = ReviewDecision(body.decision), keyed(request, key, body)
    done = await service.review(runtime, caller(who), payment_id, decision, body.note, request=under, wait_s=wait_s)
    return answer(runtime, done)
