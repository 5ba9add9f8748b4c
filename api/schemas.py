"""The shapes of the HTTP contract. Amounts are decimal strings in major units; unknown fields are refused."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api import examples
from domain.ids import is_client_id
from domain.money import MoneyError, exponent, parse_major
from domain.psp import EVIDENCE_FIELDS, LONG_EVIDENCE
from domain.risk import ReviewDecision, RuleSet, Stage, Verdict
from domain.status import DisputeStatus, OrderRefundStatus, RefundStatus, Status


class In(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


def _client_id(text: str) -> str:
    if not is_client_id(text):
        raise PydanticCustomError(
            "client_id",
            "1 to 64 characters of A-Z a-z 0-9 _ -, and not one of our own prefixes",
            {"code": "id_invalid"},
        )
    return text


ClientId = Annotated[
    str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,64}$"}, max_length=64), AfterValidator(_client_id)
]


def _string(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError(
            "amount", 'An amount is a decimal string in major units, such as "500.00".', {"code": "amount_invalid"}
        )
    return value


def _currency(text: str) -> str:
    try:
        exponent(text)
    except MoneyError as error:
        raise PydanticCustomError("currency", str(error).replace("{", "(").replace("}", ")"), {"code": error.code})  # noqa: B904
    return text


Amount = Annotated[
    str,
    BeforeValidator(_string),
    Field(
        description="decimal string in major units",
        examples=["500.00"],
        max_length=24,
        json_schema_extra={"pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"},
    ),
]
Currency = Annotated[
    str, Field(description="ISO 4217", examples=["INR"], min_length=3, max_length=3), AfterValidator(_currency)
]
CountryCode = Annotated[
    str, Field(description="ISO 3166-1 alpha-2", examples=["IN"], pattern="^[A-Z]{2}$", min_length=2, max_length=2)
]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]


class Buyer(In):
    id: ClientId = Field(examples=["buyer_1"])
    email: Email | None = Field(default=None, examples=["buyer@example.com"])
    country: CountryCode | None = Field(default=None, description="for risk rules")


class PaymentMethod(In):
    """A token from the PSP's own form in the browser. Card data is never accepted here."""

    type: Literal["card", "upi", "netbanking", "wallet"]
    token: str = Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_]+$", examples=["pm_card_visa"], repr=False)


class PaymentOrderIn(In):
    payment_order_id: ClientId | None = Field(default=None, examples=["order-1001-1"])
    seller_account: ClientId = Field(examples=["seller_anna"])
    amount: Amount
    currency: Currency

    @model_validator(mode="after")
    def _positive(self) -> "PaymentOrderIn":
        try:
            minor = parse_major(self.amount, self.currency)
        except MoneyError as error:
            raise PydanticCustomError("amount", "{why}", {"code": error.code, "why": str(error)}) from error
        if minor <= 0:
            raise PydanticCustomError("amount", "An amount is above zero.", {"code": "amount_not_positive"})
        return self


ORDERS_MAX = 50

MetadataKey = Annotated[str, Field(min_length=1, max_length=40)]
MetadataValue = Annotated[str, Field(max_length=500)]


class PaymentIn(In):
    """A checkout: one charge for the sum of its orders, one settlement for each."""

    checkout_id: ClientId | None = Field(default=None, examples=["checkout-1001"])
    buyer: Buyer
    payment_method: PaymentMethod
    payment_orders: list[PaymentOrderIn] = Field(min_length=1, max_length=ORDERS_MAX)
    capture: Literal["automatic", "manual"] = Field(
        default="automatic", description="manual: reserve the amount (AUTHORIZED), take it with /capture"
    )
    on_authorization_expiry: Literal["void", "capture"] = Field(
        default="void", description="what becomes of an authorisation that nobody captured in time"
    )
    confirm: bool = Field(default=True, description="false: store it, charge when /confirm is called")
    on_partial_failure: Literal["compensate_all", "keep_successful"] = "compensate_all"
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=20)

    @model_validator(mode="after")
    def _consistent(self) -> "PaymentIn":
        if len({order.currency for order in self.payment_orders}) > 1:
            raise PydanticCustomError(
                "currency", "The orders of one checkout share a currency.", {"code": "currency_mixed"}
            )
        names = [order.payment_order_id for order in self.payment_orders if order.payment_order_id]
        if len(set(names)) != len(names):
            raise PydanticCustomError(
                "payment_order_id", "A payment_order_id occurs twice.", {"code": "payment_order_repeated"}
            )
        return self


class CaptureOrderIn(In):
    payment_order_id: str = Field(
        description="your own or ours", min_length=1, max_length=64, examples=["order-1003-1"]
    )
    amount: Amount


class CaptureIn(In):
    """What to take of an authorised payment: all of it (an empty object), `amount` of its only order, or an amount for
    some of its orders; what is left out is released."""

    amount: Amount | None = Field(default=None, examples=["500.00"])
    payment_orders: list[CaptureOrderIn] | None = Field(default=None, min_length=1, max_length=ORDERS_MAX)

    @model_validator(mode="after")
    def _one_way(self) -> "CaptureIn":
        if self.amount is not None and self.payment_orders is not None:
            raise PydanticCustomError("capture", "Either amount or payment_orders.", {"code": "capture_ambiguous"})
        names = [order.payment_order_id for order in self.payment_orders or ()]
        if len(set(names)) != len(names):
            raise PydanticCustomError(
                "payment_order_id", "A payment_order_id occurs twice.", {"code": "payment_order_repeated"}
            )
        return self


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


class ReviewIn(In):
    decision: Literal["approve", "reject"] = Field(examples=["approve"])
    note: str = Field(default="", max_length=2000, examples=["called the buyer"])


EVIDENCE_SHORT_MAX = 5_000
EvidenceText = Annotated[str, Field(min_length=1, max_length=20_000)]


class EvidenceIn(In):
    """What speaks for the seller; it is submitted to the buyer's bank once, so all of it at once."""

    fields: dict[Literal[EVIDENCE_FIELDS], EvidenceText] = Field(  # type: ignore[valid-type]
        min_length=1, examples=[{"product_description": "A doll.", "shipping_tracking_number": "1Z999"}]
    )

    @model_validator(mode="after")
    def _short_enough(self) -> "EvidenceIn":
        for name, text in self.fields.items():
            if name not in LONG_EVIDENCE and len(text) > EVIDENCE_SHORT_MAX:
                raise PydanticCustomError(
                    "evidence",
                    "{name} takes at most {limit} characters.",
                    {"code": "field_invalid", "name": name, "limit": EVIDENCE_SHORT_MAX},
                )
        return self


class FailureOut(Out):
    code: str = Field(examples=["card_declined"])
    message: str
    psp_code: str | None = Field(default=None, examples=["generic_decline"])


class NextActionOut(Out):
    type: Literal["redirect"] = "redirect"
    url: str


class PaymentOrderOut(Out):
    id: str = Field(examples=["po_01kafm6e8r4t1d1w9p7zq3x5yv"])
    object: Literal["payment_order"] = "payment_order"
    payment_id: str
    payment_order_id: str
    seller_account: str
    amount: str
    currency: str
    status: Status
    wallet_updated: bool
    ledger_updated: bool
    next_action: NextActionOut | None
    failure: FailureOut | None
    captured_amount: str = Field(description="what was taken and credited of `amount`")
    refundable_amount: str = Field(description="captured, not refunded, not disputed")
    refund_status: OrderRefundStatus | None
    dispute_status: DisputeStatus | None
    created_at: datetime


class BuyerOut(Out):
    """Without the e-mail address, which is stored encrypted for the PSP's receipt alone."""

    id: str


class PaymentOut(Out):
    model_config = ConfigDict(frozen=True, json_schema_extra={"example": examples.PAYMENT})

    id: str = Field(examples=["pay_01kafm6e8q9v7s2c4n0b8k6h3j"])
    object: Literal["payment"] = "payment"
    status: Status = Field(examples=["SUCCESS"])
    is_payment_done: bool
    checkout_id: str | None
    buyer: BuyerOut
    amount: str
    currency: str
    next_action: NextActionOut | None
    failure: FailureOut | None
    cancel_requested: bool
    metadata: dict[str, str]
    payment_orders: list[PaymentOrderOut]
    created_at: datetime


MerchantStatus = Literal["ACTIVE", "FROZEN", "CLOSED"]
DecimalString = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,6})(\.[0-9]{1,4})?$", max_length=16)]


class FeeIn(In):
    """The platform's fee per order: `percent` of its amount plus `fixed` in its own currency."""

    percent: DecimalString = Field(default="0", examples=["2.9"])
    fixed: DecimalString = Field(default="0", examples=["0.30"])

    @model_validator(mode="after")
    def _at_most_everything(self) -> "FeeIn":
        if Decimal(self.percent) > 100:
            raise PydanticCustomError("fee", "percent is at most 100.", {"code": "fee_invalid"})
        return self


class MerchantIn(In):
    seller_account: ClientId = Field(examples=["seller_dora"])
    name: str | None = Field(default=None, max_length=200, examples=["Dora's Dolls"])
    fee: FeeIn = FeeIn()
    psp_fee_payer: Literal["platform", "seller"] = Field(default="platform", description="bears the PSP's fee")
    dispute_fee_payer: Literal["platform", "seller"] = Field(
        default="platform", description="bears what the PSP charges for a dispute"
    )
    platform_fee_on_refund: Literal["returned", "kept"] = Field(
        default="returned", description="whether the platform's fee goes back with a refund"
    )
    allow_negative_balance: bool = Field(
        default=False, description="refunds may be made on credit: the seller owes, and the next payout recovers it"
    )
    country: CountryCode | None = Field(default=None, description="for risk rules")


class MerchantPatch(In):
    name: str | None = Field(default=None, max_length=200)
    status: MerchantStatus | None = Field(default=None, examples=["FROZEN"])
    fee: FeeIn | None = None
    psp_fee_payer: Literal["platform", "seller"] | None = None
    dispute_fee_payer: Literal["platform", "seller"] | None = None
    platform_fee_on_refund: Literal["returned", "kept"] | None = None
    allow_negative_balance: bool | None = None
    country: CountryCode | None = None


class FeeOut(Out):
    percent: str = Field(examples=["2.9"])
    fixed: str = Field(examples=["0.3"])


class MerchantOut(Out):
    id: str
    object: Literal["merchant"] = "merchant"
    seller_account: str
    name: str | None
    status: MerchantStatus
    fee: FeeOut
    psp_fee_payer: str
    dispute_fee_payer: str
    platform_fee_on_refund: str
    allow_negative_balance: bool
    country: str | None
    created_at: datetime


class Balance(Out):
    currency: str
    pending: str
    available: str
    reserved: str
    owed: str = Field(description="what the seller owes us: refunds and lost disputes above the balance")


class WalletOut(Out):
    object: Literal["wallet"] = "wallet"
    seller_account: str
    balances: list[Balance]


class PostingOut(Out):
    account: str
    currency: str
    debit: str | None = None
    credit: str | None = None


class LedgerTransactionOut(Out):
    id: str
    object: Literal["ledger_transaction"] = "ledger_transaction"
    kind: str
    source_id: str
    payment_id: str | None
    payment_order_id: str | None
    corrects: str | None
    at: datetime
    postings: list[PostingOut]


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


HistoryEntry = Annotated[HistoryPayment | HistoryRefund | HistoryDispute, Field(discriminator="object")]


class MerchantList(Out):
    object: Literal["list"] = "list"
    data: list[MerchantOut]
    next_cursor: str | None


class LedgerList(Out):
    object: Literal["list"] = "list"
    data: list[LedgerTransactionOut]
    next_cursor: str | None


class HistoryList(Out):
    model_config = ConfigDict(frozen=True, json_schema_extra={"example": examples.HISTORY})

    object: Literal["list"] = "list"
    data: list[HistoryEntry]
    next_cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last one")


class TransitionOut(Out):
    payment_order_id: str
    from_status: Status | None
    to_status: Status
    reason: str
    actor: str
    at: datetime


class AttemptOut(Out):
    """One charge attempt at the PSP, and its last word on it."""

    attempt: int
    psp: str
    reference: str | None
    outcome: str | None
    unknown_answers: int
    send_until: datetime
    last_answer: dict[str, object] | None
    last_answer_at: datetime | None


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


class EvidenceOut(Out):
    id: str
    object: Literal["dispute_evidence"] = "dispute_evidence"
    fields: list[str] = Field(description="names alone: what they say is stored encrypted")
    status: Literal["STORED", "SUBMITTED", "REFUSED"]
    failure: FailureOut | None
    created_at: datetime
    submitted_at: datetime | None


class DisputeOut(Out):
    id: str = Field(examples=["dp_01kafm6e8q9v7s2c4n0b8k6h3j"])
    object: Literal["dispute"] = "dispute"
    payment_id: str
    amount: str
    currency: str
    category: str | None = Field(description="why, in the bank's word", examples=["fraudulent"])
    status: DisputeStatus
    evidence_due_at: datetime | None
    fee: str = Field(description="what the PSP charges for it")
    reference: str
    created_at: datetime
    closed_at: datetime | None


class DisputeDetail(DisputeOut):
    evidence: list[EvidenceOut]


class DisputeList(Out):
    object: Literal["list"] = "list"
    data: list[DisputeOut]
    next_cursor: str | None


class RiskDecisionOut(Out):
    """What the rules said, and what a person made of a review."""

    stage: Stage
    verdict: Verdict
    reasons: list[str] = Field(examples=[["large amount: 150000.00 INR is above 100000.00 INR"]])
    rules_version: int
    at: datetime
    review: ReviewDecision | None
    reviewed_by: str | None
    review_note: str | None
    reviewed_at: datetime | None


class ReviewOut(Out):
    """A payment that waits for a person's decision."""

    object: Literal["review"] = "review"
    payment_id: str
    amount: str
    currency: str
    stage: Stage
    reasons: list[str]
    deadline_at: datetime | None


class ReviewList(Out):
    object: Literal["list"] = "list"
    data: list[ReviewOut]


class RuleSetOut(Out):
    object: Literal["risk_rules"] = "risk_rules"
    version: int = Field(description="0: none were ever written")
    rules: RuleSet
    updated_by: str | None
    updated_at: datetime | None


class TaskOut(Out):
    id: str
    kind: str
    detail: str
    opened_at: datetime


class ExplainOut(Out):
    """Why a payment is where it is, from the rows alone: it answers also when no worker does."""

    object: Literal["explanation"] = "explanation"
    payment_id: str
    status: Status
    summary: str = Field(examples=["Waiting for the buyer to authenticate; cancelled at the deadline otherwise."])
    next_check_at: datetime | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    workflow_id: str
    workflow_url: str | None
    capture_requested_at: datetime | None
    attempts: list[AttemptOut]
    risk: list[RiskDecisionOut]
    compensation: list[RefundOut]
    refunds: list[RefundOut]
    disputes: list[DisputeOut]
    tasks: list[TaskOut]
    transitions: list[TransitionOut]
