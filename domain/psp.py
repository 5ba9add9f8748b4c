"""What we ask a payment service provider (PSP) and what it can answer, in words that fit every PSP.

Three outcomes, never two: a call is done, declined, or UNKNOWN. UNKNOWN is not a failure: the money may have moved.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Base of every value that crosses a boundary: immutable, unknown fields refused nowhere, so old histories load."""

    model_config = ConfigDict(frozen=True)


class ChargeOutcome(StrEnum):
    SUCCEEDED = "SUCCEEDED"
    """Captured: the money is with the PSP."""
    REQUIRES_ACTION = "REQUIRES_ACTION"
    """The buyer has something to do (3DS); `next_action` says what."""
    PENDING = "PENDING"
    """The PSP works on it and will say (bank debits, UPI)."""
    AUTHORIZED = "AUTHORIZED"
    """Reserved on the card, not captured."""
    DECLINED = "DECLINED"
    """Refused. The PSP's object, if it has one, can still be paid until it is voided."""
    VOIDED = "VOIDED"
    """Cancelled at the PSP: it can never be paid."""
    UNKNOWN = "UNKNOWN"
    """No answer that can be trusted: replay the same key, or look the charge up."""
    NOT_FOUND = "NOT_FOUND"
    """A look-up found nothing, which proves nothing."""


class Failure(Frozen):
    """Why an order is not paid. `code` is stable and ours; `psp_code` is the PSP's own word."""

    code: str
    message: str
    psp_code: str | None = None


class NextAction(Frozen):
    """What the buyer's browser has to do next."""

    type: Literal["redirect"] = "redirect"
    url: str


class PspFee(Frozen):
    """The PSP's own fee, in minor units, and its reference (Stripe: the balance transaction)."""

    reference: str
    amount: int
    currency: str
    available_on: datetime | None = None


class ChargeRequest(Frozen):
    """One charge attempt. `token` is the decrypted payment method and must not be logged."""

    key: str = Field(description="idempotency key, derived from our stored ids")
    charge_id: str
    payment_id: str
    amount: int
    currency: str
    method: Literal["card", "upi", "netbanking", "wallet"]
    token: str = Field(repr=False)
    description: str
    metadata: dict[str, str] = Field(default_factory=dict)
    receipt_email: str | None = Field(default=None, repr=False)


class ChargeResult(Frozen):
    """The PSP's word on a charge. `reference` is its object (Stripe: pi_…), `amount` what was really taken.

    `reason` of an UNKNOWN: timeout, connection, server_error, server_error_replayed, rate_limited, in_flight,
    breaker_open, busy, credentials, malformed, unrecognised, key_reused, incomplete, amount_precision, another_charge.
    """

    outcome: ChargeOutcome
    reference: str | None = None
    amount: int | None = None
    currency: str | None = None
    fee: PspFee | None = None
    failure: Failure | None = None
    next_action: NextAction | None = None
    reason: str | None = None


class ChargeLookup(Frozen):
    """Find a charge by what we wrote on it, among those created in a window. Not finding it proves nothing."""

    charge_id: str
    key: str
    created_from: datetime
    created_to: datetime


class RefundOutcome(StrEnum):
    SUCCEEDED = "SUCCEEDED"
    PENDING = "PENDING"
    FAILED = "FAILED"
    """Refused or failed at the PSP: the money is still there."""
    UNKNOWN = "UNKNOWN"
    NOT_FOUND = "NOT_FOUND"


class RefundRequest(Frozen):
    key: str
    refund_id: str
    charge_reference: str
    amount: int
    currency: str
    reason: str
    metadata: dict[str, str] = Field(default_factory=dict)


class RefundResult(Frozen):
    """The PSP's word on a refund, and when it was asked for it: what it said before that is older."""

    asked_at: datetime | None = None
    outcome: RefundOutcome
    reference: str | None = None
    amount: int | None = None
    currency: str | None = None
    failure: Failure | None = None
    reason: str | None = None


class PspEventKind(StrEnum):
    CHARGE = "charge"
    REFUND = "refund"
    OTHER = "other"


class PspEvent(Frozen):
    """A verified webhook. It is a nudge: the truth is fetched from the PSP, so order and repetition do not matter."""

    event_id: str
    type: str
    kind: PspEventKind
    created_at: datetime
    reference: str | None = Field(default=None, description="the PSP's object: pi_…, re_…")
    charge_id: str | None = Field(default=None, description="our charge id, from the object's metadata")
    refund_id: str | None = Field(default=None, description="our refund id, from the object's metadata")
    paid: bool = Field(default=False, description="the event says that money was taken")
    refund_failed: bool = Field(default=False, description="the event says that a refund did not reach the buyer")
    payload: dict[str, Any]


class WebhookRejected(ValueError):
    """A webhook whose signature, age, account or shape is wrong; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
