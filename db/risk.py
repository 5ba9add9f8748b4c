"""Risk rules and decisions: each decision is stored once with its reasons, and so is what a person makes of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, task, velocity
from db.core import outbox
from db.payment import payment
from db.payment.capture import inactive_seller
from db.payment.record import Payment
from db.schema.merchant import merchant
from db.schema.payment import charge, risk_decision, risk_rule_set
from db.schema.payment import payment as payment_table
from domain.errors import Conflict
from domain.event_data import ReviewData
from domain.events import Event
from domain.ids import new_id
from domain.model import Failure, Frozen
from domain.payment import AssessStep, Resumed, ResumeStep, ReviewStep, RiskDecision
from domain.psp import CardFacts
from domain.risk import (
    BLOCKED,
    REJECTED,
    ReviewDecision,
    RiskFacts,
    RuleSet,
    Stage,
    VelocityRule,
    Verdict,
    assess,
)
from domain.status import Status

# --- the rules ---


@dataclass(frozen=True)
class RuleSetVersion:
    """A tenant's rules as somebody wrote them; versions count from 1."""

    version: int
    rules: RuleSet
    actor: str
    created_at: datetime


def _version(row: RowMapping) -> RuleSetVersion:
    return RuleSetVersion(row["version"], RuleSet.model_validate(row["rules"]), row["actor"], row["created_at"])


async def rules(connection: AsyncConnection, tenant_id: str, version: int | None = None) -> RuleSetVersion | None:
    """A tenant's rule set, the latest or a given version."""
    query = select(risk_rule_set).where(risk_rule_set.c.tenant_id == tenant_id)
    query = (
        query.where(risk_rule_set.c.version == version) if version else query.order_by(risk_rule_set.c.version.desc())
    )
    row = (await connection.execute(query.limit(1))).mappings().one_or_none()
    return None if row is None else _version(row)


async def put_rules(connection: AsyncConnection, tenant_id: str, rule_set: RuleSet, actor: str) -> RuleSetVersion:
    """A new version: decisions name the one they were made by, so none is changed."""
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"risk_rules:{tenant_id}"))))
    latest = await connection.scalar(
        select(func.max(risk_rule_set.c.version)).where(risk_rule_set.c.tenant_id == tenant_id)
    )
    inserted = await connection.execute(
        insert(risk_rule_set)
        .values(
            tenant_id=tenant_id,
            version=(latest or 0) + 1,
            rules=rule_set.model_dump(mode="json"),
            actor=actor,
        )
        .returning(risk_rule_set)
    )
    return _version(inserted.mappings().one())


# --- the decision ---


class Judgement(Frozen):
    """The decision of the rules on a payment at a stage, and a person's on its review."""

    stage: Stage
    verdict: Verdict
    reasons: tuple[str, ...]
    version: int
    at: datetime
    review: ReviewDecision | None
    reviewed_by: str | None
    review_note: str | None
    reviewed_at: datetime | None
    released_at: datetime | None


async def decisions(connection: AsyncConnection, payment_id: str) -> list[Judgement]:
    """In the order in which they were made."""
    rows = await connection.execute(
        select(risk_decision)
        .where(risk_decision.c.payment_id == payment_id)
        .order_by(risk_decision.c.at, risk_decision.c.stage.desc())
    )
    return [Judgement(**row) for row in rows.mappings()]


async def decided(connection: AsyncConnection, payment_id: str, stage: Stage) -> bool:
    return await _stored(connection, payment_id, stage) is not None


async def decide(connection: AsyncConnection, step: AssessStep, card: CardFacts | None, expected: bool) -> RiskDecision:
    """Judge the payment once per stage; called again it finds what was decided. `card`: what the PSP tells of it,
    `expected`: whether it should have."""
    locked = await payment.lock(connection, step.payment_id)
    assert locked.risk_version is not None, "only a payment with rules is judged"
    row = await rules(connection, locked.tenant_id, locked.risk_version)
    assert row is not None, "a rule set is never deleted"
    rule_set = row.rules
    known = await _stored(connection, locked.id, step.stage)
    if known is not None:
        return _decision(known, rule_set)
    if step.stage is Stage.BEFORE:
        await velocity.queue(connection, locked, rule_set, card)
    if card is not None and card.fingerprint:
        await payment.touch(connection, locked.id, card_fingerprint=card.fingerprint)
    facts = await _facts(connection, locked, rule_set, step, card, expected)
    assessment = assess(rule_set, step.stage, facts)
    inserted = await connection.execute(
        insert(risk_decision)
        .values(
            payment_id=locked.id,
            stage=step.stage.value,
            tenant_id=locked.tenant_id,
            version=locked.risk_version,
            verdict=assessment.verdict.value,
            reasons=list(assessment.reasons),
            facts=facts.model_dump(mode="json", exclude={"card": {"fingerprint"}}, exclude_none=True),
            at=step.at,
        )
        .returning(risk_decision)
    )
    judged = Judgement(**inserted.mappings().one())
    if judged.verdict is Verdict.REVIEW:
        await _tell(connection, locked.tenant_id, locked.id, "requested", judged, step.at)
    return _decision(judged, rule_set)


async def _stored(connection: AsyncConnection, payment_id: str, stage: Stage) -> Judgement | None:
    row = (
        (
            await connection.execute(
                select(risk_decision).where(
                    risk_decision.c.payment_id == payment_id, risk_decision.c.stage == stage.value
                )
            )
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Judgement(**row)


def _decision(row: Judgement, rule_set: RuleSet) -> RiskDecision:
    return RiskDecision(
        verdict=row.verdict,
        reasons=row.reasons,
        review=row.review,
        deadline_s=rule_set.review_deadline_s,
        on_deadline=rule_set.on_deadline,
    )


async def _facts(
    connection: AsyncConnection,
    locked: Payment,
    rule_set: RuleSet,
    step: AssessStep,
    card: CardFacts | None,
    expected: bool,
) -> RiskFacts:
    countries = await connection.execute(
        select(merchant.c.country).where(
            merchant.c.tenant_id == locked.tenant_id,
            merchant.c.seller_account.in_([order.seller_account for order in locked.orders]),
            merchant.c.country.is_not(None),
        )
    )
    counted = {}
    for rule in rule_set.of(step.stage):
        if isinstance(rule, VelocityRule):
            seen = await velocity.of_rule(connection, locked, rule, card)
            if seen is not None:
                counted[rule.name] = seen
    return RiskFacts(
        amount=locked.amount,
        currency=locked.currency,
        buyer_country=locked.buyer_country,
        merchant_countries=tuple(sorted(set(countries.scalars()))),
        card_expected=expected,
        card=card,
        checks=step.result.checks if step.result else None,
        velocity=counted,
    )


# --- the review ---


async def review(connection: AsyncConnection, step: ReviewStep) -> Payment:
    """A person's decision, under the row's lock, with a name in the audit log; the workflow acts on it. Returns the
    payment as it was found. Raises Conflict `payment_not_in_review`, `review_decided`."""
    locked = await payment.lock(connection, step.payment_id)
    if locked.status is not Status.IN_REVIEW:
        raise Conflict(f"The payment is {locked.status}, not IN_REVIEW.", code="payment_not_in_review")
    if not await _write_review(connection, step):
        raise Conflict("The review was decided already.", code="review_decided")
    detail = {"decision": step.review.decision.value, "note": step.review.note}
    await audit_log.record(connection, locked.tenant_id, step.review.by, "payment.review", locked.id, detail)
    return locked


async def review_by_default(connection: AsyncConnection, step: ReviewStep) -> ReviewDecision:
    """Nobody decided in time: the default holds, unless somebody just did. Returns what holds."""
    await payment.lock(connection, step.payment_id)
    await _write_review(connection, step)
    assert step.stage is not None, "a deadline is that of one review"
    holds = await reviewed(connection, step.payment_id, step.stage)
    assert holds is not None, "it was decided above, or before"
    return holds


async def _tell(
    connection: AsyncConnection, tenant_id: str, payment_id: str, verb: str, row: Judgement, at: datetime
) -> None:
    """The event of a review, under the payment's lock."""
    data = ReviewData(payment_id=payment_id, stage=row.stage, reasons=row.reasons, decision=row.review)
    event = Event(
        id=new_id("evt"),
        type=f"review.{verb}",
        tenant_id=tenant_id,
        object_id=payment_id,
        at=at,
        data=data.model_dump(mode="json"),
    )
    await outbox.add(connection, [event])


async def _write_review(connection: AsyncConnection, step: ReviewStep) -> bool:
    """False: there is nothing left to decide."""
    result = await connection.execute(
        update(risk_decision)
        .where(
            risk_decision.c.payment_id == step.payment_id,
            risk_decision.c.verdict == Verdict.REVIEW.value,
            risk_decision.c.review.is_(None),
            *(() if step.stage is None else (risk_decision.c.stage == step.stage.value,)),
        )
        .values(
            review=step.review.decision.value,
            reviewed_by=step.review.by,
            review_note=step.review.note,
            reviewed_at=step.at,
        )
        .returning(risk_decision)
    )
    decided = result.mappings().all()
    for row in decided:
        await _tell(connection, row["tenant_id"], step.payment_id, "decided", Judgement(**row), step.at)
    await task.close_tasks(
        connection, step.payment_id, by=step.review.by, resolution=step.review.decision.value, kind="review"
    )
    return bool(decided)


async def reviewed(connection: AsyncConnection, payment_id: str, stage: Stage) -> ReviewDecision | None:
    """The decision about the review of a stage; None while nobody has."""
    row = await _stored(connection, payment_id, stage)
    return row.review if row else None


async def refusal(connection: AsyncConnection, locked: Payment) -> Failure | None:
    """Why the payment must not be credited: it was blocked, or a person has rejected it."""
    for row in await decisions(connection, locked.id):
        if row.verdict is Verdict.BLOCK:
            return BLOCKED
        if row.review is ReviewDecision.REJECT:
            return REJECTED
    return None


async def resume_approved(connection: AsyncConnection, step: ResumeStep, send_for_s: float) -> Resumed:
    """An approved payment goes on to its charge. Nothing was sent under its key while it was IN_REVIEW, so the key's
    time begins now: once, since a second run may have sent something. A cancel, or a seller that was frozen meanwhile,
    stops it before the PSP hears of it; afterwards the settlement obeys them."""
    locked = await payment.lock(connection, step.payment_id)
    decision = await _stored(connection, locked.id, Stage.BEFORE)
    assert decision is not None, "a review was decided before it is acted on"
    if decision.released_at is not None:
        return Resumed(resumed=True, status=locked.status)
    if not locked.open or locked.cancel_requested_at is not None:
        return Resumed(resumed=False, status=locked.status)
    refusal = await inactive_seller(connection, locked, [order.id for order in locked.orders])
    if refusal is not None:
        return Resumed(resumed=False, status=locked.status, failure=refusal)
    of_payment = (risk_decision.c.payment_id == locked.id, risk_decision.c.stage == Stage.BEFORE.value)
    await connection.execute(update(risk_decision).where(*of_payment).values(released_at=step.at))
    await connection.execute(
        update(charge)
        .where(charge.c.id == locked.charge.id)
        .values(send_until=func.now() + timedelta(seconds=send_for_s))
    )
    status = await payment.move(
        connection,
        locked,
        locked.orders,
        Status.EXECUTING,
        reason="review approved",
        at=step.at,
        fields={"deadline_at": None, "next_check_at": None},
    )
    return Resumed(resumed=True, status=status)


class OpenReview(Frozen):
    """A payment that waits for a person's decision; `amount` in minor units."""

    payment_id: str
    tenant_id: str
    amount: int
    currency: str
    stage: Stage
    reasons: tuple[str, ...]
    deadline_at: datetime | None


async def waiting(connection: AsyncConnection, tenant_id: str | None, limit: int) -> list[OpenReview]:
    """Payments that wait for a person's decision, the oldest first."""
    query = (
        select(risk_decision, payment_table.c.amount, payment_table.c.currency, payment_table.c.deadline_at)
        .join(payment_table, payment_table.c.id == risk_decision.c.payment_id)
        .where(
            payment_table.c.status == Status.IN_REVIEW.value,
            risk_decision.c.verdict == Verdict.REVIEW.value,
            risk_decision.c.review.is_(None),
        )
        .order_by(risk_decision.c.at, risk_decision.c.payment_id)
        .limit(limit)
    )
    if tenant_id is not None:
        query = query.where(risk_decision.c.tenant_id == tenant_id)
    return [OpenReview(**row) for row in (await connection.execute(query)).mappings()]
