"""Events of the outbox, for the rest of a company to build on. Their schema is versioned and only grows
(`domain.event_types`)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from domain.event_data import DisputeData, OrderData, PartData, PaymentData, PayoutData, RefundData
from domain.model import Failure, Frozen
from domain.money import to_major
from domain.status import DisputeStatus, PayoutStatus, RefundStatus, Status

SCHEMA_VERSION = 1


class Event(Frozen):
    """One event. `type` is noun.verb; `data` is the object as the HTTP contract shows it, amounts as decimal
    strings."""

    id: str
    type: str
    schema_version: int = SCHEMA_VERSION
    tenant_id: str
    object_id: str
    at: datetime
    data: dict[str, Any]


def payment_event_data(
    *,
    payment_id: str,
    checkout_id: str | None,
    amount: int,
    currency: str,
    status: Status,
    is_payment_done: bool,
    method: str,
    failure: Failure | None,
    orders: Iterable[tuple[str, str, str, int, Status]],
) -> dict[str, Any]:
    """The data of `payment.created`, `payment.succeeded` …; `orders`: id, the shop's name of it, seller, amount and
    status of each."""
    parts = tuple(
        PartData(id=id_, payment_order_id=name, seller_account=seller, amount=to_major(part, currency), status=of_part)
        for id_, name, seller, part, of_part in orders
    )
    return PaymentData(
        id=payment_id,
        checkout_id=checkout_id,
        amount=to_major(amount, currency),
        currency=currency,
        status=status,
        is_payment_done=is_payment_done,
        method=method,
        failure=failure,
        payment_orders=parts,
    ).model_dump(mode="json")


def order_event_type(status: Status) -> str:
    """The type of an order's event: `payment_order.success`, `payment_order.requires_action` …"""
    return f"payment_order.{status.value.lower()}"


def order_event_data(
    *,
    order_id: str,
    payment_id: str,
    payment_order_id: str,
    seller_account: str,
    amount: int,
    currency: str,
    status: Status,
    failure: Failure | None,
) -> dict[str, Any]:
    """The data of `payment_order.success`, `payment_order.failed` …; `amount` in minor units."""
    return OrderData(
        id=order_id,
        payment_id=payment_id,
        payment_order_id=payment_order_id,
        seller_account=seller_account,
        amount=to_major(amount, currency),
        currency=currency,
        status=status,
        failure=failure,
    ).model_dump(mode="json")


def refund_event_data(
    *,
    refund_id: str,
    payment_id: str,
    payment_order_id: str | None,
    origin: str,
    amount: int,
    currency: str,
    status: RefundStatus,
    failure: Failure | None,
) -> dict[str, Any]:
    """The data of `refund.requested`, `refund.succeeded` …"""
    return RefundData(
        id=refund_id,
        payment_id=payment_id,
        payment_order_id=payment_order_id,
        origin=origin,
        amount=to_major(amount, currency),
        currency=currency,
        status=status,
        failure=failure,
    ).model_dump(mode="json")


def dispute_event_data(
    *,
    dispute_id: str,
    payment_id: str,
    amount: int,
    currency: str,
    category: str | None,
    status: DisputeStatus,
    evidence_due_at: datetime | None,
) -> dict[str, Any]:
    """The data of `dispute.opened`, `dispute.needs_response` …"""
    return DisputeData(
        id=dispute_id,
        payment_id=payment_id,
        amount=to_major(amount, currency),
        currency=currency,
        category=category,
        status=status,
        evidence_due_at=evidence_due_at.isoformat() if evidence_due_at else None,
    ).model_dump(mode="json")


def payout_event_data(
    *,
    payout_id: str,
    seller_account: str,
    amount: int,
    currency: str,
    status: PayoutStatus,
    failure: Failure | None,
) -> dict[str, Any]:
    """The data of `payout.requested`, `payout.paid`, `payout.returned` …"""
    return PayoutData(
        id=payout_id,
        seller_account=seller_account,
        amount=to_major(amount, currency),
        currency=currency,
        status=status,
        failure=failure,
    ).model_dump(mode="json")
