"""Rows as the code reads them."""

from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from domain.psp import Failure, Frozen
from domain.status import TERMINAL, RefundStatus, Status


class Order(Frozen):
    id: str
    tenant_id: str
    payment_id: str
    position: int
    payment_order_id: str
    seller_account: str
    amount: int
    currency: str
    platform_fee: int
    status: Status
    wallet_updated: bool
    ledger_updated: bool
    compensating: bool
    failure: Failure | None
    refund_status: str | None
    dispute_status: str | None
    created_at: datetime

    @property
    def open(self) -> bool:
        return self.status not in TERMINAL


class Charge(Frozen):
    id: str
    tenant_id: str
    payment_id: str
    attempt: int
    psp: str
    key: str
    amount: int
    currency: str
    send_until: datetime
    outcome: str | None
    reference: str | None
    received_amount: int | None
    received_currency: str | None
    refund_amount: int
    fee: dict[str, Any] | None
    booked: bool
    unknown_count: int
    last_answer: dict[str, Any] | None
    last_answer_at: datetime | None
    created_at: datetime


class Refund(Frozen):
    id: str
    tenant_id: str
    payment_id: str
    order_id: str | None
    charge_id: str
    origin: str
    amount: int
    currency: str
    status: RefundStatus
    ends_as: Status | None
    ends_with: Failure | None
    attempt: int
    send_until: datetime
    reference: str | None
    failure: Failure | None
    unknown_count: int
    created_at: datetime


class Payment(Frozen):
    """A payment with its orders (by position) and its current charge attempt."""

    id: str
    tenant_id: str
    checkout_id: str | None
    buyer_id: str
    amount: int
    currency: str
    status: Status
    psp: str
    method: str
    on_partial_failure: str
    metadata: dict[str, str]
    is_payment_done: bool
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    next_action: dict[str, Any] | None
    deadline_at: datetime | None
    next_check_at: datetime | None
    created_at: datetime
    updated_at: datetime
    orders: tuple[Order, ...]
    charge: Charge

    @property
    def open(self) -> bool:
        return self.status not in TERMINAL

    def order(self, order_id: str) -> Order:
        return next(order for order in self.orders if order.id == order_id)


def payment_of(row: RowMapping, orders: list[Order], charge: Charge) -> Payment:
    return Payment(**dict(row), orders=tuple(orders), charge=charge)
