"""Releasing what is pending in a wallet: it becomes available, each order once, when its time has come, without what
was refunded."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger import posting as ledger
from db.ledger import wallet
from db.schema.payment import payment, payment_order
from domain import ledger as books
from domain.ledger import Kind, Transaction
from domain.payout import ReleasedFunds, ReleaseFundsStep
from domain.status import Status

_DUE = (payment_order.c.pending_amount > 0, payment_order.c.status == Status.SUCCESS.value)


async def release(
    connection: AsyncConnection, step: ReleaseFundsStep, *, of: tuple[str, str] | None = None
) -> ReleasedFunds:
    """Release one page of the orders that are due, the longest due first; `of`: of this (tenant, seller) alone.

    What another transaction is working on just now is left for the next time: nobody waits for a release.
    """
    due = select(payment_order.c.id, payment_order.c.payment_id).where(
        *_DUE, payment_order.c.available_at <= step.due_at
    )
    if of is not None:
        due = due.where(payment_order.c.tenant_id == of[0], payment_order.c.seller_account == of[1])
    found = (
        await connection.execute(due.order_by(payment_order.c.available_at, payment_order.c.id).limit(step.limit))
    ).all()
    if not found:
        return ReleasedFunds()
    locked = await connection.execute(
        select(payment.c.id)
        .where(payment.c.id.in_({row.payment_id for row in found}))
        .order_by(payment.c.id)
        .with_for_update(skip_locked=True)
    )
    free = set(locked.scalars())
    orders = await _lock_wallets(connection, [row.id for row in found if row.payment_id in free])
    await _post(connection, orders, step)
    more = len(found) == step.limit and bool(orders)
    return ReleasedFunds(orders=len(orders), skipped=len(found) - len(orders), more=more)


async def _lock_wallets(connection: AsyncConnection, order_ids: list[str]) -> list[Any]:
    """The orders as they are under their payments' locks, with the locks of their sellers' wallets.

    Whoever posts to a wallet's available balance has its lock before the posting gets its number: so the numbers of
    an account's postings are in the order of their commits, and a payout can remember up to where it has paid.
    """
    rows = await connection.execute(
        select(payment_order)
        .where(payment_order.c.id.in_(order_ids), *_DUE)
        .order_by(payment_order.c.available_at, payment_order.c.id)  # as they are paid out, and shown
    )
    orders = rows.mappings().all()
    for tenant_id, seller, currency in sorted({(o["tenant_id"], o["seller_account"], o["currency"]) for o in orders}):
        await wallet.lock(connection, tenant_id, seller, currency)
    return list(orders)


async def _post(connection: AsyncConnection, orders: list[Any], step: ReleaseFundsStep) -> None:
    for tenant_id in sorted({order["tenant_id"] for order in orders}):
        transactions = [
            Transaction(
                kind=Kind.RELEASE,
                source_id=order["id"],
                payment_id=order["payment_id"],
                payment_order_id=order["id"],
                postings=books.release(order["seller_account"], order["pending_amount"], order["currency"]),
            )
            for order in orders
            if order["tenant_id"] == tenant_id
        ]
        booked = await ledger.post(connection, tenant_id, transactions, step.at)
        assert len(booked) == len(transactions), "an order is released once"
        await wallet.apply(connection, tenant_id, booked)
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id.in_([order["id"] for order in orders]))
        .values(pending_amount=0, released_at=step.at, version=payment_order.c.version + 1, updated_at=func.now())
    )


async def waiting(connection: AsyncConnection, due_at: datetime) -> int:
    """The number of orders that are due at `due_at` and not released."""
    due = select(func.count()).select_from(payment_order).where(*_DUE, payment_order.c.available_at <= due_at)
    return int(await connection.scalar(due) or 0)


@dataclass(frozen=True)
class PendingDay:
    """The part of a wallet's pending that becomes available on a day, in minor units."""

    currency: str
    day: date
    amount: int


async def pending_by_day(
    connection: AsyncConnection, tenant_id: str, seller_account: str, zone: str = "UTC"
) -> list[PendingDay]:
    """A seller's pending by the day in `zone` on which it becomes available, and by currency; the soonest first."""
    day = func.date(func.timezone(zone, payment_order.c.available_at)).label("day")
    rows = await connection.execute(
        select(payment_order.c.currency, day, func.sum(payment_order.c.pending_amount).label("amount"))
        .where(
            *_DUE,
            tuple_(payment_order.c.tenant_id, payment_order.c.seller_account) == tuple_(tenant_id, seller_account),
        )
        .group_by(payment_order.c.currency, text("day"))  # by its name: a zone sent twice is two expressions
        .order_by(text("day"), payment_order.c.currency)
    )
    return [PendingDay(row.currency, row.day, int(row.amount)) for row in rows]
