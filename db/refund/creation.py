"""A refund becomes a row: asked for by a shop or a person, or made at the PSP without us."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger import reserve
from db.payment import payment
from db.payment.record import Order, Payment
from db.refund.event import announce
from db.refund.record import Refund
from db.schema.payment import charge, payment_order
from db.schema.refund import refund
from domain.errors import Conflict, Unprocessable
from domain.ids import new_id
from domain.money import to_major
from domain.status import RefundStatus, Status


@dataclass(frozen=True)
class NewRefund:
    """A refund that a shop or a person asks for: `amount` in minor units, None for all that is left of the order and
    that the PSP can give back, which is a multiple of `unit`."""

    id: str
    payment_id: str
    order_id: str | None
    amount: int | None
    reason: str | None
    actor: str
    send_for_s: float
    unit: int


async def request(connection: AsyncConnection, new: NewRefund, at: datetime) -> Refund:
    """Store a refund and set its funds aside: the seller's first, so that none is promised that nobody can pay.

    Raises Unprocessable `payment_order_required`, `refund_too_large`, `wallet_insufficient`; Conflict
    `payment_not_settled`, `nothing_to_refund`.
    """
    locked = await payment.lock(connection, new.payment_id)
    order, amount = checked(locked, new)
    terms = await reserve.refund_terms(connection, order, amount)
    inserted = await connection.execute(
        insert(refund)
        .values(
            id=new.id,
            tenant_id=locked.tenant_id,
            payment_id=locked.id,
            order_id=order.id,
            charge_id=locked.charge.id,
            origin="request",
            source_id=new.id,
            amount=amount,
            currency=order.currency,
            status=RefundStatus.REQUESTED.value,
            send_until=func.now() + timedelta(seconds=new.send_for_s),
            reason=new.reason,
            actor=new.actor,
            refundable_amount=order.refundable,
        )
        .returning(refund)
    )
    made = Refund(**inserted.mappings().one())
    await count(connection, locked, order, amount)
    await reserve.for_refund(connection, order, new.id, amount, terms.fee, at, on_credit=terms.may_owe)
    await reserve.update_refund_status(connection, [order.id])
    await announce(connection, made, at)
    return made


def said(made: Refund) -> dict[str, Any]:
    """The detail of the row of the audit log about a refund that is asked for."""
    return {"payment": made.payment_id, "amount": to_major(made.amount, made.currency), "currency": made.currency}


def checked(row: Payment, new: NewRefund) -> tuple[Order, int]:
    """The order of which a refund is asked for, and how much, by the rows as they were read. Raises as `request`."""
    order = _order_of(row, new.order_id)
    return order, _amount_of(order, new)


def _order_of(locked: Payment, order_id: str | None) -> Order:
    if order_id is None and len(locked.orders) > 1:
        detail = "The payment has several orders: name one as payment_order_id."
        raise Unprocessable(detail, code="payment_order_required")
    order = locked.order(order_id) if order_id is not None else locked.orders[0]
    if order.open:
        raise Conflict("The order has not settled; cancel the payment instead.", code="payment_not_settled")
    if order.status is not Status.SUCCESS:
        raise Conflict(f"The order is {order.status}: there is nothing to refund.", code="payment_not_settled")
    return order


def _amount_of(order: Order, new: NewRefund) -> int:
    left, wanted = order.refundable, new.amount
    possible = left - left % new.unit
    if wanted is None and possible == 0:
        detail = "Nothing is left to refund."
        if left:
            text, smallest = to_major(left, order.currency), to_major(new.unit, order.currency)
            detail = f"{text} {order.currency} are left, and the PSP gives back multiples of {smallest} only."
        raise Conflict(detail, code="nothing_to_refund")
    if wanted is not None and wanted > left:
        detail = f"At most {to_major(left, order.currency)} {order.currency} can be refunded."
        raise Unprocessable(detail, code="refund_too_large", refundable=to_major(left, order.currency))
    return possible if wanted is None else wanted


async def made_at_psp(connection: AsyncConnection, locked: Payment, reference: str, amount: int, currency: str) -> str:
    """A refund that somebody made in the PSP's dashboard becomes our record, once. Returns its id.

    It is booked when the PSP itself was asked about it; nothing is sent for it.
    """
    source_id = f"{locked.psp}:{reference}"
    inserted = await connection.execute(
        upsert(refund)
        .values(
            id=new_id("re"),
            tenant_id=locked.tenant_id,
            payment_id=locked.id,
            order_id=locked.orders[0].id if len(locked.orders) == 1 else None,
            charge_id=locked.charge.id,
            origin="psp",
            source_id=source_id,
            amount=amount,
            currency=currency,
            status=RefundStatus.REQUESTED.value,
            send_until=func.now(),
            reference=reference,
            actor=locked.psp,
        )
        .on_conflict_do_nothing(index_elements=["source_id"])
        .returning(refund)
    )
    row = inserted.mappings().one_or_none()
    if row is not None:
        made = Refund(**row)
        await announce(connection, made, made.created_at)
        return made.id
    existing: str | None = await connection.scalar(select(refund.c.id).where(refund.c.source_id == source_id))
    assert existing is not None, "the conflicting refund is there"
    return existing


async def count(connection: AsyncConnection, locked: Payment, order: Order, amount: int) -> None:
    """Note a live refund of ours (or take it back); the CHECKs of both rows hold their sums below what came in."""
    await connection.execute(
        update(charge).where(charge.c.id == locked.charge.id).values(refund_amount=charge.c.refund_amount + amount)
    )
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id == order.id)
        .values(refund_amount=payment_order.c.refund_amount + amount)
    )


async def count_psp(connection: AsyncConnection, order_id: str, amount: int) -> None:
    await connection.execute(
        update(payment_order)
        .where(payment_order.c.id == order_id)
        .values(psp_refund_amount=payment_order.c.psp_refund_amount + amount)
    )
