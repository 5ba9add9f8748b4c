"""Risk rules and decisions: each decision is stored once with its reasons, and so is what a person makes of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, task
from db.payment import payment
from db.payment.capture import inactive_seller
from db.payment.record import Payment
from db.schema.merchant import merchant
from db.schema.payment import charge, payment_order, risk_decision, risk_rule_set
from db.schema.payment import payment as payment_table
from domain.errors import Conflict
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
    Velocity,
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
        await _queue(connection, locked, rule_set, card)
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
    return _decision(Judgement(**inserted.mappings().one()), rule_set)


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
    velocity = {}
    for rule in rule_set.of(step.stage):
        if isinstance(rule, VelocityRule):
            seen = await _velocity(connection, locked, rule, card)
            if seen is not None:
                velocity[rule.name] = seen
    return RiskFacts(
        amount=locked.amount,
        currency=locked.currency,
        buyer_country=locked.buyer_country,
        merchant_countries=tuple(sorted(set(countries.scalars()))),
        card_expected=expected,
        card=card,
        checks=step.result.checks if step.result else None,
        velocity=velocity,
    )


async def _velocity(
    connection: AsyncConnection, locked: Payment, rule: VelocityRule, card: CardFacts | None
) -> Velocity | None:
    """The busiest of a payment's merchants counts."""
    if rule.of != "merchant":
        same = _same(locked, rule, card)
        return None if same is None else await _count(connection, locked, rule, same)
    seen = [
        await _count(connection, locked, rule, payment_order.c.seller_account == order.seller_account)
        for order in locked.orders
    ]
    return max(seen, key=lambda v: (v.count, v.amount))


def _same(locked: Payment, rule: VelocityRule, card: CardFacts | None) -> Any:
    if rule.of == "buyer":
        return payment_table.c.buyer_id == locked.buyer_id
    return payment_table.c.card_fingerprint == card.fingerprint if card and card.fingerprint else None


async def _queue(connection: AsyncConnection, locked: Payment, rule_set: RuleSet, card: CardFacts | None) -> None:
    """Payments that a velocity rule counts together are judged one after the other, or of many at once none would see
    the others. In sorted order, so that two of us cannot wait for each other."""
    rules = [rule for rule in rule_set.of(Stage.BEFORE) if isinstance(rule, VelocityRule)]
    names = {
        "buyer": [locked.buyer_id],
        "card": [card.fingerprint] if card and card.fingerprint else [],
        "merchant": [order.seller_account for order in locked.orders],
    }
    keys = {f"velocity:{locked.tenant_id}:{rule.of}:{name}" for rule in rules for name in names[rule.of]}
    for key in sorted(keys):
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))


_PAGES = (1_000, 10_000, 100_000)


async def _count(connection: AsyncConnection, locked: Payment, rule: VelocityRule, same: Any) -> Velocity:
    """This payment, and those in the rule's time that were judged before it or, made before there were rules, were not
    judged at all. Of a buyer or a card with very many, no more than tell that the rule's limit is passed."""
    if rule.of == "merchant":
        return await _seen(connection, _of_merchant(locked, rule, same))
    for newest in _PAGES:
        seen = await _seen(connection, _of_payments(locked, rule, same, newest))
        if seen.count < newest or rule.is_above(seen):
            return seen
    return await _seen(connection, _of_payments(locked, rule, same, None))


async def _seen(connection: AsyncConnection, query: Select[Any]) -> Velocity:
    count, total = (await connection.execute(query)).one()
    return Velocity(count=int(count), amount=int(total))


def _of_payments(locked: Payment, rule: VelocityRule, same: Any, newest: int | None) -> Select[Any]:
    """The number and sum of the `newest` of them (None: of all), each looked up by itself: a few pages of a table are
    read, however many decisions there are."""
    judged = (
        select(risk_decision.c.payment_id)
        .where(risk_decision.c.payment_id == payment_table.c.id, risk_decision.c.stage == Stage.BEFORE.value)
        .limit(1)
        .scalar_subquery()
        .is_not(None)
    )
    some = (
        select(payment_table.c.amount, payment_table.c.currency)
        .where(*_in_time(locked, rule, judged), same)
        .order_by(payment_table.c.created_at.desc())
        .limit(newest)
        .subquery()
    )
    in_currency = some.c.currency == (rule.currency or locked.currency)
    return select(func.count(), func.coalesce(func.sum(some.c.amount).filter(in_currency), 0)).select_from(some)


def _of_merchant(locked: Payment, rule: VelocityRule, same: Any) -> Select[Any]:
    in_currency = payment_table.c.currency == (rule.currency or locked.currency)
    total = func.coalesce(func.sum(payment_order.c.amount).filter(in_currency), 0)
    judged = exists().where(
        risk_decision.c.payment_id == payment_table.c.id, risk_decision.c.stage == Stage.BEFORE.value
    )
    return (
        select(func.count(payment_table.c.id.distinct()), total)
        .where(*_in_time(locked, rule, judged), same)
        .select_from(payment_table.join(payment_order, payment_order.c.payment_id == payment_table.c.id))
    )


def _in_time(locked: Payment, rule: VelocityRule, judged: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    since = locked.created_at - timedelta(seconds=rule.within_s)
    counts = or_(payment_table.c.id == locked.id, payment_table.c.risk_version.is_(None), judged)
    return payment_table.c.tenant_id == locked.tenant_id, payment_table.c.created_at > since, counts


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
    )
    await task.close_tasks(
        connection, step.payment_id, by=step.review.by, resolution=step.review.decision.value, kind="review"
    )
    return result.rowcount > 0


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
