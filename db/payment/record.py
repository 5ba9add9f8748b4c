"""A payment as the code reads it: with its orders, its charge attempts and its steps."""

from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy import RowMapping

from domain.model import Failure, Frozen
from domain.status import TERMINAL, Status


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
    capture_amount: int | None
    captured_amount: int
    captured_fee: int
    pending_amount: int
    refund_amount: int
    psp_refund_amount: int
    dispute_amount: int
    status: Status
    wallet_updated: bool
    ledger_updated: bool
    compensating: bool
    failure: Failure | None
    refund_status: str | None
    dispute_status: str | None
    available_at: datetime | None
    released_at: datetime | None
    version: int = Field(description="raised by whoever writes to the order, sets something of it aside or ends that")
    created_at: datetime

    @property
    def open(self) -> bool:
        return self.status not in TERMINAL

    @property
    def to_capture(self) -> int:
        """The amount of the order that is to be taken: all of it, unless a capture asked for less."""
        return self.amount if self.capture_amount is None else self.capture_amount

    @property
    def refundable(self) -> int:
        """The amount that may still be given back: captured, not refunded by us or at the PSP, not disputed."""
        return max(0, self.captured_amount - self.refund_amount - self.psp_refund_amount - self.dispute_amount)


class Charge(Frozen):
    """One attempt at the PSP, its key and the PSP's last answer."""

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
    dead_since: datetime | None
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
    return_url: str | None
    statement_descriptor: str | None
    is_payment_done: bool
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    authorize_only: bool
    capture_by_request: bool
    capture_on_expiry: bool
    capture_requested_at: datetime | None
    capture_requested_by: str | None
    accepted_at: datetime | None
    accepted_by: str | None
    risk_version: int | None
    buyer_country: str | None
    next_action: dict[str, Any] | None
    sealed_action: bytes | None
    deadline_at: datetime | None
    next_check_at: datetime | None
    version: int = Field(description="raised by whoever writes to it, its orders or its charge before it has ended")
    created_at: datetime
    updated_at: datetime
    orders: tuple[Order, ...]
    charge: Charge

    @property
    def open(self) -> bool:
        return self.status not in TERMINAL

    @property
    def to_capture(self) -> int:
        return sum(order.to_capture for order in self.orders)

    @property
    def captured(self) -> tuple[Order, ...]:
        """The orders whose money was credited."""
        return tuple(order for order in self.orders if order.captured_amount)

    def order(self, order_id: str) -> Order:
        return next(order for order in self.orders if order.id == order_id)


class Transition(Frozen):
    """A step of an order: `from_status` is None at its creation."""

    order_id: str
    from_status: Status | None
    to_status: Status
    reason: str
    actor: str
    at: datetime


def payment_of(row: RowMapping, orders: list[Order], charge: Charge) -> Payment:
    return Payment(**dict(row), orders=tuple(orders), charge=charge)
