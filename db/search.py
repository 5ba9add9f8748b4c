"""Lists of payments and refunds by what a shop or an operator remembers of them: newest first, in stable pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Table, and_, exists, func, or_, select, true, tuple_, union
from sqlalchemy.ext.asyncio import AsyncConnection

from db import share
from db.payment.payment import get_many
from db.payment.record import Payment
from db.refund.find import ended
from db.refund.record import Refund
from db.schema.payment import charge, payment, payment_order
from db.schema.refund import refund
from db.schema.tenant import tenant


@dataclass(frozen=True)
class Wanted:
    """The filters of a list; what is None matches everything. `amount` in minor units, `since` included and `until`
    not. `reference`: the PSP's own id (of a refund also that of its charge), or the client's name of the checkout or of
    an order. `payment_id` and `open_only` (somebody still has to see it through) are of refunds.
    `own_seller`: a merchant asks; then everything is about the seller's part alone: its orders, their names, their sum.
    """

    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    seller_account: str | None = None
    buyer_id: str | None = None
    currency: str | None = None
    amount: int | None = None
    reference: str | None = None
    payment_id: str | None = None
    open_only: bool = False
    own_seller: str | None = None


async def payments(
    connection: AsyncConnection, tenant_id: str | None, wanted: Wanted, *, before: str | None, limit: int
) -> list[Payment]:
    """Payments of a tenant (None: of all); `before`: the id that the page before ended with."""
    order = _own(payment_order.c.payment_id == payment.c.id, wanted)
    amount: ColumnElement[int] = payment.c.amount
    if wanted.own_seller is not None:
        amount = select(func.sum(payment_order.c.amount)).where(order).scalar_subquery()
    conditions = _common(payment, wanted, amount)
    if wanted.own_seller is not None:
        conditions.append(exists().where(order))
    if wanted.buyer_id is not None:
        conditions.append(payment.c.buyer_id == wanted.buyer_id)
    if wanted.seller_account is not None:
        conditions.append(exists().where(order, payment_order.c.seller_account == wanted.seller_account))
    if wanted.reference is not None:
        conditions.append(payment.c.id.in_(_named(tenant_id, wanted, wanted.reference)))
    return await get_many(connection, await _ids(connection, payment, tenant_id, conditions, before, limit))


def _named(tenant_id: str | None, wanted: Wanted, reference: str) -> CompoundSelect[Any]:
    """The payments with this name, each kind of name from its own index."""
    checkout, p = payment.alias(), payment_order
    order = _own(p.c.payment_order_id == reference, wanted)
    found = [
        (select(checkout.c.id).where(checkout.c.checkout_id == reference), checkout.c.tenant_id),
        (select(p.c.payment_id).where(order), p.c.tenant_id),
        (select(charge.c.payment_id).where(charge.c.reference == reference), charge.c.tenant_id),
    ]
    return union(*(query if tenant_id is None else query.where(owner == tenant_id) for query, owner in found))


async def refunds(
    connection: AsyncConnection, tenant_id: str | None, wanted: Wanted, *, before: str | None, limit: int
) -> list[Refund]:
    """Refunds of a tenant (None: of all); `before`: the id that the page before ended with. One of a charge as a whole
    is every seller's of the payment."""
    amount: ColumnElement[Any] = refund.c.amount
    if wanted.own_seller is not None:
        amount = share.of_refund(wanted.own_seller)
    conditions = _common(refund, wanted, amount)
    if wanted.own_seller is not None:
        conditions.append(amount.is_not(None))
    of = payment.c.id == refund.c.payment_id
    order = _own(payment_order.c.payment_id == refund.c.payment_id, wanted)
    concerned = or_(refund.c.order_id.is_(None), refund.c.order_id == payment_order.c.id)
    if wanted.open_only:
        conditions.append(~ended())
    if wanted.payment_id is not None:
        conditions.append(refund.c.payment_id == wanted.payment_id)
    if wanted.buyer_id is not None:
        conditions.append(exists().where(of, payment.c.buyer_id == wanted.buyer_id))
    if wanted.seller_account is not None:
        conditions.append(exists().where(order, concerned, payment_order.c.seller_account == wanted.seller_account))
    if (reference := wanted.reference) is not None:
        checkout = exists().where(of, payment.c.checkout_id == reference)
        named = exists().where(order, concerned, payment_order.c.payment_order_id == reference)
        of_charge = exists().where(charge.c.id == refund.c.charge_id, charge.c.reference == reference)
        conditions.append(or_(refund.c.reference == reference, checkout, named, of_charge))
    ids = await _ids(connection, refund, tenant_id, conditions, before, limit)
    rows = await connection.execute(
        select(refund).where(refund.c.id.in_(ids)).order_by(refund.c.created_at.desc(), refund.c.id.desc())
    )
    return [Refund(**row) for row in rows.mappings()]


def _own(order: ColumnElement[bool], wanted: Wanted) -> ColumnElement[bool]:
    """The orders that are looked at."""
    return order if wanted.own_seller is None else and_(order, payment_order.c.seller_account == wanted.own_seller)


def _common(table: Table, wanted: Wanted, amount: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    """The conditions that both have columns for."""
    equal = {"status": wanted.status, "currency": wanted.currency}
    conditions = [table.c[name] == value for name, value in equal.items() if value is not None]
    if wanted.amount is not None:
        conditions.append(amount == wanted.amount)
    if wanted.since is not None:
        conditions.append(table.c.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.c.created_at < wanted.until)
    return conditions


async def _ids(
    connection: AsyncConnection,
    table: Table,
    tenant_id: str | None,
    conditions: list[ColumnElement[bool]],
    before: str | None,
    limit: int,
) -> Sequence[str]:
    """Newest first. Each tenant's newest come from the index; a list of all tenants is the newest of those."""
    position = (table.c.created_at, table.c.id)
    if before is not None:
        ended = table.alias("ended")
        at = select(ended.c.created_at).where(ended.c.id == before)
        if tenant_id is not None:
            at = at.where(ended.c.tenant_id == tenant_id)
        conditions = [*conditions, tuple_(*position) < tuple_(at.scalar_subquery(), before)]
    newest = (
        select(*position)
        .where(table.c.tenant_id == tenant.c.id, *conditions)
        .order_by(*(column.desc() for column in position))
        .limit(limit)
        .correlate(tenant)
        .lateral("newest")
    )
    query = select(newest.c.id).select_from(tenant.join(newest, true()))
    if tenant_id is not None:
        query = query.where(tenant.c.id == tenant_id)
    query = query.order_by(newest.c.created_at.desc(), newest.c.id.desc()).limit(limit)
    return (await connection.scalars(query)).all()
