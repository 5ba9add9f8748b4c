"""Stripe's reasons for a decline or a refusal, as stable codes and messages of ours. No I/O."""

from domain.model import Failure
from domain.money import MoneyError
from gateways.settlement_file import free_text
from gateways.stripe.objects import Object

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
    """The failure of our stable code, with its message. The PSP's own word is a code, and masked like any text of
    theirs."""
    return Failure(code=code, message=_MESSAGES.get(code, "The payment was declined."), psp_code=free_text(psp_code))


def inexpressible(error: MoneyError) -> Failure:
    """An amount that Stripe's units cannot express: our own fault, found before anything was sent."""
    return Failure(code=error.code, message=str(error))
