"""Funds of a seller that are set aside for a refund or a dispute: taken when the buyer has the money, else returned.

One row per order and refund or dispute. It is covered from what the order left in the wallet's pending, then from
available, then on credit (the receivable). All of it runs under the payment's lock.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger import posting as ledger
from db.ledger import wallet
from db.ledger.reserve_record import Reserve
from db.payment.record import Order, Payment
from db.schema.merchant import merchant
from db.schema.payment import payment_order
from db.schema.refund import refund as refund_table
from db.schema.refund import reserve
from domain import ledger as books
from domain.errors import Unprocessable
from domain.ids import new_id
from domain.ledger import Bucket, Kind, Posting, Transaction
from domain.money import allocate, to_major
from domain.status import order_refund_status


async def of_source(connection: AsyncConnection, source_id: str) -> list[Reserve]:
    """The reserves of a refund or dispute, by order, also those that were returned."""
    rows = await connection.execute(select(reserve).where(reserve.c.source_id == source_id).order_by(reserve.c.seq))
    return [Reserve(**row) for row in rows.mappings()]


def shares(payment: Payment, amount: int, currency: str, unit: int) -> list[tuple[Order, int]]:
    """The part that each order bears of something that happened to the charge as a whole (a dispute, a refund at the
    PSP): by what the buyer still paid for it, or, where nothing is left, by what was captured.

    In multiples of `unit`, the smallest amount that the PSP moves, so that what is left of each order can be refunded.
    """
    orders = [order for order in payment.captured if order.currency == currency]
    if not orders:
        return []
    left = [order.refundable for order in orders]
    weights = left if sum(left) else [order.captured_amount for order in orders]
    parts = allocate(amount, weights, unit)
    if amount <= sum(left) and any(part > most for part, most in zip(parts, left, strict=True)):
        parts = allocate(amount, weights)  # where an order has no whole multiple left, no more than it has
    return [(order, part) for order, part in zip(orders, parts, strict=True) if part]


# --- refunds ---


class RefundTerms(NamedTuple):
    """`fee`: of the platform's fee, what goes back with a refund; `may_owe`: whether the seller may go into debt for
    it, a setting of the merchant's, and never once it is closed."""

    fee: int
    may_owe: bool


async def refund_terms(connection: AsyncConnection, order: Order, amount: int) -> RefundTerms:
    """The seller's terms for a refund of `amount`."""
    live = (
        select(
            func.coalesce(func.sum(reserve.c.amount), 0).label("amount"),
            func.coalesce(func.sum(reserve.c.platform_fee), 0).label("fee"),
        )
        .join(refund_table, refund_table.c.id == reserve.c.source_id)
        .where(reserve.c.payment_id == order.payment_id, reserve.c.order_id == order.id, reserve.c.status != "RELEASED")
        .subquery()
    )
    may_owe = merchant.c.allow_negative_balance.is_(True) & (merchant.c.status != "CLOSED")
    query = (
        select(merchant.c.platform_fee_on_refund.label("terms"), may_owe.label("may_owe"), live)
        .select_from(merchant.join(live, true()))
        .where(merchant.c.tenant_id == order.tenant_id, merchant.c.seller_account == order.seller_account)
    )
    row = (await connection.execute(query)).one()
    fee = fee_due(order, row.terms, amount, refunded=int(row.amount), returned=int(row.fee))
    return RefundTerms(fee, row.may_owe)


def fee_due(order: Order, terms: str, amount: int, *, refunded: int, returned: int) -> int:
    """The platform's fee that goes back with a refund of `amount`, where the merchant's terms say so; the order's live
    refunds are `refunded` together, and `returned` of the fee goes back with them.

    In proportion to all of them together, less what they return already: so the parts of several partial refunds end at
    exactly the fee, whatever each was rounded to.
    """
    if terms != "returned":
        return 0
    due = order.captured_fee * min(refunded + amount, order.captured_amount) // order.captured_amount
    return max(0, min(due - returned, amount))


async def for_refund(
    connection: AsyncConnection,
    order: Order,
    refund_id: str,
    amount: int,
    platform_fee: int,
    at: datetime,
    *,
    on_credit: bool,
) -> None:
    """Set the seller's part of a refund aside. Raises Unprocessable `wallet_insufficient`, having written nothing that
    the caller's transaction would keep."""
    parts = await _cover(connection, order, amount - platform_fee)
    missing = amount - platform_fee - sum(parts.values())
    if missing and not on_credit:
        text = to_major(missing, order.currency)
        detail = f"The wallet of {order.seller_account} lacks {text} {order.currency} for this refund."
        raise Unprocessable(detail, code="wallet_insufficient", missing=text)
    await _store(
        connection,
        order,
        refund_id,
        parts | {Bucket.RECEIVABLE: missing},
        Kind.REFUND_RESERVE,
        at,
        amount=amount,
        platform_fee=platform_fee,
    )


async def take_for_refund(connection: AsyncConnection, psp: str, held: Sequence[Reserve], at: datetime) -> None:
    """Post the refund: the buyer has it, and what was set aside leaves for good."""
    for part in held:
        postings = books.refund(psp, part.seller_account, part.covered, part.platform_fee, part.currency)
        await _post(connection, part, Kind.REFUND, postings, at)
        await _set_status(connection, part, "TAKEN")


async def undo_refund(connection: AsyncConnection, psp: str, taken: Sequence[Reserve], at: datetime) -> None:
    """Take back the posting of a refund that came back: the money is with the PSP again, and set aside as before."""
    for part in taken:
        postings = books.refund(psp, part.seller_account, part.covered, part.platform_fee, part.currency)
        await _post(connection, part, Kind.REFUND_REVERSAL, books.reversed_lines(postings), at, corrects=Kind.REFUND)


async def update_refund_status(connection: AsyncConnection, order_ids: Sequence[str]) -> None:
    """Bring the orders' refund_status to what their reserves say."""
    for order_id in order_ids:
        row = (
            await connection.execute(
                select(
                    payment_order.c.captured_amount,
                    func.coalesce(func.sum(reserve.c.amount).filter(reserve.c.status == "TAKEN"), 0).label("taken"),
                    func.coalesce(func.sum(reserve.c.amount).filter(reserve.c.status == "HELD"), 0).label("held"),
                )
                .join(refund_table, refund_table.c.payment_id == payment_order.c.payment_id)
                .join(
                    reserve,
                    (reserve.c.source_id == refund_table.c.id) & (reserve.c.order_id == payment_order.c.id),
                )
                .where(payment_order.c.id == order_id)
                .group_by(payment_order.c.id)
            )
        ).one_or_none()
        status = order_refund_status(row.captured_amount, int(row.taken), int(row.held)) if row else None
        await _update_order(connection, order_id, refund_status=status.value if status else None)


# --- disputes ---


async def for_dispute(
    connection: AsyncConnection, order: Order, dispute_id: str, amount: int, psp_fee: int, at: datetime
) -> None:
    """Set aside what there is of the seller's: the buyer's bank has taken its money already."""
    parts = await _cover(connection, order, amount + psp_fee)
    await _store(connection, order, dispute_id, parts, Kind.DISPUTE_RESERVE, at, amount=amount, psp_fee=psp_fee)
    await _update_order(connection, order.id, dispute_amount=payment_order.c.dispute_amount + amount)


async def settle_dispute(connection: AsyncConnection, part: Reserve, *, lost: bool, fee: int, at: datetime) -> None:
    """Post the decision of a dispute. The seller bears `fee`, and the disputed amount if it was lost: from what was set
    aside, then from what is available now, then on credit; what is left of what was set aside is returned."""
    due = fee + (part.amount if lost else 0)
    used = min(part.covered, due)
    if used < part.covered:
        await _return_part(connection, part, part.covered - used, Kind.DISPUTE_RELEASE, None, at)
    if due:
        parts = {Bucket.RESERVED: used} | await _cover_more(connection, part, due - used)
        postings = books.dispute_loss(part.seller_account, parts, fee, part.currency)
        await _post(connection, part, Kind.DISPUTE_LOSS, postings, at)
    await _set_status(connection, part, "TAKEN" if lost else "RELEASED")
    if not lost:
        await _update_order(connection, part.order_id, dispute_amount=payment_order.c.dispute_amount - part.amount)


async def undo_loss(connection: AsyncConnection, part: Reserve, at: datetime) -> None:
    """Undo the loss of a dispute that was decided anew, and won: the seller's debt is forgiven first, what is left is
    available. What the PSP charged for the dispute stays paid."""
    parts = await _where_to(connection, part, part.amount, debt=part.amount, to_pending=0)
    back = books.reversed_lines(books.dispute_loss(part.seller_account, parts, 0, part.currency))
    await _post(connection, part, Kind.DISPUTE_LOSS_REVERSAL, back, at, corrects=Kind.DISPUTE_LOSS)
    await _set_status(connection, part, "RELEASED")
    await _update_order(connection, part.order_id, dispute_amount=payment_order.c.dispute_amount - part.amount)


# --- both ---


async def return_reserve(
    connection: AsyncConnection, held: Sequence[Reserve], kind: Kind, corrects: Kind, at: datetime
) -> None:
    """Return everything that was set aside to where it came from."""
    for part in held:
        await _return_part(connection, part, part.covered, kind, corrects, at)
        await _set_status(connection, part, "RELEASED")


async def _cover(connection: AsyncConnection, order: Order, needed: int) -> dict[Bucket, int]:
    balance = await wallet.lock(connection, order.tenant_id, order.seller_account, order.currency)
    return cover(order, balance, needed)


def cover(order: Order, balance: Mapping[Bucket, int], needed: int) -> dict[Bucket, int]:
    """The part of `needed` that the seller has: in this order's part of pending, then in available."""
    pending = max(0, min(order.pending_amount, balance[Bucket.PENDING], needed))
    available = max(0, min(balance[Bucket.AVAILABLE], needed - pending))
    return {Bucket.PENDING: pending, Bucket.AVAILABLE: available}


async def _cover_more(connection: AsyncConnection, part: Reserve, needed: int) -> dict[Bucket, int]:
    """Cover what was not set aside: by now the order may have money in pending again (a refund came back); then from
    available, then on credit."""
    pending_amount = await connection.scalar(
        select(payment_order.c.pending_amount).where(payment_order.c.id == part.order_id)
    )
    balance = await wallet.lock(connection, part.tenant_id, part.seller_account, part.currency)
    pending = max(0, min(pending_amount or 0, balance[Bucket.PENDING], needed))
    available = max(0, min(balance[Bucket.AVAILABLE], needed - pending))
    if pending:
        await _update_order(connection, part.order_id, pending_amount=payment_order.c.pending_amount - pending)
    return {Bucket.PENDING: pending, Bucket.AVAILABLE: available, Bucket.RECEIVABLE: needed - pending - available}


async def _store(
    connection: AsyncConnection,
    order: Order,
    source_id: str,
    parts: dict[Bucket, int],
    kind: Kind,
    at: datetime,
    **amounts: int,
) -> None:
    inserted = await connection.execute(
        insert(reserve)
        .values(
            id=new_id("rsv"),
            tenant_id=order.tenant_id,
            source_id=source_id,
            payment_id=order.payment_id,
            order_id=order.id,
            seller_account=order.seller_account,
            currency=order.currency,
            status="HELD",
            **amounts,
            **{bucket.value: amount for bucket, amount in parts.items()},
        )
        .returning(reserve)
    )
    part = Reserve(**inserted.mappings().one())
    await _post(connection, part, kind, books.reserve(order.seller_account, parts, order.currency), at)
    if parts[Bucket.PENDING]:
        left = payment_order.c.pending_amount - parts[Bucket.PENDING]
        await _update_order(connection, order.id, pending_amount=left)


async def _return_part(
    connection: AsyncConnection, part: Reserve, amount: int, kind: Kind, corrects: Kind | None, at: datetime
) -> None:
    """Return `amount` of what was set aside: a debt that it made is forgiven first, then pending is refilled, unless
    the order's money has become available meanwhile."""
    released_at = await connection.scalar(
        select(payment_order.c.released_at).where(payment_order.c.id == part.order_id)
    )
    to_pending = part.pending if released_at is None else 0
    to = await _where_to(connection, part, amount, debt=part.receivable, to_pending=to_pending)
    lines = books.reserve(part.seller_account, to, part.currency)
    await _post(connection, part, kind, books.reversed_lines(lines), at, corrects=corrects)
    if to[Bucket.PENDING]:
        more = payment_order.c.pending_amount + to[Bucket.PENDING]
        await _update_order(connection, part.order_id, pending_amount=more)


async def _where_to(
    connection: AsyncConnection, part: Reserve, amount: int, *, debt: int, to_pending: int
) -> dict[Bucket, int]:
    """Nobody is owed while owing: up to `debt` goes to what the seller still owes us, then `to_pending`, the rest is
    available."""
    balance = await wallet.lock(connection, part.tenant_id, part.seller_account, part.currency)
    forgiven = min(amount, debt, balance[Bucket.RECEIVABLE])
    pending = min(amount - forgiven, to_pending)
    return {Bucket.RECEIVABLE: forgiven, Bucket.PENDING: pending, Bucket.AVAILABLE: amount - forgiven - pending}


async def _post(
    connection: AsyncConnection,
    part: Reserve,
    kind: Kind,
    postings: tuple[Posting, ...],
    at: datetime,
    *,
    corrects: Kind | None = None,
) -> None:
    transaction = Transaction(
        kind=kind,
        source_id=part.id,
        payment_id=part.payment_id,
        payment_order_id=part.order_id,
        corrects=await ledger.transaction_id(connection, corrects, part.id) if corrects else None,
        postings=postings,
    )
    booked = await ledger.post(connection, part.tenant_id, [transaction], at)
    await wallet.apply(connection, part.tenant_id, booked)


async def _set_status(connection: AsyncConnection, part: Reserve, status: str) -> None:
    await connection.execute(update(reserve).where(reserve.c.id == part.id).values(status=status))


async def _update_order(connection: AsyncConnection, order_id: str, **values: Any) -> None:
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id == order_id)
        .values(**values, version=payment_order.c.version + 1, updated_at=func.now())
    )
