"""The velocity of a buyer, a card or a merchant: how many payments there were within a rule's time, and of how much."""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.payment.record import Payment
from db.schema.payment import payment as payment_table
from db.schema.payment import payment_order, risk_decision
from domain.psp import CardFacts
from domain.risk import RuleSet, Stage, Velocity, VelocityRule


async def of_rule(
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


async def queue(connection: AsyncConnection, locked: Payment, rule_set: RuleSet, card: CardFacts | None) -> None:
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
