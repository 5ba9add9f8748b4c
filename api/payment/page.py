"""A payment as a checkout page sees it, by a client token: the least that a page needs to go on or to end."""

from typing import Literal

from pydantic import ConfigDict, Field

from api import examples
from api.fields import Out
from api.payment.shapes import NextActionOut, action_out
from db.core.keyring import Keyring
from db.payment.record import Payment
from domain.money import to_major
from domain.status import Status

_TOLD = frozenset(
    {
        "action_expired",
        "amount_too_large",
        "amount_too_small",
        "authentication_failed",
        "authentication_required",
        "buyer_declined",
        "card_declined",
        "card_limit_exceeded",
        "card_not_supported",
        "confirmation_expired",
        "currency_not_supported",
        "expired_card",
        "incorrect_address",
        "incorrect_cvc",
        "incorrect_number",
        "insufficient_funds",
        "invalid_expiry",
        "payment_expired",
        "payment_method_declined",
        "payment_method_rejected",
        "pending_expired",
        "processing_error",
        "psp_error",
    }
)
"""Reasons that a buyer can act on. Every other is `declined`: a thief is not told that a card is blocked or that a risk
rule struck, nor anybody else what became of a seller."""

_OWN_AFFAIRS = (Status.IN_REVIEW, Status.NEEDS_ATTENTION)
"""The shop's: that a person looks at a payment is shown as PENDING."""


class PageFailureOut(Out):
    code: str = Field(examples=["card_declined"], description="a reason that the buyer can act on, or `declined`")


class PagePaymentOut(Out):
    """To a client token: fields of a payment, under the same names, and no others."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": examples.PAGE_PAYMENT})

    id: str = Field(examples=["pay_01kafm6e8q9v7s2c4n0b8k6h3j"])
    object: Literal["payment"] = "payment"
    status: Status = Field(description="PENDING also while a person looks at it")
    is_payment_done: bool
    amount: str
    currency: str
    next_action: NextActionOut | None
    failure: PageFailureOut | None


def page_payment_out(row: Payment, keyring: Keyring) -> PagePaymentOut:
    """The payment without the shop's other data."""
    codes = [order.failure.code for order in row.orders if order.failure]
    return PagePaymentOut(
        id=row.id,
        status=Status.PENDING if row.status in _OWN_AFFAIRS else row.status,
        is_payment_done=row.is_payment_done,
        amount=to_major(row.amount, row.currency),
        currency=row.currency,
        next_action=action_out(row, keyring),
        failure=PageFailureOut(code=codes[0] if codes[0] in _TOLD else "declined") if codes else None,
    )
