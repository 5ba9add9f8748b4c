"""Payments and their orders: one writer at a time, every change with its history row and its event."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.payment.event import tell, tell_created
from db.payment.record import Charge, Order, Payment, payment_of
from db.schema.messages import webhook_inbox
from db.schema.payment import charge, payment, payment_order, payment_order_transition
from db.schema.person import person
from domain.ids import charge_key, new_id
from domain.model import Failure
from domain.status import TERMINAL, Status, can_become, combined

_TASKS_AFTER = timedelta(minutes=1)
TASKS_KEPT = ("refund_failed", "webhook_dead", "paid_twice", "refund_at_psp")
"""Questions that the end of the payment does not answer."""


@dataclass(frozen=True)
class NewOrder:
    id: str
    payment_order_id: str
    seller_account: str
    amount: int
    platform_fee: int


@dataclass(frozen=True)
class NewPayment:
    """A payment that is checked and not stored yet. `token` is encrypted, and so are `buyer_email` and
    `buyer_phone`, once the key of the buyer is known, of `email` and `phone`; amounts in minor units.

    `may_authorize`: the PSP can reserve the amount with this method and capture it later. `return_url` and
    `statement_descriptor` as they are sent to the PSP, empty: none; `return_origin`: the site of the return URL, where
    the tenant has to have it among its own.
    """

    id: str
    tenant_id: str
    checkout_id: str | None
    buyer_id: str
    currency: str
    psp: str
    method: str
    token: bytes
    on_partial_failure: str
    metadata: dict[str, str]
    confirmed: bool
    send_for_s: float
    actor: str
    email: str | None = None
    buyer_email: bytes | None = None
    phone: str | None = None
    buyer_phone: bytes | None = None
    may_authorize: bool = False
    authorize_only: bool = False
    capture_by_request: bool = False
    capture_on_expiry: bool = False
    buyer_country: str | None = None
    risk_version: int | None = None
    return_url: str = ""
    return_origin: str | None = None
    statement_descriptor: str = ""
    orders: list[NewOrder] = field(default_factory=list)


async def create(connection: AsyncConnection, new: NewPayment) -> None:
    """Store the payment, its orders, charge attempt 1 and the event: everything a crash must not separate.

    `now()` is the transaction's time on the database's clock: the clock that `send_until` is later compared with.
    """
    status = Status.EXECUTING if new.confirmed else Status.NOT_STARTED
    total = sum(order.amount for order in new.orders)
    await connection.execute(
        insert(payment).values(
            id=new.id,
            tenant_id=new.tenant_id,
            checkout_id=new.checkout_id,
            buyer_id=new.buyer_id,
            buyer_email=new.buyer_email,
            buyer_phone=new.buyer_phone,
            amount=total,
            currency=new.currency,
            status=status.value,
            psp=new.psp,
            method=new.method,
            token=new.token,
            on_partial_failure=new.on_partial_failure,
            metadata=new.metadata,
            authorize_only=new.authorize_only,
            capture_by_request=new.capture_by_request,
            capture_on_expiry=new.capture_on_expiry,
            buyer_country=new.buyer_country,
            risk_version=new.risk_version,
            return_url=new.return_url,
            statement_descriptor=new.statement_descriptor,
        )
    )
    await connection.execute(insert(payment_order), [_order_values(new, i, status) for i in range(len(new.orders))])
    await connection.execute(
        insert(charge).values(
            id=new_id("ch"),
            tenant_id=new.tenant_id,
            payment_id=new.id,
            attempt=1,
            psp=new.psp,
            key=charge_key(new.id, 1),
            amount=total,
            currency=new.currency,
            send_until=func.now() + timedelta(seconds=new.send_for_s),
        )
    )
    at = await connection.scalar(
        insert(payment_order_transition)
        .values(
            [
                {
                    "tenant_id": new.tenant_id,
                    "payment_id": new.id,
                    "order_id": order.id,
                    "to_status": status.value,
                    "reason": "created",
                    "actor": new.actor,
                    "at": func.now(),
                }
                for order in new.orders
            ]
        )
        .returning(payment_order_transition.c.at)
    )
    assert at is not None, "a payment has orders"
    await tell_created(connection, new, status, at)


def _order_values(new: NewPayment, position: int, status: Status) -> dict[str, Any]:
    order = new.orders[position]
    return {
        "id": order.id,
        "tenant_id": new.tenant_id,
        "payment_id": new.id,
        "position": position,
        "payment_order_id": order.payment_order_id,
        "seller_account": order.seller_account,
        "amount": order.amount,
        "currency": new.currency,
        "platform_fee": order.platform_fee,
        "status": status.value,
    }


# --- reading ---


async def lock(connection: AsyncConnection, payment_id: str) -> Payment:
    """The payment under its row lock: whoever writes to it or to its orders, charges and refunds comes through here.

    The orders are read in a second statement: a join would show those from before the wait for the lock.
    """
    row = (
        (await connection.execute(select(*_COLUMNS).where(payment.c.id == payment_id).with_for_update()))
        .mappings()
        .one()
    )
    return await _with_children(connection, row)


async def get(connection: AsyncConnection, payment_id: str) -> Payment | None:
    row = (await connection.execute(select(*_COLUMNS).where(payment.c.id == payment_id))).mappings().one_or_none()
    return None if row is None else await _with_children(connection, row)


async def get_many(connection: AsyncConnection, payment_ids: Sequence[str]) -> list[Payment]:
    """Those that there are, in the order of the ids: three questions, however many they are."""
    rows = await connection.execute(select(*_COLUMNS).where(payment.c.id.in_(payment_ids)))
    found = {row["id"]: row for row in rows.mappings()}
    orders: dict[str, list[Order]] = {payment_id: [] for payment_id in found}
    of_payments = select(payment_order).where(payment_order.c.payment_id.in_(payment_ids))
    for order in (await connection.execute(of_payments.order_by(payment_order.c.position))).mappings():
        orders[order["payment_id"]].append(Order(**order))
    latest = (
        select(charge)
        .ext(distinct_on(charge.c.payment_id))
        .where(charge.c.payment_id.in_(payment_ids))
        .order_by(charge.c.payment_id, charge.c.attempt.desc())
    )
    charges = {row["payment_id"]: Charge(**row) for row in (await connection.execute(latest)).mappings()}
    return [payment_of(found[name], orders[name], charges[name]) for name in payment_ids if name in found]


async def _with_children(connection: AsyncConnection, row: Any) -> Payment:
    orders = await connection.execute(
        select(payment_order).where(payment_order.c.payment_id == row["id"]).order_by(payment_order.c.position)
    )
    latest = await connection.execute(
        select(charge).where(charge.c.payment_id == row["id"]).order_by(charge.c.attempt.desc()).limit(1)
    )
    return payment_of(row, [Order(**order) for order in orders.mappings()], Charge(**latest.mappings().one()))


_UNREAD = {"token", "buyer_email", "buyer_phone", "card_fingerprint"}
_COLUMNS = [column for column in payment.c if column.name not in _UNREAD]


class Secrets(NamedTuple):
    """Token and e-mail address, encrypted; `person_key` is the buyer's, as it is stored."""

    token: bytes
    email: bytes | None
    person_key: bytes | None


async def secrets_of(connection: AsyncConnection, payment_id: str) -> Secrets:
    """Read only by the steps that ask the PSP about the buyer's card."""
    buyer = and_(person.c.tenant_id == payment.c.tenant_id, person.c.buyer_id == payment.c.buyer_id)
    query = (
        select(payment.c.token, payment.c.buyer_email, person.c.key)
        .select_from(payment.outerjoin(person, buyer))
        .where(payment.c.id == payment_id)
    )
    return Secrets(*(await connection.execute(query)).one())


# --- writing, always under `lock` ---


async def move(
    connection: AsyncConnection,
    locked: Payment,
    orders: Sequence[Order],
    to: Status,
    *,
    reason: str,
    at: datetime,
    actor: str = "workflow",
    failure: Failure | None = None,
    fields: dict[str, Any] | None = None,
    order_fields: dict[str, Any] | None = None,
) -> Status:
    """Bring `orders` to a status with their history rows and events, and the payment to what they amount to.

    Orders that are there already are left alone. `fields` are further columns of the payment, `order_fields` of each
    order. Returns the payment's status.
    """
    moving = [order for order in orders if order.status is not to]
    for order in moving:
        assert can_become(order.status, to), f"{order.id}: {order.status} cannot become {to}"
    if orders:
        await _update_orders(connection, orders, to, at, failure, order_fields or {})
    statuses = {order.id: order.status for order in locked.orders} | {order.id: to for order in orders}
    status = combined(list(statuses.values()))
    if moving:
        await _record(connection, locked, moving, to, reason=reason, actor=actor, at=at)
        await tell(connection, locked, moving, to, statuses, status, at=at, failure=failure)
    values: dict[str, Any] = {
        "status": status.value,
        "is_payment_done": all(s is Status.SUCCESS for s in statuses.values()),
        "version": payment.c.version + 1,
        "updated_at": func.greatest(at, payment.c.updated_at),
    }
    if status in TERMINAL:
        values |= {"next_action": None, "sealed_action": None, "deadline_at": None, "next_check_at": None}
    await connection.execute(update(payment).where(payment.c.id == locked.id).values(**values | (fields or {})))
    if status in TERMINAL:
        # A webhook that says "paid" about a payment that ends unpaid is left for the sweeper: it is a late charge.
        booked = status is Status.SUCCESS or locked.charge.booked
        await inbox_done(connection, locked.id, "the payment has ended", paid=booked)
        # Tasks are opened for payments that rest or are stuck: the happy path need not look for any.
        if locked.status is not Status.EXECUTING or at - locked.created_at > _TASKS_AFTER:
            await task.close_tasks(connection, locked.id, by="workflow", resolution=f"ended {status}", keep=TASKS_KEPT)
    return status


async def _update_orders(
    connection: AsyncConnection,
    orders: Sequence[Order],
    to: Status,
    at: datetime,
    failure: Failure | None,
    order_fields: dict[str, Any],
) -> None:
    # Compare-and-set: the lock makes it true already; a writer that forgot the lock changes nothing and is noticed.
    seen = or_(*(and_(payment_order.c.id == o.id, payment_order.c.status == o.status.value) for o in orders))
    result = await connection.execute(
        update(payment_order)
        .where(seen)
        .values(
            status=to.value,
            failure=failure.model_dump() if failure else None,
            version=payment_order.c.version + 1,
            updated_at=at,
            **order_fields,
        )
    )
    assert result.rowcount == len(orders), "an order changed under the payment's lock"


async def _record(
    connection: AsyncConnection,
    locked: Payment,
    moving: Sequence[Order],
    to: Status,
    *,
    reason: str,
    actor: str,
    at: datetime,
) -> None:
    await connection.execute(
        insert(payment_order_transition),
        [
            {
                "tenant_id": locked.tenant_id,
                "payment_id": locked.id,
                "order_id": order.id,
                "from_status": order.status.value,
                "to_status": to.value,
                "reason": reason,
                "actor": actor,
                "at": at,
            }
            for order in moving
        ],
    )


async def touch(connection: AsyncConnection, payment_id: str, **fields: Any) -> None:
    await connection.execute(
        update(payment)
        .where(payment.c.id == payment_id)
        .values(version=payment.c.version + 1, updated_at=func.now(), **fields)
    )


async def inbox_done(connection: AsyncConnection, payment_id: str, note: str, *, paid: bool = True) -> bool:
    """The workflow has taken notice of the payment's webhooks (with `paid`, also of those that say so). Any there?

    What follows a payment is another matter: whoever looks at that refund or dispute takes notice of it.
    """
    waiting = (
        webhook_inbox.c.payment_id == payment_id,
        webhook_inbox.c.status == "RECEIVED",
        webhook_inbox.c.aftermath.is_(False),
    )
    result = await connection.execute(
        update(webhook_inbox)
        .where(*waiting, *(() if paid else (webhook_inbox.c.paid.is_(False),)))
        .values(status="PROCESSED", note=note, processed_at=func.now())
    )
    return result.rowcount > 0
