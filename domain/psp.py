"""Requests to a payment service provider (PSP) and its answers, in terms that hold for every PSP.

Three outcomes, never two: a call is done, declined, or UNKNOWN. UNKNOWN is not a failure: the money may have moved.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from domain.model import Failure, Frozen


class ChargeOutcome(StrEnum):
    """The state of a charge, as the PSP tells it."""

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
    """A look-up found nothing, which proves nothing, unless there is a `failure`: then it counts as not made."""


class NextAction(Frozen):
    """The next step of the buyer's browser."""

    type: Literal["redirect"] = "redirect"
    url: str


class PspFee(Frozen):
    """The PSP's own fee, in minor units; `reference` is its name for the movement that took it."""

    reference: str
    amount: int
    currency: str
    available_on: datetime | None = None


class CardFacts(Frozen):
    """The PSP's description of a card. The fingerprint is the same for the same number, whatever the token."""

    fingerprint: str | None = None
    country: str | None = Field(default=None, description="of the issuer, ISO 3166-1 alpha-2")
    brand: str | None = None
    funding: str | None = None


class CardChecks(Frozen):
    """The PSP's and the issuer's own checks: pass, fail, unavailable or unchecked; None where there was none.

    `risk_score` is 0 to 100, higher is riskier; `risk_level` normal, elevated, highest.
    """

    address_line: str | None = None
    postal_code: str | None = None
    cvc: str | None = None
    risk_score: int | None = None
    risk_level: str | None = None


class ChargeRequest(Frozen):
    """One charge attempt. `token` is the decrypted payment method and must not be logged.

    `authorize_only` reserves the amount on the card; `capture` takes it, or a part of it, later. `return_url` and
    `statement_descriptor` are as the payment keeps them; None: the account's own.
    """

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
    authorize_only: bool = False
    return_url: str | None = Field(default=None, description="where the buyer is sent back to; empty: nowhere")
    statement_descriptor: str | None = Field(default=None, description="the words on the buyer's statement")


class CaptureRequest(Frozen):
    """A capture: an authorised amount is taken, or a part of it, and what is left is released. Once per charge, under
    one key."""

    key: str
    charge_id: str
    reference: str
    amount: int
    currency: str


class ChargeResult(Frozen):
    """The PSP's answer about a charge.

    `reference` is the PSP's object; `amount` is what was really taken or, of an authorisation, what is reserved until
    `capture_before`.

    `reason` of an UNKNOWN: timeout, connection, server_error, server_error_replayed, rate_limited, in_flight,
    breaker_open, busy, credentials, malformed, unrecognised, key_reused, incomplete, another_charge.
    """

    outcome: ChargeOutcome
    reference: str | None = None
    amount: int | None = None
    currency: str | None = None
    fee: PspFee | None = None
    failure: Failure | None = None
    next_action: NextAction | None = None
    capture_before: datetime | None = None
    card: CardFacts | None = None
    checks: CardChecks | None = None
    reason: str | None = None
    answered_at: datetime | None = Field(default=None, description="of an unclear answer, which is counted once")
    again_s: float | None = Field(default=None, description="of an unknown one: seconds until it is asked for again")
    tries: int = Field(default=0, description="of an unknown one: how often it was asked for so far")

    @property
    def unclear(self) -> bool:
        """Whether it leaves open what has become of the charge."""
        return self.outcome in (ChargeOutcome.UNKNOWN, ChargeOutcome.NOT_FOUND)


class ChargeLookup(Frozen):
    """A search for a charge by our ids on it, among those created in a window. Not finding it proves nothing."""

    charge_id: str
    key: str
    created_from: datetime
    created_to: datetime


class RefundOutcome(StrEnum):
    """The state of a refund, as the PSP tells it."""

    SUCCEEDED = "SUCCEEDED"
    PENDING = "PENDING"
    FAILED = "FAILED"
    """Refused or failed at the PSP: the money is still there."""
    UNKNOWN = "UNKNOWN"
    NOT_FOUND = "NOT_FOUND"


class RefundRequest(Frozen):
    """A refund of a charge, or of a part of it, under `key`; `amount` in minor units."""

    key: str
    refund_id: str
    charge_reference: str
    amount: int
    currency: str
    reason: str
    metadata: dict[str, str] = Field(default_factory=dict)


class RefundResult(Frozen):
    """The PSP's answer about a refund. `asked_at`: when it was asked; anything that it said before is older. `again_s`
    and `tries` as in ChargeResult."""

    asked_at: datetime | None = None
    outcome: RefundOutcome
    reference: str | None = None
    amount: int | None = None
    currency: str | None = None
    failure: Failure | None = None
    reason: str | None = None
    again_s: float | None = None
    tries: int = 0


class DisputeOutcome(StrEnum):
    """The state of a dispute, as the PSP tells it."""

    INQUIRY = "INQUIRY"
    """The issuer asks; no money has moved."""
    NEEDS_RESPONSE = "NEEDS_RESPONSE"
    """The money is withdrawn; evidence can be submitted until the deadline."""
    UNDER_REVIEW = "UNDER_REVIEW"
    WON = "WON"
    LOST = "LOST"
    CLOSED = "CLOSED"
    """An inquiry that ended without money moving."""
    UNKNOWN = "UNKNOWN"
    NOT_FOUND = "NOT_FOUND"


class DisputeMoney(Frozen):
    """One movement of money at the PSP because of a dispute, in minor units. `amount` < 0 was withdrawn, > 0 given
    back; `fee` > 0 is what the PSP kept for its trouble, < 0 what it returned of that."""

    reference: str
    amount: int
    fee: int
    currency: str


class DisputeResult(Frozen):
    """The PSP's answer about a dispute, asked for at `asked_at`. `money` lists every movement so far."""

    asked_at: datetime | None = None
    outcome: DisputeOutcome
    reference: str | None = None
    charge_reference: str | None = None
    amount: int | None = None
    currency: str | None = None
    category: str | None = Field(default=None, description="why the buyer disputes, in the PSP's word: fraudulent, …")
    evidence_due_at: datetime | None = None
    submissions: int = 0
    money: tuple[DisputeMoney, ...] = ()
    failure: Failure | None = Field(default=None, description="why evidence was not taken")
    reason: str | None = None


class EvidenceRequest(Frozen):
    """Evidence for a dispute, submitted to the issuer. `fields`: one of `dispute.EVIDENCE_FIELDS` → text."""

    key: str
    reference: str
    fields: dict[str, str] = Field(repr=False)


class TransferOutcome(StrEnum):
    """The outcome of moving money between our account at the PSP and a seller's."""

    DONE = "DONE"
    REFUSED = "REFUSED"
    """The PSP's definite word that nothing moved; `failure` says why."""
    UNKNOWN = "UNKNOWN"
    NOT_FOUND = "NOT_FOUND"


class TransferRequest(Frozen):
    """A transfer from our account at the PSP to the seller's there, under `key`."""

    key: str
    payout_id: str
    destination: str = Field(description="the PSP's name of the seller's account")
    amount: int
    currency: str
    metadata: dict[str, str] = Field(default_factory=dict)


class ReversalRequest(Frozen):
    """The reversal of a whole transfer, under `key`."""

    key: str
    payout_id: str
    transfer_reference: str
    amount: int
    currency: str


class TransferResult(Frozen):
    """The PSP's answer about a transfer or its reversal. `amount` is what really moved."""

    outcome: TransferOutcome
    reference: str | None = None
    amount: int | None = None
    currency: str | None = None
    failure: Failure | None = None
    reason: str | None = None


class PayoutOutcome(StrEnum):
    """The state of a payout to a seller's bank, as the PSP tells it."""

    PENDING = "PENDING"
    """On its way to the seller's bank."""
    PAID = "PAID"
    """At the bank, as far as the PSP knows: it may still be FAILED days later."""
    FAILED = "FAILED"
    """Refused, failed or returned: the money is on the seller's account at the PSP."""
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    NOT_FOUND = "NOT_FOUND"


class PayoutRequest(Frozen):
    """A payout from the seller's account at the PSP to the seller's bank, under `key`."""

    key: str
    payout_id: str
    destination: str
    amount: int
    currency: str
    metadata: dict[str, str] = Field(default_factory=dict)


class PayoutResult(Frozen):
    """The PSP's answer about a payout, asked for at `asked_at`. A cancellation that it refused is the payout's present
    state with a `failure`."""

    asked_at: datetime | None = None
    outcome: PayoutOutcome
    reference: str | None = None
    amount: int | None = None
    currency: str | None = None
    arrival_at: datetime | None = None
    trace_id: str | None = Field(default=None, description="the bank's own reference of it; told days later, if ever")
    failure: Failure | None = None
    reason: str | None = None


class PayoutTraces(Frozen):
    """The banks' own references of what the PSP paid to our bank: (the PSP's payout, its trace id). `reason`: why there
    is no answer."""

    traces: tuple[tuple[str, str], ...] = ()
    reason: str | None = None


class PspEventKind(StrEnum):
    """The noun that an event is about."""

    CHARGE = "charge"
    REFUND = "refund"
    DISPUTE = "dispute"
    PAYOUT = "payout"
    OTHER = "other"


class PspEvent(Frozen):
    """A verified webhook. It is a nudge: the truth is fetched from the PSP, so order and repetition do not matter."""

    event_id: str
    type: str
    kind: PspEventKind
    ignored: str | None = Field(default=None, description="why it is kept and nothing made of it")
    reference: str | None = Field(default=None, description="the PSP's name of its object")
    charge_reference: str | None = Field(
        default=None, description="the PSP's name of the charge that the object belongs to"
    )
    amount: int | None = Field(default=None, description="of a refund or dispute, in minor units")
    currency: str | None = None
    charge_id: str | None = Field(default=None, description="our charge id, from the object's metadata")
    refund_id: str | None = Field(default=None, description="our refund id, from the object's metadata")
    payout_id: str | None = Field(default=None, description="our payout id, from the object's metadata")
    trace_id: str | None = Field(default=None, description="of a payout: the bank's own reference of it")
    paid: bool = Field(default=False, description="the event says that money was taken")
    authorized: bool = Field(default=False, description="the event says that the amount is reserved, and no more")
    refund_failed: bool = Field(default=False, description="the event says that a refund did not reach the buyer")
    payout_failed: bool = Field(
        default=False, description="the event says that a payout did not reach, or left, the seller's bank"
    )
    payload: dict[str, Any]


class WebhookRejected(ValueError):
    """A webhook whose signature or age is wrong, or that is no event; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
