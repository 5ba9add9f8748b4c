"""The values by which every statement that moves the orders of a payment on is guarded, and writes their history."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from db.hot.store import compact
from db.payment.event import event_data, payment_data
from db.payment.record import Order, Payment
from domain.event_types import payment_event_type
from domain.events import SCHEMA_VERSION, order_event_type
from domain.ids import new_id
from domain.model import Failure
from domain.status import Status, combined


class Move(NamedTuple):
    """An order, as it was read, and what it becomes."""

    order: Order
    to: Status
    failure: Failure | None
    reason: str


def values_of(row: Payment, moves: Sequence[Move]) -> dict[str, Any]:
    """Of a payment, as it was read, and its orders, in the order in which their history tells it."""
    return {
        "payment_id": row.id,
        "tenant_id": row.tenant_id,
        "version": row.version,
        "charge_id": row.charge.id,
        "order_id": [order.id for order, _, _, _ in moves],
        "order_from": [order.status.value for order, _, _, _ in moves],
        "order_to": [to.value for _, to, _, _ in moves],
        "order_failure": [compact(failure.model_dump()) if failure else None for _, _, failure, _ in moves],
        "order_reason": [reason for _, _, _, reason in moves],
        "schema_version": SCHEMA_VERSION,
        **_events(row, moves),
    }


def _events(row: Payment, moves: Sequence[Move]) -> dict[str, Any]:
    """Those of the orders, and the payment's own where it moves by them."""
    types = [order_event_type(to) for _, to, _, _ in moves]
    objects = [order.id for order, _, _, _ in moves]
    data = [event_data(order, row.id, order.currency, to, failure) for order, to, failure, _ in moves]
    statuses = {order.id: order.status for order in row.orders} | {order.id: to for order, to, _, _ in moves}
    status = combined(list(statuses.values()))
    if status is not row.status:
        types.append(payment_event_type(status))
        objects.append(row.id)
        data.append(payment_data(row, statuses, status, moves[-1].to, moves[-1].failure))
    return {
        "event_id": [new_id("evt") for _ in types],
        "event_type": types,
        "event_object": objects,
        "event_payload": [compact(one) for one in data],
    }
