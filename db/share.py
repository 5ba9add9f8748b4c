"""A seller's share of refunds and disputes, which are the payment's: of its own order, or what was set aside for it."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, case, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.dispute import dispute
from db.schema.payment import payment_order
from db.schema.refund import refund, reserve


@dataclass(frozen=True)
class Share:
    """In minor units; `psp_fee`: what of the PSP's dispute fee the seller bears."""

    amount: int
    psp_fee: int = 0


def of_refund(seller_account: str) -> ColumnElement[int | None]:
    """The amount of a refund that is this seller's: of a refund of one order all of it, of a charge as a whole what was
    set aside of the seller's funds. Null: it is none of the seller's."""
    own = exists().where(payment_order.c.id == refund.c.order_id, payment_order.c.seller_account == seller_account)
    return case(
        (refund.c.order_id.is_not(None), case((own, refund.c.amount))),
        else_=_set_aside(refund, seller_account, reserve.c.amount),
    )


def of_dispute(seller_account: str) -> ColumnElement[int | None]:
    """Likewise: disputes are always of a charge as a whole."""
    return _set_aside(dispute, seller_account, reserve.c.amount)


def _set_aside(source: Table, seller_account: str, column: ColumnElement[int]) -> ColumnElement[int | None]:
    """The sum over the seller's orders, of each the latest: funds that were released may be set aside again."""
    later = reserve.alias("later")
    newer = exists().where(
        later.c.payment_id == reserve.c.payment_id,
        later.c.source_id == reserve.c.source_id,
        later.c.order_id == reserve.c.order_id,
        later.c.seq > reserve.c.seq,
    )
    return (
        select(func.sum(column))
        .where(
            reserve.c.payment_id == source.c.payment_id,
            reserve.c.source_id == source.c.id,
            reserve.c.seller_account == seller_account,
            ~newer,
        )
        .scalar_subquery()
    )


async def refunds(connection: AsyncConnection, seller_account: str, ids: Collection[str]) -> dict[str, Share]:
    """Refund → the seller's share of it, where there is one."""
    amount = of_refund(seller_account)
    rows = await connection.execute(
        select(refund.c.id, amount.label("amount")).where(refund.c.id.in_(ids), amount.is_not(None))
    )
    return {row.id: Share(int(row.amount)) for row in rows}


async def disputes(connection: AsyncConnection, seller_account: str, ids: Collection[str]) -> dict[str, Share]:
    """Dispute → the seller's share of it, where there is one."""
    amount, fee = of_dispute(seller_account), _set_aside(dispute, seller_account, reserve.c.psp_fee)
    rows = await connection.execute(
        select(dispute.c.id, amount.label("amount"), fee.label("fee")).where(dispute.c.id.in_(ids), amount.is_not(None))
    )
    return {row.id: Share(int(row.amount), int(row.fee)) for row in rows}
