"""The shapes of refunds over HTTP."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from api.fields import Amount, FailureOut, In, Out, failure_out
from db.refund.record import Refund
from domain.limits import OrderName, RefundReason
from domain.money import to_major
from domain.status import RefundStatus


class RefundIn(In):
    """All that is left of an order, or `amount` of it."""

    payment_order_id: OrderName | None = Field(
        default=None, description="your own or ours; may be left out where there is one", examples=["order-1001-1"]
    )
    amount: Amount | None = Field(default=None, examples=["100.00"])
    reason: RefundReason | None = Field(
        default=None,
        description="your own words; the PSP understands requested_by_customer, duplicate and fraudulent",
        examples=["requested_by_customer"],
    )


class RefundOut(Out):
    id: str = Field(examples=["re_01kafm6e8q9v7s2c4n0b8k6h3j"])
    object: Literal["refund"] = "refund"
    payment_id: str
    payment_order_id: str | None = Field(description="null: of the charge as a whole")
    origin: Literal["request", "psp", "compensation", "late_charge"] = Field(
        description="asked for; made in the PSP's dashboard; part of undoing a charge"
    )
    reason: str | None
    amount: str
    currency: str
    status: RefundStatus
    attempt: int
    reference: str | None = Field(description="the PSP's own id of it (of Stripe's it is a `re_…` as well)")
    failure: FailureOut | None
    created_at: datetime


class RefundList(Out):
    object: Literal["list"] = "list"
    data: list[RefundOut]


class RefundPage(RefundList):
    next_cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last one")


def refund_out(row: Refund, names: Mapping[str, str]) -> RefundOut:
    """`names`: our order ids → the client's."""
    return RefundOut.model_validate(
        {
            "id": row.id,
            "payment_id": row.payment_id,
            "payment_order_id": names[row.order_id] if row.order_id else None,
            "origin": row.origin,
            "reason": row.reason,
            "amount": to_major(row.amount, row.currency),
            "currency": row.currency,
            "status": row.status,
            "attempt": row.attempt,
            "reference": row.reference,
            "failure": failure_out(row.failure),
            "created_at": row.created_at,
        }
    )
