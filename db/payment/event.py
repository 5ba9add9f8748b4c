"""The events of a payment and its orders, written in the transaction that moves them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import outbox
from db.payment.record import Order, Payment
from domain.event_types import payment_event_type
from domain.events import Event, order_event_data, order_event_type, payment_event_data
from domain.ids import new_id
from domain.model import Failure
from domain.status import Status

if TYPE_CHECKING:
    from db.payment.payment import NewOrder, NewPayment


async def tell_created(connection: AsyncConnection, new: "NewPayment", status: Status, at: datetime) -> None:
    """The events of a payment that is being stored, and of its orders."""
    events = [
        _event("payment_order.created", new.tenant_id, o.id, at, event_data(o, new.id, new.currency, status, None))
        for o in new.orders
    ]
    data = payment_data(new, {order.id: status for order in new.orders}, status, status, None)
    await outbox.add(connection, [*events, _event("payment.created", new.tenant_id, new.id, at, data)])


async def tell(
    connection: AsyncConnection,
    locked: Payment,
    moving: Sequence[Order],
    to: Status,
    statuses: Mapping[str, Status],
    status: Status,
    *,
    at: datetime,
    failure: Failure | None,
) -> None:
    """The events of the orders that move, and the payment's own where it moves by it."""
    events = [
        _event(order_event_type(to), locked.tenant_id, o.id, at, event_data(o, locked.id, o.currency, to, failure))
        for o in moving
    ]
    if status is not locked.status:
        data = payment_data(locked, statuses, status, to, failure)
        events.append(_event(payment_event_type(status), locked.tenant_id, locked.id, at, data))
    await outbox.add(connection, events)


def _event(type_: str, tenant_id: str, object_id: str, at: datetime, data: dict[str, Any]) -> Event:
    return Event(id=new_id("evt"), type=type_, tenant_id=tenant_id, object_id=object_id, at=at, data=data)


def event_data(
    order: "NewOrder | Order", payment_id: str, currency: str, status: Status, failure: Failure | None
) -> dict[str, Any]:
    """The data of an order's event, of one that has this status now."""
    return order_event_data(
        order_id=order.id,
        payment_id=payment_id,
        payment_order_id=order.payment_order_id,
        seller_account=order.seller_account,
        amount=order.amount,
        currency=currency,
        status=status,
        failure=failure,
    )


def payment_data(
    row: "NewPayment | Payment", statuses: Mapping[str, Status], status: Status, to: Status, failure: Failure | None
) -> dict[str, Any]:
    """The data of a payment's own event, of one that has this status now and its orders theirs; `failure`: of the
    orders that came to `to`, and of the payment where it came there with them."""
    return payment_event_data(
        payment_id=row.id,
        checkout_id=row.checkout_id,
        amount=sum(order.amount for order in row.orders),
        currency=row.currency,
        status=status,
        is_payment_done=all(of_order is Status.SUCCESS for of_order in statuses.values()),
        method=row.method,
        failure=failure if status is to else None,
        orders=((o.id, o.payment_order_id, o.seller_account, o.amount, statuses[o.id]) for o in row.orders),
    )
