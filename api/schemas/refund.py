"""Refund: TODO docstring."""

from datetime import datetime
from typing import Literal

from pydantic import (
    Field,
)

from api.schemas.fields import Amount, In, Out
from api.schemas.payment import FailureOut
from domain.status import RefundStatus


class RefundIn(In):
    """All that is left of an order, or `amount` of it."""

    payment_order_id: str | None = Field(
        default=None,
        description="your own or ours; may be left out where there is one",
        min_length=1,
        max_length=64,
        examples=["order-1001-1"],
    )
    amount: Amount | None = Field(default=None, examples=["100.00"])
    reason: str | None = Field(
        default=None,
        description="your own words; the PSP understands requested_by_customer, duplicate and fraudulent",
        min_length=1,
        max_length=500,
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
    reference: str | None = Field(description="the PSP's object")
    failure: FailureOut | None
    created_at: datetime


class RefundList(Out):
    object: Literal["list"] = "list"
    data: list[RefundOut]
