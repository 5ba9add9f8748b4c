"""The shapes of payments: what a client asks for, and what it is shown."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api import examples
from api.fields import Amount, ClientId, CountryCode, Currency, FailureOut, In, Out, failure_out
from db.core.keyring import Keyring
from db.payment import action
from db.payment.record import Order, Payment
from domain.limits import Email, Note, OrderName, Phone, ReturnUrl
from domain.money import MoneyError, parse_major, to_major
from domain.status import DisputeStatus, OrderRefundStatus, Status


class Buyer(In):
    id: ClientId = Field(examples=["buyer_1"])
    email: Email | None = Field(default=None, examples=["buyer@example.com"])
    phone: Phone | None = Field(default=None, description="E.164, for SMS and WhatsApp", examples=["+4915112345678"])
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
    return_url: ReturnUrl | None = Field(
        default=None,
        description="where the buyer is sent back to after 3DS or from the bank: https, on a site that is allowed for "
        "this shop. `payment_id` and `checkout_id` are added to its query. Left out: where the deployment says",
    )

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
    payment_order_id: OrderName = Field(description="your own or ours", examples=["order-1003-1"])
    amount: Amount


class CaptureIn(In):
    """The part to take of an authorised payment: all of it (an empty object), `amount` of its only order, or an
    amount for some of its orders; what is left out is released."""

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


class ResolutionIn(In):
    decision: Literal["accept", "cancel", "retry"]
    note: Note = Field(default="", examples=["captured in the dashboard"])


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
    buyer: BuyerOut | None = Field(description="null for a merchant, which does not see the buyer")
    amount: str
    currency: str
    next_action: NextActionOut | None
    failure: FailureOut | None
    cancel_requested: bool
    metadata: dict[str, str]
    return_url: str | None = Field(description="where the buyer is sent back to, with our ids in it")
    payment_orders: list[PaymentOrderOut]
    created_at: datetime


class CreatedPaymentOut(PaymentOut):
    """The answer to its creation, and to a replay of it."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"example": examples.PAYMENT | {"client_token": examples.CLIENT_TOKEN}}
    )

    client_token: str | None = Field(
        repr=False,
        description="hand it to the checkout page: with `Authorization: Bearer ct_…` a browser reads and confirms this "
        "payment, and nothing else, until a buyer can have nothing more to do about it (25 hours after its creation, "
        "unless the deployment's deadlines say otherwise); null from then on",
    )


class PaymentList(Out):
    object: Literal["list"] = "list"
    data: list[PaymentOut]
    next_cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last one")


# --- from rows ---


def order_out(row: Payment, order: Order, keyring: Keyring | None) -> PaymentOrderOut:
    """An order of the payment; without the keys nobody knows the buyer's next step."""
    return PaymentOrderOut(
        id=order.id,
        payment_id=row.id,
        payment_order_id=order.payment_order_id,
        seller_account=order.seller_account,
        amount=to_major(order.amount, order.currency),
        currency=order.currency,
        status=order.status,
        wallet_updated=order.wallet_updated,
        ledger_updated=order.ledger_updated,
        next_action=action_out(row, keyring) if order.open else None,
        failure=failure_out(order.failure),
        captured_amount=to_major(order.captured_amount, order.currency),
        refundable_amount=to_major(order.refundable, order.currency),
        refund_status=order.refund_status,
        dispute_status=order.dispute_status,
        created_at=order.created_at,
    )


def payment_out(row: Payment, keyring: Keyring | None) -> PaymentOut:
    """The payment with its orders."""
    failure = next((order.failure for order in row.orders if order.failure), None)
    return PaymentOut(
        id=row.id,
        status=row.status,
        is_payment_done=row.is_payment_done,
        checkout_id=row.checkout_id,
        buyer=BuyerOut(id=row.buyer_id) if row.buyer_id else None,
        amount=to_major(row.amount, row.currency),
        currency=row.currency,
        next_action=action_out(row, keyring),
        failure=failure_out(failure),
        cancel_requested=row.cancel_requested_at is not None,
        metadata=row.metadata,
        return_url=row.return_url or None,
        payment_orders=[order_out(row, order, keyring) for order in row.orders],
        created_at=row.created_at,
    )


def created_out(row: Payment, client_token: str | None, keyring: Keyring) -> CreatedPaymentOut:
    """The payment with its orders and its token."""
    return CreatedPaymentOut(**dict(payment_out(row, keyring)), client_token=client_token)


def action_out(row: Payment, keyring: Keyring | None) -> NextActionOut | None:
    """The page that the buyer is sent to."""
    found = action.opened(keyring, row) if keyring is not None else None
    return NextActionOut(**found.model_dump()) if found else None
