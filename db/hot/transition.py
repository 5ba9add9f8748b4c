"""The values by which every statement that moves the orders of a payment on is guarded, and writes their history."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from db.hot.store import compact
from db.payment.payment import event_data
from db.payment.record import Order, Payment
from domain.events import SCHEMA_VERSION, order_event_type
from domain.ids import new_id
from domain.model import Failure
from domain.status import Status


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
        "event_id": [new_id("evt") for _ in moves],
        "event_type": [order_event_type(to) for _, to, _, _ in moves],
        "event_payload": [
            compact(event_data(order, row.id, order.currency, to, failure)) for order, to, failure, _ in moves
        ],
        "schema_version": SCHEMA_VERSION,
    }
