"""The shapes of the HTTP contract. Amounts are decimal strings in major units; unknown fields are refused."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api import examples
from domain.ids import is_client_id
from domain.money import MoneyError, exponent, parse_major
from domain.payout import DELAY_DAYS_MAX, WEEKDAYS, Interval, PayoutSchedule
from domain.psp import EVIDENCE_FIELDS, LONG_EVIDENCE
from domain.risk import ReviewDecision, RuleSet, Stage, Verdict
from domain.status import DisputeStatus, OrderRefundStatus, PayoutStatus, RefundStatus, Status


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


PspAccount = Annotated[
    str,
    Field(
        description="the PSP's name of the seller's account there (Stripe: a connected account)",
        min_length=1,
        max_length=255,
        pattern=r"^[A-Za-z0-9_]+$",
        examples=["acct_paysOut_anna"],
    ),
]
PayoutInterval = Literal["manual", "daily", "weekly", "monthly"]
Weekday = Literal[WEEKDAYS]  # type: ignore[valid-type]
Weekdays = Annotated[list[Weekday], Field(max_length=7, description="with `weekly`", examples=[["monday"]])]
Monthdays = Annotated[
    list[Annotated[int, Field(ge=1, le=31)]],
    Field(max_length=31, description="with `monthly`; a day that a month lacks is its last", examples=[[1, 15]]),
]
Minimum = Annotated[
    dict[Currency, Amount],
    Field(max_length=50, description="by currency: below it nothing is paid", examples=[{"INR": "100.00"}]),
]
DelayDays = Annotated[
    int,
    Field(
        ge=0, le=DELAY_DAYS_MAX, description="how long an order stays in the wallet's `pending` at least; new orders"
    ),
]


def _minor(minimum: dict[str, str]) -> dict[str, int]:
    """Currency → minor units; what is zero is no minimum."""
    amounts = {currency: parse_major(amount, currency) for currency, amount in minimum.items()}
    return {currency: amount for currency, amount in amounts.items() if amount}


def _schedule(
    interval: str, weekdays: list[str] | None, monthdays: list[int] | None, minimum: dict[str, str], delay_days: int
) -> PayoutSchedule:
    """Raises PydanticCustomError `payout_schedule_invalid`, or an amount's code."""
    try:
        return PayoutSchedule(
            interval=Interval(interval),
            weekdays=tuple(sorted({WEEKDAYS.index(name) for name in weekdays or ()})),
            monthdays=tuple(sorted(set(monthdays or ()))),
            minimum=_minor(minimum),
            delay_days=delay_days,
        )
    except MoneyError as error:
        raise PydanticCustomError("amount", "{why}", {"code": error.code, "why": str(error)}) from error
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise PydanticCustomError("schedule", "{why}", {"code": "payout_schedule_invalid", "why": why}) from error


class PayoutTermsIn(In):
    """What is left out stays as it is; `interval` is said together with its days."""

    account: PspAccount | None = None
    interval: PayoutInterval | None = None
    weekdays: Weekdays | None = None
    monthdays: Monthdays | None = None
    minimum: Minimum | None = None
    delay_days: DelayDays | None = None

    @model_validator(mode="after")
    def _days_belong_to_an_interval(self) -> "PayoutTermsIn":
        if self.interval is None and (self.weekdays or self.monthdays):
            why = "Say the interval together with its days."
            raise PydanticCustomError("schedule", why, {"code": "payout_schedule_invalid"})
        self.schedule  # noqa: B018 - it raises
        return self

    @property
    def schedule(self) -> PayoutSchedule:
        """With the defaults where nothing is said."""
        interval = self.interval or Interval.MANUAL.value
        return _schedule(interval, self.weekdays, self.monthdays, self.minimum or {}, self.delay_days or 0)


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
    payout: PayoutTermsIn | None = None


class MerchantPatch(In):
    name: str | None = Field(default=None, max_length=200)
    status: MerchantStatus | None = Field(default=None, examples=["FROZEN"])
    fee: FeeIn | None = None
    psp_fee_payer: Literal["platform", "seller"] | None = None
    dispute_fee_payer: Literal["platform", "seller"] | None = None
    platform_fee_on_refund: Literal["returned", "kept"] | None = None
    allow_negative_balance: bool | None = None
    country: CountryCode | None = None
    payout: PayoutTermsIn | None = Field(default=None, description="an `account` of null: there is none any more")


class FeeOut(Out):
    percent: str = Field(examples=["2.9"])
    fixed: str = Field(examples=["0.3"])


class PayoutScheduleFields(Out):
    interval: PayoutInterval
    weekdays: list[Weekday]
    monthdays: list[int]
    minimum: dict[str, str] = Field(description="by currency", examples=[{"INR": "100.00"}])
    delay_days: int


class PayoutTermsOut(PayoutScheduleFields):
    account: str | None = Field(description="the PSP's name of the seller's account there")


class PayoutScheduleOut(PayoutScheduleFields):
    object: Literal["payout_schedule"] = "payout_schedule"
    seller_account: str
    next_payout_on: date | None = Field(
        description="the business date on which the seller is due next; null: never, since the interval is manual, the "
        "seller has no account at the PSP, or is not ACTIVE"
    )


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
    payout: PayoutTermsOut
    created_at: datetime


class AvailableOn(Out):
    """What becomes available on a day, where the business is; one that is over: at the next release."""

    date: date
    amount: str


class Balance(Out):
    currency: str
    pending: str
    available: str
    reserved: str
    owed: str = Field(description="what the seller owes us: refunds and lost disputes above the balance")
    available_on: list[AvailableOn] = Field(description="when `pending` becomes available")


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


class MerchantList(Out):
    object: Literal["list"] = "list"
    data: list[MerchantOut]
    next_cursor: str | None


class AccountBalanceOut(Out):
    """The balance of an account, on its side; both null: it is zero."""

    account: str = Field(examples=["wallet:seller_anna:available"])
    kind: str = Field(examples=["liability"])
    currency: str
    debit: str | None = None
    credit: str | None = None


class BalanceTotal(Out):
    currency: str
    debit: str
    credit: str


class TrialBalanceOut(Out):
    object: Literal["trial_balance"] = "trial_balance"
    at: datetime | None = Field(description="what was booked before it; null: everything")
    data: list[AccountBalanceOut]
    totals: list[BalanceTotal] | None = Field(description="of all accounts; null on every page but the first")
    next_cursor: str | None


class BalanceSide(Out):
    currency: str
    debit: str | None = None
    credit: str | None = None


class AccountOut(Out):
    object: Literal["ledger_account"] = "ledger_account"
    account: str
    kind: str
    at: datetime | None = Field(description="what was booked before it; null: everything")
    balances: list[BalanceSide]


class StatementBalances(Out):
    """A seller's wallet, or what a movement changed of it; `total` is what we owe, less what is `owed` to us."""

    pending: str
    available: str
    reserved: str
    owed: str
    total: str


class StatementLineOut(Out):
    at: datetime
    description: str = Field(examples=["sale"])
    kind: str = Field(description="of the ledger transaction", examples=["capture"])
    transaction_id: str
    payment_id: str | None
    order_id: str | None = Field(description="our id of the order")
    payment_order_id: str | None = Field(description="your own")
    reference: str | None = Field(description="the refund, dispute or payout that it is about")
    change: StatementBalances
    balance: StatementBalances = Field(description="after it")


class StatementOut(Out):
    model_config = ConfigDict(frozen=True, validate_by_name=True)

    object: Literal["statement"] = "statement"
    seller_account: str
    currency: str
    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")
    opening: StatementBalances
    lines: list[StatementLineOut]
    closing: StatementBalances = Field(description="`opening` and the `change` of all lines")


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
