"""The shapes of merchants, their payout terms and their wallets over HTTP."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, cast

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from api.fields import Amount, ClientId, CountryCode, Currency, In, Out
from db.ledger.wallet import WalletBalance
from db.merchant import Merchant, MerchantTerms, NewMerchant, schedule_terms
from db.payout.release import PendingDay
from domain.money import MoneyError, parse_major, to_major
from domain.payout import DELAY_DAYS_MAX, WEEKDAYS, Interval, PayoutSchedule
from domain.status import MerchantStatus

Status = Literal["ACTIVE", "FROZEN", "CLOSED"]
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


def payout_schedule(
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
    """Payout terms: what is left out stays as it is; `interval` is said together with its days."""

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
        return payout_schedule(interval, self.weekdays, self.monthdays, self.minimum or {}, self.delay_days or 0)

    @property
    def terms(self) -> MerchantTerms:
        """The terms that are said, by column."""
        said = {"payout_account"} if "account" in self.model_fields_set else set()
        if self.interval is not None:
            said |= {"payout_interval", "payout_weekdays", "payout_monthdays"}
        said |= {f"payout_{name}" for name in ("minimum", "delay_days") if getattr(self, name) is not None}
        every: MerchantTerms = {**schedule_terms(self.schedule), "payout_account": self.account}
        return cast(MerchantTerms, {name: value for name, value in every.items() if name in said})


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

    @property
    def new(self) -> NewMerchant:
        terms: MerchantTerms = {
            "name": self.name,
            "psp_fee_payer": self.psp_fee_payer,
            "dispute_fee_payer": self.dispute_fee_payer,
            "platform_fee_on_refund": self.platform_fee_on_refund,
            "allow_negative_balance": self.allow_negative_balance,
            "country": self.country,
        }
        terms = {**terms, **_fee(self.fee), **(self.payout.terms if self.payout else {})}
        return {"seller_account": self.seller_account, **terms}


class MerchantPatch(In):
    name: str | None = Field(default=None, max_length=200)
    status: Status | None = Field(default=None, examples=["FROZEN"])
    fee: FeeIn | None = None
    psp_fee_payer: Literal["platform", "seller"] | None = None
    dispute_fee_payer: Literal["platform", "seller"] | None = None
    platform_fee_on_refund: Literal["returned", "kept"] | None = None
    allow_negative_balance: bool | None = None
    country: CountryCode | None = None
    payout: PayoutTermsIn | None = Field(default=None, description="an `account` of null: there is none any more")

    @property
    def terms(self) -> MerchantTerms:
        """The terms that are said, by column; only a name is taken away by null."""
        said = self.model_dump(exclude_unset=True, exclude={"fee", "name", "payout"}, exclude_none=True)
        terms = cast(MerchantTerms, said)
        if self.status is not None:
            terms["status"] = MerchantStatus(self.status)
        if "name" in self.model_fields_set:
            terms["name"] = self.name
        return {**terms, **_fee(self.fee), **(self.payout.terms if self.payout else {})}


def _fee(fee: FeeIn | None) -> MerchantTerms:
    return {"fee_percent": Decimal(fee.percent), "fee_fixed": Decimal(fee.fixed)} if fee else {}


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


class MerchantOut(Out):
    id: str
    object: Literal["merchant"] = "merchant"
    seller_account: str
    name: str | None
    status: Status
    fee: FeeOut
    psp_fee_payer: str
    dispute_fee_payer: str
    platform_fee_on_refund: str
    allow_negative_balance: bool
    country: str | None
    payout: PayoutTermsOut
    created_at: datetime


class AvailableOn(Out):
    """The amount that becomes available on a day, where the business is; one that is over: at the next release."""

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


class MerchantList(Out):
    object: Literal["list"] = "list"
    data: list[MerchantOut]
    next_cursor: str | None


# --- rows as answers ---


def merchant_out(row: Merchant) -> MerchantOut:
    return MerchantOut(
        id=row.id,
        seller_account=row.seller_account,
        name=row.name,
        status=row.status.value,
        fee=FeeOut(percent=_plain(row.fee_percent), fixed=_plain(row.fee_fixed)),
        psp_fee_payer=row.psp_fee_payer,
        dispute_fee_payer=row.dispute_fee_payer,
        platform_fee_on_refund=row.platform_fee_on_refund,
        allow_negative_balance=row.allow_negative_balance,
        country=row.country,
        payout=PayoutTermsOut(account=row.payout_account, **schedule_fields(row.schedule).model_dump()),
        created_at=row.created_at,
    )


def schedule_fields(schedule: PayoutSchedule) -> PayoutScheduleFields:
    return PayoutScheduleFields(
        interval=schedule.interval.value,
        weekdays=[WEEKDAYS[day] for day in schedule.weekdays],
        monthdays=list(schedule.monthdays),
        minimum={currency: to_major(amount, currency) for currency, amount in sorted(schedule.minimum.items())},
        delay_days=schedule.delay_days,
    )


def _plain(value: Decimal) -> str:
    """`2.9000` as `2.9`, `100` as `100`."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def wallet_out(seller_account: str, balances: Sequence[WalletBalance], days: Sequence[PendingDay]) -> WalletOut:
    """`days`: when what is pending becomes available, in all currencies."""
    return WalletOut(seller_account=seller_account, balances=[_balance(row, days) for row in balances])


def _balance(row: WalletBalance, days: Sequence[PendingDay]) -> Balance:
    currency = row.currency
    return Balance(
        currency=currency,
        pending=to_major(row.pending, currency),
        available=to_major(row.available, currency),
        reserved=to_major(row.reserved, currency),
        owed=to_major(row.receivable, currency),
        available_on=[
            AvailableOn(date=d.day, amount=to_major(d.amount, currency)) for d in days if d.currency == currency
        ],
    )
