"""`/v1/risk/rules`: a shop's rules, as data. `/v1/payments/{id}/review`: a person's decision."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response

from api import examples
from api.context import IdempotencyKey, Reviewer, RiskReader, RiskWriter, RuntimeOf, Wait, keyed
from api.cursor import LIMIT_DEFAULT, Limit
from api.payment import HEADERS, WAITING, answer, find_payment, keyed_work, outcome, tell
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.schemas.payment import PaymentOut
from api.schemas.risk import ReviewIn, ReviewList, RuleSetOut
from api.strict import StrictRoute
from api.views.risk import review_out
from db import audit_log, risk
from db.payment.record import Payment
from domain.messages import Nudge
from domain.payment import Review, ReviewStep
from domain.risk import ReviewDecision, RuleSet
from domain.status import Status

router = APIRouter(prefix="/v1", tags=["risk"], route_class=StrictRoute)


@router.get("/risk/rules", response_model=RuleSetOut, responses=READ_PROBLEMS, summary="Show the risk rules")
async def show_rules(who: RiskReader, runtime: RuntimeOf) -> Response:
    """The rule set that judges payments created from now on."""
    row = await runtime.database.read(lambda c: risk.rules(c, who.tenant_id))
    return _rules(row)


@router.put("/risk/rules", response_model=RuleSetOut, responses=WRITE_PROBLEMS, summary="Replace the risk rules")
async def replace_rules(
    body: Annotated[RuleSet, Body(openapi_examples=examples.RISK_RULES)], who: RiskWriter, runtime: RuntimeOf
) -> Response:
    """All of them at once, as a new version: a payment is judged by the version of its creation, and its decision names
    it. No rules: every payment is allowed."""

    async def work(connection: Any) -> dict[str, Any]:
        row = await risk.put_rules(connection, who.tenant_id, body, who.key_id)
        detail = {"version": row["version"]}
        await audit_log.record(connection, who.tenant_id, who.key_id, "risk.rules", who.tenant_id, detail)
        return row

    return _rules(await runtime.database.run(work))


def _rules(row: dict[str, Any] | None) -> Response:
    shown = RuleSetOut(
        version=row["version"] if row else 0,
        rules=row["rules"] if row else RuleSet(),
        updated_by=row["actor"] if row else None,
        updated_at=row["created_at"] if row else None,
    )
    return Response(shown.model_dump_json(), media_type="application/json")


@router.get("/reviews", response_model=ReviewList, responses=READ_PROBLEMS, summary="List the payments in review")
async def list_reviews(who: RiskReader, runtime: RuntimeOf, limit: Limit = LIMIT_DEFAULT) -> Response:
    """Those that wait for a person, the oldest first."""
    rows = await runtime.database.read(lambda c: risk.waiting(c, who.tenant_id, limit))
    return Response(ReviewList(data=[review_out(row) for row in rows]).model_dump_json(), media_type="application/json")


@router.post(
    "/payments/{payment_id}/review",
    response_model=PaymentOut,
    responses={**WRITE_PROBLEMS, 200: {"headers": HEADERS}, 202: WAITING},
    summary="Decide about a payment in review",
)
async def review_payment(
    request: Request,
    payment_id: Annotated[str, Path(description="our id, `pay_…` or `po_…`, or your own", examples=[examples.ORDER])],
    body: Annotated[ReviewIn, Body(openapi_examples=examples.REVIEWS)],
    who: Reviewer,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: Wait,
) -> Response:
    """`approve` lets it go on to its charge, or to its capture; `reject` ends it as FAILED, having voided what was
    reserved. The first decision counts; at the deadline the rule set's default does."""
    row, _ = await find_payment(runtime, who, payment_id)
    review = Review(decision=ReviewDecision(body.decision), by=who.key_id, note=body.note)
    step = ReviewStep(payment_id=row.id, review=review, at=datetime.now(UTC))
    with runtime.notifier.watch(row.id) as changed:
        found, replayed = await keyed_work(
            runtime, who, keyed(request, key, body), row, lambda c: risk.review(c, step), again=False
        )
        if found.open:
            await tell(runtime, found, Nudge(reason="review"))
            row = await outcome(runtime, row.id, changed, wait_s, until=_decided)
    return answer(row, replayed=replayed, created=False)


def _decided(row: Payment) -> bool:
    """Charged, captured, or at rest somewhere else."""
    return row.status not in (Status.IN_REVIEW, Status.EXECUTING)
