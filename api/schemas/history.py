"""History: TODO docstring."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
)

from api import examples
from api.schemas.fields import Out
from api.schemas.payment import FailureOut, PaymentOrderOut
from domain.status import DisputeStatus, PayoutStatus, RefundStatus


class HistoryPayment(PaymentOrderOut):
    """A payment order: paid by the buyer, earned by the seller."""

    type: Literal["payment"] = "payment"
    checkout_id: str | None
    buyer_id: str


class HistoryRefund(Out):
    """Money that goes back to the buyer; in a seller's history the seller's share of it."""

    id: str = Field(description="the refund", examples=["re_01kafm6e8v5d3f7h1k9m2p4r6t"])
    object: Literal["refund"] = "refund"
    type: Literal["refund"] = "refund"
    payment_id: str
    payment_order_id: str | None = Field(description="null: it is about several orders")
    amount: str
    currency: str
    status: RefundStatus
    origin: Literal["request", "psp", "compensation", "late_charge"] = Field(
        description="request: asked for here; psp: made at the PSP; the others undo a charge, and no seller sees them"
    )
    reason: str | None
    failure: FailureOut | None
    created_at: datetime = Field(description="in a seller's history: when funds were set aside for it")


class HistoryDispute(Out):
    """Money that the buyer's bank claims back; in a seller's history the seller's share of it."""

    id: str = Field(description="the dispute", examples=["dp_01kafm6e8w6e4g8j2m0n3q5s7v"])
    object: Literal["dispute"] = "dispute"
    type: Literal["dispute"] = "dispute"
    payment_id: str
    payment_order_id: str | None = Field(description="null: it is about several orders")
    amount: str
    currency: str
    status: DisputeStatus
    category: str | None = Field(description="why, in the bank's word", examples=["fraudulent"])
    evidence_due_at: datetime | None
    created_at: datetime = Field(description="in a seller's history: when funds were set aside for it")


class HistoryPayout(Out):
    """What a seller was paid; in a seller's history alone."""

    id: str = Field(examples=["pt_01kafm6e8x7f5h9k3n1p4r6t8w"])
    object: Literal["payout"] = "payout"
    type: Literal["payout"] = "payout"
    amount: str
    currency: str
    status: PayoutStatus
    business_date: date | None = Field(description="of the run that made it; null: it was asked for")
    arrival_at: datetime | None = Field(description="when the PSP expects it at the seller's bank")
    failure: FailureOut | None
    created_at: datetime


HistoryEntry = Annotated[HistoryPayment | HistoryRefund | HistoryDispute | HistoryPayout, Field(discriminator="object")]


class HistoryList(Out):
    model_config = ConfigDict(frozen=True, json_schema_extra={"example": examples.HISTORY})

    object: Literal["list"] = "list"
    data: list[HistoryEntry]
    next_cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last one")
