"""Stripe's objects → ours: why something was declined, amounts, charges, refunds, disputes, cards and events. No I/O.
Transfers and payouts are in `stripe_payout_objects`, what moved our balance in `stripe_line_objects`.

What cannot be read is UNKNOWN, or left out where nothing depends on it; nothing raises but where a docstring says so.
"""

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from domain.model import Failure
from domain.money import MoneyError, exponent, to_major
from domain.psp import (
    CardChecks,
    CardFacts,
    ChargeOutcome,
    ChargeResult,
    DisputeMoney,
    DisputeOutcome,
    DisputeResult,
    NextAction,
    PspEvent,
    PspEventKind,
    PspFee,
    RefundOutcome,
    RefundResult,
    WebhookRejected,
)

Object = dict[str, Any]
"""A Stripe object as it came over the wire."""


# --- Why it was declined ----------------------------------------------------------------------------------------------

_FAILURE_CODES: dict[str, str] = {
    # Stripe's decline code or error code → ours. https://docs.stripe.com/declines/codes, …/error-codes
    "insufficient_funds": "insufficient_funds",
    "expired_card": "expired_card",
    "expired_payment_method": "expired_card",
    "incorrect_cvc": "incorrect_cvc",
    "invalid_cvc": "incorrect_cvc",
    "incorrect_number": "incorrect_number",
    "invalid_number": "incorrect_number",
    "invalid_expiry_month": "invalid_expiry",
    "invalid_expiry_year": "invalid_expiry",
    "incorrect_address": "incorrect_address",
    "incorrect_zip": "incorrect_address",
    "authentication_required": "authentication_required",
    "payment_intent_authentication_failure": "authentication_failed",
    "processing_error": "processing_error",
    "issuer_not_available": "processing_error",
    "reenter_transaction": "processing_error",
    "try_again_later": "processing_error",
    "lost_card": "lost_or_stolen_card",
    "stolen_card": "lost_or_stolen_card",
    "pickup_card": "lost_or_stolen_card",
    "fraudulent": "fraud_suspected",
    "merchant_blacklist": "fraud_suspected",
    "security_violation": "fraud_suspected",
    "card_velocity_exceeded": "card_limit_exceeded",
    "withdrawal_count_limit_exceeded": "card_limit_exceeded",
    "card_not_supported": "card_not_supported",
    "service_not_allowed": "card_not_supported",
    "transaction_not_allowed": "card_not_supported",
    "currency_not_supported": "currency_not_supported",
    "payment_method_currency_mismatch": "currency_not_supported",
    "payment_method_customer_decline": "buyer_declined",
    "payment_method_provider_decline": "payment_method_declined",
    "payment_intent_payment_attempt_failed": "payment_method_declined",
    "account_closed": "payment_method_declined",
    "bank_account_declined": "payment_method_declined",
    "debit_not_authorized": "payment_method_declined",
    "no_account": "payment_method_declined",
    "payment_method_provider_timeout": "payment_expired",
    "payment_intent_payment_attempt_expired": "payment_expired",
    "amount_too_small": "amount_too_small",
    "amount_too_large": "amount_too_large",
    "token_already_used": "payment_method_rejected",
    "token_in_use": "payment_method_rejected",
    "resource_missing": "payment_method_rejected",
    "charge_already_refunded": "charge_already_refunded",
    "charge_disputed": "charge_disputed",
    "refund_disputed_payment": "charge_disputed",
    "balance_insufficient": "psp_balance_insufficient",
    "charge_expired_for_capture": "authorization_expired",
    "capture_charge_authorization_expired": "authorization_expired",
}

_MESSAGES: dict[str, str] = {
    # Our own words: Stripe's quote the token. Why a card is blocked is not told to whoever holds it.
    "insufficient_funds": "The account has insufficient funds.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The security code is incorrect.",
    "incorrect_number": "The card number is incorrect.",
    "invalid_expiry": "The expiry date is incorrect.",
    "incorrect_address": "The billing address does not match.",
    "authentication_required": "The bank asks for authentication.",
    "authentication_failed": "The authentication failed.",
    "processing_error": "The card could not be processed; it may work later.",
    "card_limit_exceeded": "The card's limit is exceeded.",
    "card_not_supported": "The card does not support this purchase.",
    "currency_not_supported": "The payment method does not support this currency.",
    "buyer_declined": "The buyer declined the payment.",
    "payment_method_declined": "The payment method was declined.",
    "payment_expired": "The payment was not completed in time.",
    "amount_too_small": "The amount is below the smallest that can be charged.",
    "amount_too_large": "The amount is above the largest that can be charged.",
    "payment_method_rejected": "The payment method does not exist, or cannot be used again.",
    "request_refused": "The PSP refused the request.",
    "charge_already_refunded": "The charge is refunded already.",
    "charge_disputed": "The charge is disputed.",
    "psp_balance_insufficient": "The balance at the PSP is too low.",
    "refund_failed": "The refund did not reach the buyer's account.",
    "refund_canceled": "The refund was cancelled.",
    "authorization_expired": "The authorisation has expired.",
    "evidence_refused": "The PSP did not take the evidence: it came too late, or the dispute is closed.",
}


def failure_of(error: Object, *, attempted: bool = False) -> Failure:
    """Our stable code for Stripe's error object; `attempted`: it is a PaymentIntent's `last_payment_error`."""
    words = [word for word in (error.get("decline_code"), error.get("code")) if isinstance(word, str)]
    code = next((_FAILURE_CODES[word] for word in words if word in _FAILURE_CODES), None)
    if code is None:
        of_method = str(error.get("param") or "").startswith(("payment_method", "source", "card"))
        refused = "payment_method_rejected" if of_method else "request_refused"
        # An attempt was declined by somebody, whatever type its error has (a bank's refusal comes as invalid request).
        code = refused if error.get("type") == "invalid_request_error" and not attempted else "card_declined"
    return failure_with(code, words[0] if words else None)


def failure_with(code: str, psp_code: str | None = None) -> Failure:
    return Failure(code=code, message=_MESSAGES.get(code, "The payment was declined."), psp_code=psp_code)


# --- Amounts: ours are ISO 4217's minor units, Stripe's are its own --------------------------------------------------
# https://docs.stripe.com/currencies

_ZERO_DECIMALS = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())  # noqa: SIM905
"""MGA has two decimals in ISO 4217. UGX and ISK have none there, but Stripe still takes them with two."""

_THREE_DECIMALS = frozenset("BHD JOD KWD OMR TND".split())  # noqa: SIM905
"""Stripe takes three decimals, of which the last must be 0."""

_PAID_OUT_WHOLE = frozenset({"HUF", "TWD"})
"""Charged with two decimals, paid out in whole units."""

SMALLEST: dict[str, int] = {
    # In Stripe's units. A currency that is not listed has no documented minimum of its own.
    **dict.fromkeys("USD ARS AUD BRL CAD CHF COP EUR IDR ILS INR JPY KRW NZD PHP RUB SGD ZAR".split(), 50),  # noqa: SIM905
    **{"GBP": 30, "BGN": 100, "AED": 200, "MYR": 200, "PLN": 200, "RON": 200, "DKK": 250, "NOK": 300, "SEK": 300},
    **{"HKD": 400, "MXN": 1000, "THB": 1000, "CZK": 1500, "HUF": 17500},
}
LARGEST: dict[str, int] = {"IDR": 999_999_999_999}
LARGEST_ELSE = 99_999_999
"""Eight digits; IDR twelve."""


@cache
def _shift(currency: str) -> int:
    """How many decimals more than ISO 4217 Stripe counts. Raises MoneyError `currency_unknown`."""
    decimals = 0 if currency in _ZERO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    return decimals - exponent(currency)


def to_stripe(amount: int, currency: str) -> int:
    """Our minor units → Stripe's. Raises MoneyError `amount_precision` for what Stripe cannot express."""
    shift = _shift(currency)
    sent, lost = (amount * 10**shift, 0) if shift >= 0 else divmod(amount, 10**-shift)
    if lost or (currency in _THREE_DECIMALS and sent % 10):
        text = to_major(amount, currency)
        raise MoneyError("amount_precision", f"{text} {currency} is finer than the PSP can charge or refund.")
    return int(sent)


def to_stripe_payout(amount: int, currency: str) -> int:
    """The same for a payout to a bank."""
    sent = to_stripe(amount, currency)
    if currency in _PAID_OUT_WHOLE and sent % 100:
        raise MoneyError("amount_precision", f"{to_major(amount, currency)} {currency}: only whole units are paid out.")
    return sent


def from_stripe(amount: object, currency: str) -> int:
    """Stripe's units → our minor units. Raises ValueError for what is no whole number of them."""
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise ValueError("not an amount")  # noqa: TRY004 - one error for everything that cannot be read
    shift = _shift(currency)
    ours, lost = (amount * 10**-shift, 0) if shift <= 0 else divmod(amount, 10**shift)
    if lost:
        raise ValueError("not a whole number of minor units")
    return int(ours)


# --- Stripe's objects → our results -----------------------------------------------------------------------------------

_CHARGE_OUTCOMES: dict[str, ChargeOutcome] = {
    "succeeded": ChargeOutcome.SUCCEEDED,
    "requires_action": ChargeOutcome.REQUIRES_ACTION,
    "processing": ChargeOutcome.PENDING,
    "requires_capture": ChargeOutcome.AUTHORIZED,
    "requires_payment_method": ChargeOutcome.DECLINED,
    "canceled": ChargeOutcome.VOIDED,
    # requires_confirmation is left out: we always confirm, so it is a state that cannot be, and UNKNOWN.
}

_REFUND_OUTCOMES: dict[str, RefundOutcome] = {
    "succeeded": RefundOutcome.SUCCEEDED,
    "pending": RefundOutcome.PENDING,
    "requires_action": RefundOutcome.PENDING,
    "failed": RefundOutcome.FAILED,
    "canceled": RefundOutcome.FAILED,
}

_DISPUTE_OUTCOMES: dict[str, DisputeOutcome] = {
    "warning_needs_response": DisputeOutcome.INQUIRY,
    "warning_under_review": DisputeOutcome.INQUIRY,
    "warning_closed": DisputeOutcome.CLOSED,
    "prevented": DisputeOutcome.CLOSED,
    "needs_response": DisputeOutcome.NEEDS_RESPONSE,
    "under_review": DisputeOutcome.UNDER_REVIEW,
    "won": DisputeOutcome.WON,
    "lost": DisputeOutcome.LOST,
    # The appeal_… states are left out: an appeal is made at Stripe, by a person, and a person has to look at it here.
}

_CHECKS = frozenset({"pass", "fail", "unavailable", "unchecked"})
_RISK_LEVELS = frozenset({"normal", "elevated", "highest"})
"""Stripe also says `not_assessed` and `unknown`: there was no check."""

_ACTION_URLS = ("url", "hosted_instructions_url", "hosted_verification_url", "stripe_js")
"""Where the different kinds of `next_action` keep a page; `stripe_js` is the page behind `use_stripe_sdk`."""

UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


def charge_result(intent: Any) -> ChargeResult:
    """A PaymentIntent in our words; one that cannot be read is UNKNOWN, with its reference where it has one."""
    try:
        return _read_intent(intent)
    except UNREADABLE:
        return unknown_charge("malformed", text_or_none(inside(intent, "id")))


def _read_intent(intent: Object) -> ChargeResult:
    if intent["object"] != "payment_intent":
        raise ValueError("not a PaymentIntent")
    outcome = _CHARGE_OUTCOMES.get(intent["status"], ChargeOutcome.UNKNOWN)
    taken, reserved = outcome is ChargeOutcome.SUCCEEDED, outcome is ChargeOutcome.AUTHORIZED
    charge = intent.get("latest_charge")
    card = inside(charge, "payment_method_details", "card") if taken or reserved else None
    currency = intent["currency"].upper()
    amount = from_stripe(intent["amount_received" if taken else "amount"], currency)
    if taken and amount <= 0:
        raise ValueError("succeeded, and nothing was taken")
    return ChargeResult(
        outcome=outcome,
        reference=intent["id"],
        amount=amount,
        currency=currency,
        fee=_fee(charge) if taken else None,
        failure=_why_not_paid(outcome, intent.get("last_payment_error")),
        next_action=_next_action(intent) if outcome is ChargeOutcome.REQUIRES_ACTION else None,
        capture_before=time_or_none(inside(card, "capture_before")) if reserved else None,
        card=card_facts(card),
        checks=_checks(card, inside(charge, "outcome")) if taken or reserved else None,
        reason="unrecognised" if outcome is ChargeOutcome.UNKNOWN else None,
    )


def _why_not_paid(outcome: ChargeOutcome, error: Object | None) -> Failure | None:
    """Of a decline always something; of a cancelled charge the decline before it, if there was one."""
    if outcome is ChargeOutcome.DECLINED or (outcome is ChargeOutcome.VOIDED and error):
        return failure_of(error or {}, attempted=True)
    return None


def result_for(intent: Object, reference: str, charge_id: str) -> ChargeResult:
    """`charge_result` of an answer about the PaymentIntent asked for, provided that it carries our charge's id."""
    if intent.get("id") != reference or carried(intent, "paysaga_charge") != charge_id:
        return unknown_charge("another_charge")  # without a reference: the answer's is not ours to keep
    return charge_result(intent)


def carried(thing: Object, name: str) -> object:
    """What we wrote on an object of Stripe's under this name; None if nothing."""
    return inside(thing, "metadata", name)


def inside(thing: Any, *names: str) -> Any:
    """What an object holds under these names, one inside the other; None where there is no such thing."""
    for name in names:
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def card_facts(card: Any) -> CardFacts | None:
    """What Stripe says of a card, each fact by itself; None if it says nothing."""
    names = ("fingerprint", "country", "brand", "funding")
    facts = {name: fact for name in names if (fact := text_or_none(inside(card, name)))}
    return CardFacts(**facts) if facts else None


def _checks(card: Any, outcome: Any) -> CardChecks | None:
    """The issuer's checks of the card and Stripe's of the charge, each by itself; None if there were none."""
    score = inside(outcome, "risk_score")
    checks = CardChecks(
        address_line=_word(_CHECKS, inside(card, "checks", "address_line1_check")),
        postal_code=_word(_CHECKS, inside(card, "checks", "address_postal_code_check")),
        cvc=_word(_CHECKS, inside(card, "checks", "cvc_check")),
        risk_score=score if type(score) is int and 0 <= score <= 100 else None,
        risk_level=_word(_RISK_LEVELS, inside(outcome, "risk_level")),
    )
    return None if checks == CardChecks() else checks


def text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _word(words: frozenset[str], value: object) -> str | None:
    return value if isinstance(value, str) and value in words else None


def _fee(charge: Any) -> PspFee | None:
    """The fee, where the balance transaction is there and readable; reconciliation books what is missing here."""
    try:
        entry = charge["balance_transaction"]
        currency = entry["currency"].upper()
        return PspFee(
            reference=entry["id"],
            amount=from_stripe(entry["fee"], currency),
            currency=currency,
            available_on=time_of(entry["available_on"]) if entry.get("available_on") else None,
        )
    except UNREADABLE:
        return None


def _next_action(intent: Object) -> NextAction | None:
    """The page to send the buyer to; None where Stripe offers none (then the webhook or the deadline moves it on)."""
    action = intent.get("next_action") or {}
    details = action.get(action.get("type"))
    urls = [details.get(name) for name in _ACTION_URLS] if isinstance(details, dict) else []
    url = next((url for url in urls if isinstance(url, str) and url.startswith(("https://", "http://"))), None)
    return NextAction(url=url) if url else None


def time_of(seconds: Any) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def time_or_none(seconds: Any) -> datetime | None:
    try:
        return time_of(seconds) if seconds else None
    except UNREADABLE:
        return None


def refund_result(refund: Any) -> RefundResult:
    """A Refund in our words; one that cannot be read is UNKNOWN."""
    try:
        if refund["object"] != "refund":
            return unknown_refund("malformed")
        outcome = _REFUND_OUTCOMES.get(refund["status"], RefundOutcome.UNKNOWN)
        currency = refund["currency"].upper()
        failed = "refund_canceled" if refund["status"] == "canceled" else "refund_failed"
        return RefundResult(
            outcome=outcome,
            reference=refund["id"],
            amount=from_stripe(refund["amount"], currency),
            currency=currency,
            failure=failure_with(failed, refund.get("failure_reason")) if outcome is RefundOutcome.FAILED else None,
            reason="unrecognised" if outcome is RefundOutcome.UNKNOWN else None,
        )
    except UNREADABLE:
        return unknown_refund("malformed")


def dispute_result(dispute: Any) -> DisputeResult:
    """A Dispute in our words; one that cannot be read is UNKNOWN, with its reference where it has one."""
    try:
        return _read_dispute(dispute)
    except UNREADABLE:
        return unknown_dispute("malformed", text_or_none(inside(dispute, "id")))


def _read_dispute(dispute: Object) -> DisputeResult:
    charge = dispute.get("payment_intent") or dispute["charge"]
    if dispute["object"] != "dispute" or not dispute["id"] or not charge:
        raise ValueError("not a Dispute")
    outcome = _DISPUTE_OUTCOMES.get(dispute["status"], DisputeOutcome.UNKNOWN)
    currency = dispute["currency"].upper()
    evidence = dispute.get("evidence_details") or {}
    return DisputeResult(
        outcome=outcome,
        reference=dispute["id"],
        charge_reference=charge,
        amount=from_stripe(dispute["amount"], currency),
        currency=currency,
        category=dispute.get("reason"),
        # 0: the issuer takes no answer to this one.
        evidence_due_at=time_of(evidence["due_by"]) if evidence.get("due_by") else None,
        submissions=evidence.get("submission_count") or 0,
        # All of it or none: a movement left out would never be booked.
        money=tuple(_movement(entry) for entry in dispute["balance_transactions"]),
        reason="unrecognised" if outcome is DisputeOutcome.UNKNOWN else None,
    )


def _movement(entry: Object) -> DisputeMoney:
    """One balance transaction, in the currency that the account settles in, which may be another than the dispute's."""
    currency = entry["currency"].upper()
    amount, fee = from_stripe(entry["amount"], currency), from_stripe(entry["fee"], currency)
    return DisputeMoney(reference=entry["id"], amount=amount, fee=fee, currency=currency)


def unknown_charge(reason: str, reference: str | None = None) -> ChargeResult:
    return ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=reason, reference=reference)


def unknown_refund(reason: str) -> RefundResult:
    return RefundResult(outcome=RefundOutcome.UNKNOWN, reason=reason)


def unknown_dispute(reason: str, reference: str | None = None) -> DisputeResult:
    return DisputeResult(outcome=DisputeOutcome.UNKNOWN, reason=reason, reference=reference)


# --- Events -----------------------------------------------------------------------------------------------------------


def parse_event(body: bytes) -> Object:
    """The event, with the members that every event has. Raises WebhookRejected `webhook_malformed`."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        event = None
    shape = {"object": str, "id": str, "type": str, "created": int, "livemode": bool, "data": dict}
    if not isinstance(event, dict) or any(not isinstance(event.get(name), kind) for name, kind in shape.items()):
        raise WebhookRejected("webhook_malformed", "The body is not an event.")
    if event["object"] != "event" or not isinstance(event["data"].get("object"), dict):
        raise WebhookRejected("webhook_malformed", "The body is not an event.")
    return event


_EVENT_KINDS = {
    "payment_intent": PspEventKind.CHARGE,
    "charge": PspEventKind.CHARGE,
    "refund": PspEventKind.REFUND,
    "dispute": PspEventKind.DISPUTE,
}

_PAYOUT_TYPES = {"payout.paid": False, "payout.failed": True, "payout.canceled": True, "transfer.reversed": True}
"""What tells something new of a payout, and whether that is that it did not reach, or left, the seller's bank. That it
was created or is on its way is the answer to our own call, which a message in the midst of it would disturb."""

_PAID_TYPES = frozenset({"payment_intent.succeeded", "charge.succeeded", "charge.captured"})


def is_of_seller(event: Object) -> bool:
    """Whether a connected account's event is one that we take: about a payout from there to the seller's bank."""
    kind: str = event["type"]
    return kind.startswith("payout.") and inside(event, "data", "object", "object") == "payout"


def read_event(event: Object) -> PspEvent:
    """What an event is about. Raises one of UNREADABLE for what cannot be read."""
    thing = event["data"]["object"]
    is_charge = thing.get("object") == "charge"
    metadata = thing.get("metadata") or {}
    kind = _EVENT_KINDS.get(thing.get("object"), PspEventKind.OTHER)
    is_payout = thing.get("object") == "payout" or (
        thing.get("object") == "transfer" and metadata.get("paysaga_payout")
    )
    if is_payout and event["type"] in _PAYOUT_TYPES:
        kind = PspEventKind.PAYOUT
    of_charge = kind in (PspEventKind.REFUND, PspEventKind.DISPUTE)
    amount, currency = _amount_of(thing) if of_charge else (None, None)
    if kind is PspEventKind.DISPUTE and (amount is None or not thing.get("id")):
        raise ValueError("not a Dispute")
    return PspEvent(
        event_id=event["id"],
        type=event["type"],
        kind=kind,
        created_at=time_of(event["created"]),
        # Our charges are PaymentIntents: an event on the charge inside one names the PaymentIntent.
        reference=(thing.get("payment_intent") if is_charge else None) or thing.get("id"),
        charge_reference=(text_or_none(thing.get("payment_intent")) or text_or_none(thing.get("charge")))
        if of_charge
        else None,
        amount=amount,
        currency=currency,
        charge_id=metadata.get("paysaga_charge"),
        refund_id=metadata.get("paysaga_refund"),
        payout_id=metadata.get("paysaga_payout"),
        # charge.succeeded also tells of a mere authorisation, which took nothing yet.
        paid=event["type"] in _PAID_TYPES and thing.get("captured", True) is True,
        payout_failed=kind is PspEventKind.PAYOUT and _PAYOUT_TYPES[event["type"]],
        refund_failed=thing.get("object") == "refund" and thing.get("status") in ("failed", "canceled"),
        payload=event,
    )


def _amount_of(thing: Object) -> tuple[int, str] | tuple[None, None]:
    """Both or neither: an amount without its currency is none."""
    try:
        currency = thing["currency"].upper()
        return from_stripe(thing["amount"], currency), currency
    except UNREADABLE:
        return None, None
