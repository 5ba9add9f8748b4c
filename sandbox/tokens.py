"""The test cards and other payment methods by their documented names, and what each of them does.

A name with a further `_suffix` (`tok_visa_42`, `pm_card_visa_abc`) behaves as the name and can be used once.
See https://docs.stripe.com/testing.
"""

from dataclasses import dataclass, replace
from typing import Literal

DisputeCourse = Literal["fraudulent", "product_not_received", "inquiry"]
RefundCourse = Literal["succeeded", "pending_succeeded", "pending_failed", "succeeded_failed"]


@dataclass(frozen=True, slots=True)
class Decline:
    """The reason why a card is refused: Stripe's error code, the issuer's code, and the sentence for the buyer."""

    code: str
    decline_code: str | None
    message: str
    # `blocked` is the provider's own risk engine, which refuses before the issuer is asked.
    outcome: Literal["issuer_declined", "blocked"] = "issuer_declined"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The effect of using a payment method."""

    type: str = "card"
    brand: str = "visa"
    last4: str = "4242"
    country: str = "US"
    funding: str = "credit"
    decline: Decline | None = None
    authenticate: bool = False
    # Asynchronous methods rest in `processing`; `settles` None means until a control call.
    asynchronous: bool = False
    settles: Literal["success", "failure"] | None = None
    failure_code: str = "payment_intent_payment_attempt_failed"
    refund: RefundCourse = "succeeded"
    # The buyer disputes the charge soon after it succeeded: for this reason, or as an inquiry.
    dispute: DisputeCourse | None = None
    risk_level: str = "normal"
    risk_score: int = 20
    # None: only an address that comes along is checked, and passes.
    address_line1_check: str | None = None
    address_postal_code_check: str | None = None
    cvc_check: str = "pass"
    # The money is available at once, and not pending for days.
    bypass_pending: bool = False


def _declined(code: str, decline_code: str | None, message: str) -> Decline:
    return Decline(code, decline_code, message)


GENERIC = _declined("card_declined", "generic_decline", "Your card was declined.")
FUNDS = _declined("card_declined", "insufficient_funds", "Your card has insufficient funds.")
PROCESSING = _declined(
    "processing_error", None, "An error occurred while processing your card. Try again in a little bit."
)
CVC = _declined("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.")
FRAUDULENT = Decline("card_declined", "fraudulent", "Your card was declined.", outcome="blocked")
AUTHENTICATION_REQUIRED = _declined(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)

DECLINES = {
    "chargeDeclined": (GENERIC, "0002"),
    "chargeDeclinedInsufficientFunds": (FUNDS, "9995"),
    "chargeDeclinedLostCard": (_declined("card_declined", "lost_card", "Your card was declined."), "9987"),
    "chargeDeclinedStolenCard": (_declined("card_declined", "stolen_card", "Your card was declined."), "9979"),
    "chargeDeclinedExpiredCard": (_declined("expired_card", None, "Your card has expired."), "0069"),
    "chargeDeclinedIncorrectCvc": (CVC, "0127"),
    "chargeDeclinedProcessingError": (PROCESSING, "0119"),
    "chargeDeclinedFraudulent": (FRAUDULENT, "0019"),
    "chargeDeclinedVelocityLimitExceeded": (
        _declined("card_declined", "card_velocity_exceeded", "Your card was declined for exceeding its limit."),
        "6975",
    ),
    "radarBlock": (FRAUDULENT, "0019"),
    "chargeCustomerFail": (GENERIC, "0341"),
}

BRANDS = {
    "visa": Behaviour(),
    "visa_debit": Behaviour(last4="5556", funding="debit"),
    "mastercard": Behaviour(brand="mastercard", last4="4444"),
    "mastercard_debit": Behaviour(brand="mastercard", last4="8210", funding="debit"),
    "mastercard_prepaid": Behaviour(brand="mastercard", last4="5100", funding="prepaid"),
    "amex": Behaviour(brand="amex", last4="8431"),
    "discover": Behaviour(brand="discover", last4="9424"),
    "diners": Behaviour(brand="diners", last4="0004"),
    "jcb": Behaviour(brand="jcb", last4="0505", country="JP"),
    "unionpay": Behaviour(brand="unionpay", last4="0005", country="CN"),
    "us": Behaviour(),
    "in": Behaviour(last4="0008", country="IN"),
    "gb": Behaviour(last4="8260", country="GB"),
    "de": Behaviour(last4="0016", country="DE"),
    "fr": Behaviour(last4="0003", country="FR"),
    "br": Behaviour(last4="0024", country="BR"),
    "ca": Behaviour(last4="0000", country="CA"),
    "au": Behaviour(last4="0006", country="AU"),
    "sg": Behaviour(last4="0003", country="SG"),
    "jp": Behaviour(last4="0003", country="JP"),
}

SECURE = Behaviour(last4="3220", authenticate=True)
HIGHEST_RISK = Behaviour(last4="4954", risk_level="highest", risk_score=90)

CARDS = (
    BRANDS
    | {
        name: replace(HIGHEST_RISK if decline.outcome == "blocked" else Behaviour(), last4=last4, decline=decline)
        for name, (decline, last4) in DECLINES.items()
    }
    | {
        "threeDSecure2Required": SECURE,
        "threeDSecureRequired": replace(SECURE, last4="3063"),
        "threeDSecureOptional": replace(SECURE, last4="3055", authenticate=False),
        "threeDSecureRequiredChargeDeclined": replace(SECURE, last4="1629", decline=GENERIC),
        "threeDSecureRequiredProcessingError": replace(SECURE, last4="1692", decline=PROCESSING),
        "authenticationRequired": replace(SECURE, last4="3184"),
        "authenticationRequiredOnSetup": replace(SECURE, last4="3155"),
        "authenticationRequiredChargeDeclinedInsufficientFunds": replace(SECURE, last4="8341", decline=FUNDS),
        "pendingRefund": Behaviour(last4="7726", refund="pending_succeeded"),
        "refundFail": Behaviour(last4="5126", refund="succeeded_failed"),
        "pendingRefundFail": Behaviour(last4="7727", refund="pending_failed"),
        "riskLevelElevated": Behaviour(last4="9235", risk_level="elevated", risk_score=70),
        "riskLevelHighest": HIGHEST_RISK,
        "avsFail": Behaviour(last4="0010", address_line1_check="fail", address_postal_code_check="fail"),
        "avsLine1Fail": Behaviour(last4="0028", address_line1_check="fail", address_postal_code_check="pass"),
        "avsZipFail": Behaviour(last4="0036", address_line1_check="pass", address_postal_code_check="fail"),
        "avsUnchecked": Behaviour(
            last4="0044", address_line1_check="unavailable", address_postal_code_check="unavailable"
        ),
        "createDispute": Behaviour(last4="0259", dispute="fraudulent"),
        "createDisputeProductNotReceived": Behaviour(last4="2685", dispute="product_not_received"),
        "createDisputeInquiry": Behaviour(last4="1976", dispute="inquiry"),
        "cvcCheckFail": Behaviour(last4="0101", cvc_check="fail"),
        "bypassPending": Behaviour(last4="0077", bypass_pending=True),
    }
)

ASYNCHRONOUS = Behaviour(type="upi", brand="", last4="6789", asynchronous=True, settles="success")
BANK = replace(ASYNCHRONOUS, type="us_bank_account")

COURSES: dict[str, Literal["success", "failure"] | None] = {
    "success": "success",
    "failure": "failure",
    "processing": None,
}
OTHERS = {
    f"{name}_{course}": replace(ASYNCHRONOUS, type=kind, settles=settles)
    for name, kind in (("upi", "upi"), ("netbanking", "fpx"))
    for course, settles in COURSES.items()
} | {
    "usBankAccount": BANK,
    "usBankAccount_success": BANK,
    "usBankAccount_processing": replace(BANK, settles=None),
    "usBankAccount_failure": replace(BANK, settles="failure"),
    "usBankAccount_accountClosed": replace(BANK, settles="failure", failure_code="account_closed"),
    "usBankAccount_noAccount": replace(BANK, settles="failure", failure_code="no_account"),
    "usBankAccount_insufficientFunds": replace(BANK, settles="failure", failure_code="insufficient_funds"),
    "usBankAccount_debitNotAuthorized": replace(BANK, settles="failure", failure_code="debit_not_authorized"),
    "wallet_success": Behaviour(type="cashapp", brand="", last4=""),
    "wallet_failure": Behaviour(type="cashapp", brand="", last4="", decline=GENERIC),
}

BEHAVIOURS = CARDS | OTHERS

# Every documented spelling of a name; `tok_visa_chargeDeclined` and `tok_chargeDeclined` are the same card.
TOKENS = {f"tok_{name}": name for name in CARDS} | {f"tok_visa_{name}": name for name in CARDS if name not in BRANDS}
METHODS = (
    {f"pm_card_{name}": name for name in CARDS}
    | {f"pm_card_visa_{name}": name for name in CARDS if name not in BRANDS}
    | {f"pm_{name}": name for name in OTHERS}
)


def look_up(name: str, table: dict[str, str]) -> tuple[str, bool] | None:
    """The behaviour behind a name and whether the name is single-use; None for an unknown name."""
    if name in table:
        return table[name], False
    base = name
    while "_" in base:
        base = base.rpartition("_")[0]
        if base in table and len(name) > len(base) + 1:
            return table[base], True
    return None
