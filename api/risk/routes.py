"""`/v1/risk/rules`: a shop's rules, as data. `/v1/payments/{id}/review`: a person's decision."""

from typing import Annotated

from fastapi import Body, Request, Response

from api import examples
from api.access import Reviewer, RiskReader, RiskWriter, caller, tenant_of
from api.context import HEADERS, IdempotencyKey, RuntimeOf, Wait, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Limit
from api.payment.routes import WAITING, PaymentId, answer
from api.payment.shapes import PaymentOut
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.risk.shapes import ReviewIn, ReviewList, RuleSetOut, review_out, rules_out
from api.routing import Router
from api.strict import StrictRoute
from db import risk
from db.risk import RuleSetVersion
from domain.risk import ReviewDecision, RuleSet
from services import risk as service

router = Router(prefix="/v1", tags=["risk"], route_class=StrictRoute)


def _rules(row: RuleSetVersion | None) -> Response:
    return json_answer(rules_out(row))


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
