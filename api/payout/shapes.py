"""The shapes of payouts, of what they pay, and of schedules over HTTP."""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from api import examples
from api.fields import Amount, ClientId, Currency, FailureOut, In, Out, failure_out
from api.merchant.shapes import (
    DelayDays,
    Minimum,
    Monthdays,
    PayoutInterval,
    PayoutScheduleFields,
    Weekdays,
    payout_schedule,
    schedule_fields,
)
from db.merchant import Merchant
from db.payout.record import Payout, PayoutItem
from domain.money import to_major
from domain.payout import PayoutCall, PayoutSchedule
from domain.statement import words
from domain.status import PayoutStatus
from domain.unknown import to_do_about_a_payout
from services.payout import Shown


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
        return payout_schedule(self.interval, self.weekdays, self.monthdays, self.minimum or {}, self.delay_days)


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
    transfer_reference: str | None = Field(description="the PSP's transfer to the seller's account")
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


class UnansweredCallOut(Out):
    """A call at the PSP without an answer that can be trusted; it is made again, or looked for, by itself."""

    call: PayoutCall
    reason: str | None = Field(description="of the last try", examples=["timeout"])
    message: str = Field(description="the same in words, with the number of tries")
    tries: int = Field(description="answers so far that could not be trusted")
    next_check_at: datetime | None
    what_to_do: str = Field(examples=[to_do_about_a_payout(PayoutCall.TRANSFER)])


class PayoutDetail(PayoutOut):
    model_config = ConfigDict(frozen=True, json_schema_extra={"example": examples.PAYOUT})

    trace_id: str | None = Field(
        description="the bank's own reference, by which the seller's bank finds it; told days after it is paid, if ever"
    )
    transitions: list[PayoutTransitionOut] = Field(description="its history, the oldest first")
    unanswered: UnansweredCallOut | None = Field(description="why it does not move on; null: nothing is unanswered")


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


# --- rows as answers ---


def schedule_out(row: Merchant, next_payout_on: date | None) -> PayoutScheduleOut:
    fields = schedule_fields(row.schedule).model_dump()
    return PayoutScheduleOut(seller_account=row.seller_account, next_payout_on=next_payout_on, **fields)


def payout_out(row: Payout) -> PayoutOut:
    return PayoutOut(**_payout(row))


def payout_detail(shown: Shown) -> PayoutDetail:
    row, call = shown.row, shown.unanswered
    steps = [
        PayoutTransitionOut(from_status=t.from_status, to_status=t.to_status, reason=t.reason, at=t.at)
        for t in shown.transitions
    ]
    unanswered = None
    if call is not None and call.failure is not None:
        unanswered = UnansweredCallOut(
            call=call.call,
            reason=call.failure.psp_code,
            message=call.failure.message,
            tries=row.unknown_count,
            next_check_at=row.next_check_at,
            what_to_do=to_do_about_a_payout(call.call),
        )
    return PayoutDetail(**_payout(row), trace_id=shown.trace_id, transitions=steps, unanswered=unanswered)


def _payout(row: Payout) -> dict[str, Any]:
    return {
        "id": row.id,
        "seller_account": row.seller_account,
        "amount": to_major(row.amount, row.currency),
        "currency": row.currency,
        "status": row.status,
        "account": row.destination,
        "business_date": row.business_date,
        "transfer_reference": row.transfer_reference,
        "reference": row.reference,
        "arrival_at": row.arrival_at,
        "failure": failure_out(row.failure),
        "cancel_requested": row.cancel_requested,
        "created_at": row.created_at,
    }


def payout_item(row: PayoutItem) -> PayoutItemOut:
    return PayoutItemOut(
        description=words(row.kind),
        kind=row.kind,
        transaction_id=row.transaction_id,
        payment_id=row.payment_id,
        order_id=row.order_id,
        payment_order_id=row.payment_order_id,
        amount=to_major(row.amount, row.currency),
        part_of=to_major(row.posting_amount, row.currency) if row.amount != row.posting_amount else None,
        returned=row.returned,
        at=row.at,
    )
