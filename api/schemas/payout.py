"""Payout: TODO docstring."""

from datetime import date, datetime
from typing import Literal

from pydantic import (
    ConfigDict,
    Field,
    model_validator,
)

from api import examples
from api.fields import Amount, ClientId, Currency, FailureOut, In, Out
from api.schemas.merchant import (
    DelayDays,
    Minimum,
    Monthdays,
    PayoutInterval,
    PayoutScheduleFields,
    Weekdays,
    _schedule,
)
from domain.payout import PayoutSchedule
from domain.status import PayoutStatus


class PayoutScheduleIn(In):
    """The whole schedule: what is left out is none."""

    seller_account: ClientId = Field(examples=["seller_anna"])
    interval: PayoutInterval
    weekdays: Weekdays | None = None
    monthdays: Monthdays | None = None
    minimum: Minimum | None = None
    delay_days: DelayDays = 0

    @model_validator(mode="after")
    def _fits(self) -> "PayoutScheduleIn":
        self.schedule  # noqa: B018 - it raises
        return self

    @property
    def schedule(self) -> PayoutSchedule:
        return _schedule(self.interval, self.weekdays, self.monthdays, self.minimum or {}, self.delay_days)


class PayoutIn(In):
    """All that is available, or `amount` of it."""

    seller_account: ClientId = Field(examples=["seller_anna"])
    amount: Amount | None = Field(default=None, examples=["100.00"])
    currency: Currency | None = Field(
        default=None, description="may be left out where the wallet has one currency", examples=["INR"]
    )


class PayoutScheduleOut(PayoutScheduleFields):
    object: Literal["payout_schedule"] = "payout_schedule"
    seller_account: str
    next_payout_on: date | None = Field(
        description="the business date on which the seller is due next; null: never, since the interval is manual, the "
        "seller has no account at the PSP, or is not ACTIVE"
    )


class PayoutOut(Out):
    id: str = Field(examples=["pt_01kafm6e8x7f5h9k3n1p4r6t8w"])
    object: Literal["payout"] = "payout"
    seller_account: str
    amount: str
    currency: str
    status: PayoutStatus = Field(examples=["IN_TRANSIT"])
    account: str = Field(description="the seller's account at the PSP that it goes to")
    business_date: date | None = Field(description="of the run that made it; null: it was asked for")
    reference: str | None = Field(description="the PSP's payout to the seller's bank")
    arrival_at: datetime | None = Field(description="when the PSP expects it at the seller's bank")
    failure: FailureOut | None
    cancel_requested: bool
    created_at: datetime


class PayoutTransitionOut(Out):
    from_status: PayoutStatus | None
    to_status: PayoutStatus
    reason: str
    at: datetime


class PayoutDetail(PayoutOut):
    model_config = ConfigDict(frozen=True, json_schema_extra={"example": examples.PAYOUT})

    transitions: list[PayoutTransitionOut] = Field(description="its history, the oldest first")


class PayoutList(Out):
    object: Literal["list"] = "list"
    data: list[PayoutOut]
    next_cursor: str | None


class PayoutItemOut(Out):
    """A posting to the wallet's available balance that the payout pays; below zero: it is deducted."""

    object: Literal["payout_item"] = "payout_item"
    description: str = Field(description="what it is, in words", examples=["became available"])
    kind: str = Field(description="of the ledger transaction", examples=["release"])
    transaction_id: str
    payment_id: str | None
    order_id: str | None = Field(description="our id of the order")
    payment_order_id: str | None = Field(description="your own")
    amount: str
    part_of: str | None = Field(
        description="the whole posting, where this is a part of it; another payout has the rest"
    )
    returned: bool = Field(description="the payout did not arrive, and another one may pay this")
    at: datetime = Field(description="when it was booked")


class PayoutItemList(Out):
    object: Literal["list"] = "list"
    data: list[PayoutItemOut]
    next_cursor: str | None
