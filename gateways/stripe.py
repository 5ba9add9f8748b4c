"""Stripe behind the Psp protocol, over the official SDK and one aiohttp session.

Start at `translate` (every error of the boundary becomes a refusal or an unknown, nowhere else), then `StripePsp`.
"""

import asyncio
import json
import logging
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, TypeVar, cast
from urllib.parse import quote

import aiohttp
import stripe
from prometheus_client import Counter, Histogram
from stripe import oauth_error

from domain.money import MoneyError, exponent, to_major
from domain.psp import (
    ChargeLookup,
    ChargeOutcome,
    ChargeRequest,
    ChargeResult,
    Failure,
    NextAction,
    PspEvent,
    PspEventKind,
    PspFee,
    RefundOutcome,
    RefundRequest,
    RefundResult,
    WebhookRejected,
)
from gateways.guard import Guard, Refused, Verdict

stripe.enable_telemetry = False
# At DEBUG the SDK logs request bodies, at INFO error messages that quote the token; STRIPE_LOG prints both to stderr.
logging.getLogger("stripe").setLevel(logging.WARNING)
stripe._util.STRIPE_LOG = None

WEBHOOK_TOLERANCE_S = 300
PAGE_SIZE = 100
PAGES_MAX = 50
"""A look-up reads at most 5,000 objects; past that it says UNKNOWN `incomplete` rather than that there is nothing."""

NEAR = timedelta(minutes=20)
"""Stripe lists the newest first: in a long window of a busy account the pages end before the charge, which was most
likely made near the window's beginning."""

_CALLS = Counter(
    "paysaga_psp_calls", "PSP operations by outcome; of an unknown, its reason", ["psp", "operation", "outcome"]
)
_SECONDS = Histogram(
    "paysaga_psp_call_seconds",
    "Duration of PSP operations",
    ["psp", "operation"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40),
)

R = TypeVar("R", ChargeResult, RefundResult)
Object = dict[str, Any]
"""A Stripe object as it came over the wire."""


# --- The boundary: what can go wrong, and what it means ---------------------------------------------------------------

REFUSAL = "refusal"
BY_STATUS = "by status"

ERRORS: dict[type[Exception], str] = {
    # A refusal is Stripe's definite word that the request was not carried out.
    stripe.CardError: REFUSAL,
    stripe.InvalidRequestError: REFUSAL,
    # The key was used with other parameters: something else was done under it, so this is never a decline.
    stripe.IdempotencyError: "key_reused",
    stripe.RateLimitError: "rate_limited",
    stripe.AuthenticationError: "credentials",
    stripe.PermissionError: "credentials",
    stripe.APIConnectionError: "connection",
    stripe.APIError: BY_STATUS,
    stripe.StripeError: BY_STATUS,
    # Errors of the v2 API, of OAuth and of webhooks: no call of ours can get one, so none of them proves anything.
    **dict.fromkeys(
        (
            stripe.StripeErrorWithParamCode,
            stripe.SignatureVerificationError,
            stripe.AlreadyCanceledError,
            stripe.BlockedByStripeError,
            stripe.CannotProceedError,
            stripe.CapabilityNotEnabledError,
            stripe.ControlledByAlternateResourceError,
            stripe.FeatureNotEnabledError,
            stripe.FinancialAccountNotOpenError,
            stripe.FxQuoteNeedsRefreshError,
            stripe.InsufficientFundsError,
            stripe.InvalidPaymentMethodError,
            stripe.InvalidPayoutMethodError,
            stripe.InvalidVaultedCredentialError,
            stripe.NotCancelableError,
            stripe.QuotaExceededError,
            stripe.RecipientNotNotifiableError,
            stripe.TemporarySessionExpiredError,
            stripe.VerificationAttemptFailedError,
            stripe.VerificationExpiredError,
            stripe.VerificationNotInitiatedError,
            oauth_error.OAuthError,
            oauth_error.InvalidClientError,
            oauth_error.InvalidGrantError,
            oauth_error.InvalidRequestError,
            oauth_error.InvalidScopeError,
            oauth_error.UnsupportedGrantTypeError,
            oauth_error.UnsupportedResponseTypeError,
        ),
        "unrecognised",
    ),
    aiohttp.ServerTimeoutError: "timeout",
    TimeoutError: "timeout",
    aiohttp.ClientError: "connection",
    OSError: "connection",
    # After a request was sent, an error of any other kind is an answer that could not be read.
    Exception: "malformed",
}

_FAULTS = frozenset({"timeout", "connection", "server_error", "malformed"})
"""Reasons that speak of Stripe's health. A replayed 500 does not: it is an old answer, given by a healthy server."""

_CODES_IN_FLIGHT = frozenset({"idempotency_key_in_use", "lock_timeout"})
_CODES_OF_CREDENTIALS = frozenset(
    {
        "api_key_expired",
        "livemode_mismatch",
        "platform_api_key_expired",
        "secret_key_required",
        "testmode_charges_only",
    }
)
"""Refusals of our configuration, not of the payment: it waits until somebody has put that right."""


class Unanswered(Exception):
    """No answer that can be trusted; `reason` as in ChargeResult."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refusal(Exception):
    """Stripe refused the request. `error` is its error object, which may hold the PaymentIntent it happened to."""

    def __init__(self, error: Object) -> None:
        super().__init__(error.get("code"))
        self.error = error
        self.code = error.get("code")


def translate(error: Exception) -> Unanswered | Refusal:
    """The one translation of this boundary. Only Stripe's own definite word becomes a Refusal."""
    meaning = next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)
    if not isinstance(error, stripe.StripeError):
        return Unanswered(meaning)
    if error.http_status == 409:
        return Unanswered("in_flight")
    if meaning == BY_STATUS:
        return Unanswered(_reason_of_status(error.http_status or 0, error.headers or {}))
    return _refusal(error) if meaning == REFUSAL else Unanswered(meaning)


def _reason_of_status(status: int, headers: Mapping[str, str]) -> str:
    """For answers that carry no error object that the SDK could read."""
    if status >= 500:
        # Stripe keeps a 500 under its key like any other answer, so the same key can never succeed again.
        return "server_error_replayed" if headers.get("Idempotent-Replayed") == "true" else "server_error"
    if 200 <= status < 300:
        return "malformed"
    return {429: "rate_limited", 401: "credentials", 403: "credentials"}.get(status, "unrecognised")


def _refusal(error: stripe.StripeError) -> Unanswered | Refusal:
    body = error.json_body.get("error") if isinstance(error.json_body, dict) else None
    if not isinstance(body, dict) or body.get("type") not in ("card_error", "invalid_request_error"):
        return Unanswered("unrecognised")
    if body.get("code") in _CODES_IN_FLIGHT:
        return Unanswered("in_flight")
    if body.get("code") in _CODES_OF_CREDENTIALS:
        return Unanswered("credentials")
    return Refusal(body)


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
    return _failure(code, words[0] if words else None)


def _failure(code: str, psp_code: str | None = None) -> Failure:
    return Failure(code=code, message=_MESSAGES.get(code, "The payment was declined."), psp_code=psp_code)


# --- Amounts: ours are ISO 4217's minor units, Stripe's are its own --------------------------------------------------
# https://docs.stripe.com/currencies

_ZERO_DECIMALS = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())  # noqa: SIM905
"""MGA has two decimals in ISO 4217. UGX and ISK have none there, but Stripe still takes them with two."""

_THREE_DECIMALS = frozenset("BHD JOD KWD OMR TND".split())  # noqa: SIM905
"""Stripe takes three decimals, of which the last must be 0. HUF and TWD have two; only payouts are in whole units."""

_SMALLEST: dict[str, int] = {
    # In Stripe's units. A currency that is not listed has no documented minimum of its own.
    **dict.fromkeys("USD ARS AUD BRL CAD CHF COP EUR IDR ILS INR JPY KRW NZD PHP RUB SGD ZAR".split(), 50),  # noqa: SIM905
    **{"GBP": 30, "BGN": 100, "AED": 200, "MYR": 200, "PLN": 200, "RON": 200, "DKK": 250, "NOK": 300, "SEK": 300},
    **{"HKD": 400, "MXN": 1000, "THB": 1000, "CZK": 1500, "HUF": 17500},
}
_LARGEST: dict[str, int] = {"IDR": 999_999_999_999}
_LARGEST_ELSE = 99_999_999
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

_ACTION_URLS = ("url", "hosted_instructions_url", "hosted_verification_url", "stripe_js")
"""Where the different kinds of `next_action` keep a page; `stripe_js` is the page behind `use_stripe_sdk`."""

_UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


def charge_result(intent: Any) -> ChargeResult:
    """A PaymentIntent in our words; one that cannot be read is UNKNOWN, with its reference where it has one."""
    try:
        return _read_intent(intent)
    except _UNREADABLE:
        reference = intent.get("id") if isinstance(intent, dict) else None
        return _unknown_charge("malformed", reference if isinstance(reference, str) else None)


def _read_intent(intent: Object) -> ChargeResult:
    if intent["object"] != "payment_intent":
        raise ValueError("not a PaymentIntent")
    outcome = _CHARGE_OUTCOMES.get(intent["status"], ChargeOutcome.UNKNOWN)
    taken = outcome is ChargeOutcome.SUCCEEDED
    currency = intent["currency"].upper()
    amount = from_stripe(intent["amount_received" if taken else "amount"], currency)
    if taken and amount <= 0:
        raise ValueError("succeeded, and nothing was taken")
    return ChargeResult(
        outcome=outcome,
        reference=intent["id"],
        amount=amount,
        currency=currency,
        fee=_fee(intent.get("latest_charge")) if taken else None,
        failure=_why_not_paid(outcome, intent.get("last_payment_error")),
        next_action=_next_action(intent) if outcome is ChargeOutcome.REQUIRES_ACTION else None,
        reason="unrecognised" if outcome is ChargeOutcome.UNKNOWN else None,
    )


def _why_not_paid(outcome: ChargeOutcome, error: Object | None) -> Failure | None:
    """Of a decline always something; of a cancelled charge the decline before it, if there was one."""
    if outcome is ChargeOutcome.DECLINED or (outcome is ChargeOutcome.VOIDED and error):
        return failure_of(error or {}, attempted=True)
    return None


def _result_for(intent: Object, reference: str, charge_id: str) -> ChargeResult:
    """`charge_result` of an answer about the PaymentIntent asked for, provided that it carries our charge's id."""
    if intent.get("id") != reference or _carried(intent, "paysaga_charge") != charge_id:
        return _unknown_charge("another_charge")  # without a reference: the answer's is not ours to keep
    return charge_result(intent)


def _carried(thing: Object, name: str) -> object:
    """What we wrote on an object of Stripe's under this name; None if nothing."""
    metadata = thing.get("metadata")
    return metadata.get(name) if isinstance(metadata, dict) else None


def _fee(charge: Any) -> PspFee | None:
    """The fee, where the balance transaction is there and readable; reconciliation books what is missing here."""
    try:
        entry = charge["balance_transaction"]
        currency = entry["currency"].upper()
        return PspFee(
            reference=entry["id"],
            amount=from_stripe(entry["fee"], currency),
            currency=currency,
            available_on=_time(entry["available_on"]) if entry.get("available_on") else None,
        )
    except _UNREADABLE:
        return None


def _next_action(intent: Object) -> NextAction | None:
    """The page to send the buyer to; None where Stripe offers none (then the webhook or the deadline moves it on)."""
    action = intent.get("next_action") or {}
    details = action.get(action.get("type"))
    urls = [details.get(name) for name in _ACTION_URLS] if isinstance(details, dict) else []
    url = next((url for url in urls if isinstance(url, str) and url.startswith(("https://", "http://"))), None)
    return NextAction(url=url) if url else None


def _time(seconds: Any) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def refund_result(refund: Any) -> RefundResult:
    """A Refund in our words; one that cannot be read is UNKNOWN."""
    try:
        if refund["object"] != "refund":
            return _unknown_refund("malformed")
        outcome = _REFUND_OUTCOMES.get(refund["status"], RefundOutcome.UNKNOWN)
        currency = refund["currency"].upper()
        failed = "refund_canceled" if refund["status"] == "canceled" else "refund_failed"
        return RefundResult(
            outcome=outcome,
            reference=refund["id"],
            amount=from_stripe(refund["amount"], currency),
            currency=currency,
            failure=_failure(failed, refund.get("failure_reason")) if outcome is RefundOutcome.FAILED else None,
            reason="unrecognised" if outcome is RefundOutcome.UNKNOWN else None,
        )
    except _UNREADABLE:
        return _unknown_refund("malformed")


def _unknown_charge(reason: str, reference: str | None = None) -> ChargeResult:
    return ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=reason, reference=reference)


def _unknown_refund(reason: str) -> RefundResult:
    return RefundResult(outcome=RefundOutcome.UNKNOWN, reason=reason)


# --- The requests -----------------------------------------------------------------------------------------------------

_METHOD_TYPES = {
    # A wallet (Apple Pay, Google Pay) hands over a card token: for Stripe it is a card.
    "card": "card",
    "wallet": "card",
    "upi": "upi",
    "netbanking": "netbanking",
}

_REFUND_REASONS = {
    # Stripe knows three words. `fraudulent` also puts the buyer on its block list, so nothing else maps to it.
    "duplicate": "duplicate",
    "fraudulent": "fraudulent",
    "requested_by_customer": "requested_by_customer",
}

INTENTS = "/v1/payment_intents"
REFUNDS = "/v1/refunds"
_EXPAND_FEE: Object = {"expand": ["latest_charge.balance_transaction"]}


def _path(collection: str, reference: str, action: str | None = None) -> str:
    path = f"{collection}/{quote(reference, safe='')}"
    return f"{path}/{action}" if action else path


def _charge_params(request: ChargeRequest, return_url: str | None) -> Object:
    token = request.token
    source: Object = {"payment_method": token}
    if token.startswith("tok_"):
        source = {"payment_method_data": {"type": "card", "card": {"token": token}}}
    params: Object = {
        "amount": to_stripe(request.amount, request.currency),
        "currency": request.currency.lower(),
        "confirm": True,
        # Stripe's default captures a moment after it answered, and then the answer has no fee yet.
        "capture_method": "automatic",
        "payment_method_types": [_METHOD_TYPES[request.method]],
        "description": request.description,
        "metadata": {
            **request.metadata,
            "paysaga_payment": request.payment_id,
            "paysaga_charge": request.charge_id,
            "paysaga_key": request.key,
        },
        **_EXPAND_FEE,
        **source,
    }
    if request.receipt_email:
        params["receipt_email"] = request.receipt_email
    if return_url:
        params["return_url"] = return_url
    return params


def _refund_params(request: RefundRequest) -> Object:
    params: Object = {
        "payment_intent" if request.charge_reference.startswith("pi_") else "charge": request.charge_reference,
        "amount": to_stripe(request.amount, request.currency),
        "metadata": {
            **request.metadata,
            "paysaga_refund": request.refund_id,
            "paysaga_key": request.key,
            "paysaga_reason": request.reason[:500],
        },
    }
    if request.reason in _REFUND_REASONS:
        params["reason"] = _REFUND_REASONS[request.reason]
    return params


class _Http(stripe.HTTPClient):
    """The SDK's transport over one aiohttp session, opened in the loop that first uses it.

    The SDK's own AIOHTTPClient leaves the body of a cancelled call unread and its connection behind. Here a call that
    is cancelled (that is how a timeout ends it) closes its connection. Errors go up as they are, for `translate`.
    """

    name = "aiohttp"

    def __init__(self, *, own_certificates: bool) -> None:
        super().__init__()
        # Stripe's own list of authorities for Stripe; the system's for whatever stands at another address.
        self._tls = ssl.create_default_context(cafile=stripe.ca_bundle_path if own_certificates else None)
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The guard bounds the calls under way; a second bound here would be a hidden queue.
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                # No timeout of aiohttp's: it rounds them up to whole seconds. `_send` sets an exact one.
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        request = self._open().request(method, url, headers=headers, data=post_data, allow_redirects=False)
        async with request as response:
            body = await response.read()
        if response.status >= 500:
            # Where the body is no JSON, the SDK drops the headers, and with them Idempotent-Replayed.
            raise stripe.APIError("server error", body, response.status, None, cast("dict[str, str]", response.headers))
        return body, response.status, response.headers

    async def close_async(self) -> None:
        if self._session is not None:
            await self._session.close()


class StripePsp:
    """The adapter. One instance belongs to one event loop; `close` ends its connections.

    `base_url` points it at another server than Stripe's; `webhook_secrets` are all accepted, for rotation;
    `currencies` are those the account settles in; `return_url` is where 3DS sends the buyer back to (without it
    Stripe may offer a step for its own JavaScript only); `account_id` is the Connect account whose events are taken.
    """

    def __init__(
        self,
        *,
        api_key: str,
        guard: Guard,
        currencies: Collection[str],
        webhook_secrets: Sequence[str] = (),
        base_url: str | None = None,
        key_life_s: float = 86_400,
        return_url: str | None = None,
        account_id: str | None = None,
        name: str = "stripe",
    ) -> None:
        self.name = name
        self.key_life_s = key_life_s
        self._guard = guard
        self._currencies = frozenset(currencies)
        self._webhook_secrets = tuple(webhook_secrets)
        self._return_url = return_url
        self._account_id = account_id
        self._live = "_live_" in api_key
        self._http = _Http(own_certificates=base_url is None)
        client = stripe.StripeClient(
            api_key,
            http_client=self._http,
            base_addresses={"api": base_url.rstrip("/")} if base_url else None,
            max_network_retries=0,
        )
        # Answers are read as plain dicts: turning them into the SDK's objects takes as much CPU as all the rest.
        self._request = cast("Callable[..., Awaitable[Any]]", client.raw_request_async)

    async def close(self) -> None:
        await self._http.close_async()

    # --- Amounts ---

    def check_amount(self, amount: int, currency: str) -> Failure | None:
        if currency not in self._currencies:
            return Failure(code="currency_not_settled", message=f"Payments in {currency} are not accepted.")
        precision = self.check_part(amount, currency)
        if precision is not None:
            return precision
        sent = to_stripe(amount, currency)
        if sent < _SMALLEST.get(currency, 1):
            return _failure("amount_too_small")
        return _failure("amount_too_large") if sent > _LARGEST.get(currency, _LARGEST_ELSE) else None

    def check_part(self, amount: int, currency: str) -> Failure | None:
        try:
            to_stripe(amount, currency)
        except MoneyError as error:
            return Failure(code=error.code, message=str(error))
        return None

    # --- Charges ---

    async def charge(self, request: ChargeRequest, *, timeout_s: float) -> ChargeResult:
        return await self._run("charge", timeout_s, _unknown_charge, partial(self._charge, request))

    async def _charge(self, request: ChargeRequest, deadline: float) -> ChargeResult:
        try:
            params = _charge_params(request, self._return_url)
        except MoneyError as error:
            # `check_amount` refuses these. No decline: an earlier attempt under this key may have been sent.
            raise Unanswered(error.code) from None
        try:
            intent = await self._send(deadline, "post", INTENTS, params, key=request.key)
        except Refusal as refusal:
            return _declined(refusal)
        if _carried(intent, "paysaga_charge") not in (None, request.charge_id):
            return _unknown_charge("key_reused")
        return charge_result(intent)

    async def retrieve_charge(self, reference: str, *, charge_id: str, timeout_s: float) -> ChargeResult:
        steps = partial(self._retrieve, reference, charge_id)
        return await self._run("retrieve_charge", timeout_s, _unknown_charge, steps)

    async def _retrieve(self, reference: str, charge_id: str, deadline: float) -> ChargeResult:
        try:
            intent = await self._send(deadline, "get", _path(INTENTS, reference), _EXPAND_FEE)
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return ChargeResult(outcome=ChargeOutcome.NOT_FOUND)
            raise Unanswered("unrecognised") from None
        return _result_for(intent, reference, charge_id)

    async def find_charge(self, lookup: ChargeLookup, *, timeout_s: float) -> ChargeResult:
        return await self._run("find_charge", timeout_s, _unknown_charge, partial(self._find_charge, lookup))

    async def _find_charge(self, lookup: ChargeLookup, deadline: float) -> ChargeResult:
        """First where the charge most likely is, then in the whole window."""
        found: list[Object] = []
        if lookup.created_to - lookup.created_from > NEAR:
            near = lookup.model_copy(update={"created_to": lookup.created_from + NEAR})
            try:
                found = await self._find_intents(near, deadline)
            except Unanswered as unanswered:
                # Incomplete: a charge that was made late may still be among the newest of the whole window.
                if unanswered.reason != "incomplete":
                    raise
        found = found or await self._find_intents(lookup, deadline)
        if not found:
            return ChargeResult(outcome=ChargeOutcome.NOT_FOUND)
        # One key makes one PaymentIntent. Should there be two after all, the one that took money is the one to know.
        best = min(found, key=lambda intent: intent.get("status") != "succeeded")
        return await self._retrieve(str(best.get("id")), lookup.charge_id, deadline)  # its present state, with the fee

    async def _find_intents(self, lookup: ChargeLookup, deadline: float) -> list[Object]:
        # Stripe's times are whole seconds: the window is widened to them.
        created = {"gte": int(lookup.created_from.timestamp()), "lte": int(lookup.created_to.timestamp()) + 1}

        def is_ours(intent: Object) -> bool:
            return _carried(intent, "paysaga_charge") == lookup.charge_id

        return await self._find(deadline, INTENTS, {"created": created}, is_ours, first_only=True)

    async def void_charge(self, reference: str, *, charge_id: str, key: str, timeout_s: float) -> ChargeResult:
        steps = partial(self._void, reference, charge_id, key)
        return await self._run("void_charge", timeout_s, _unknown_charge, steps)

    async def _void(self, reference: str, charge_id: str, key: str, deadline: float) -> ChargeResult:
        """Cancel; where Stripe will not, the charge's state says why."""
        # A fresh key each time: Stripe would answer a stored refusal or 500 for as long as the key lives, though the
        # charge can be cancelled by now. No key is needed for safety: no money can move twice by cancelling twice.
        fresh_key = f"{key}:{secrets.token_hex(8)}"
        try:
            path = _path(INTENTS, reference, "cancel")
            intent = await self._send(deadline, "post", path, _EXPAND_FEE, key=fresh_key)
        except Refusal:
            state = await self._retrieve(reference, charge_id, deadline)
        else:
            state = _result_for(intent, reference, charge_id)
        return _unknown_charge("unrecognised", reference) if _can_still_be_paid(state) else state

    # --- Refunds ---

    async def refund(self, request: RefundRequest, *, timeout_s: float) -> RefundResult:
        return await self._run("refund", timeout_s, _unknown_refund, partial(self._refund, request))

    async def _refund(self, request: RefundRequest, deadline: float) -> RefundResult:
        try:
            params = _refund_params(request)
        except MoneyError as error:
            raise Unanswered(error.code) from None
        try:
            refund = await self._send(deadline, "post", REFUNDS, params, key=request.key)
        except Refusal as refusal:
            # "Already refunded" and "more than what is left" may be the echo of this very refund: Stripe forgets keys.
            ours = await self._find_refund(request.refund_id, request.charge_reference, request.key, deadline)
            if ours.outcome is RefundOutcome.NOT_FOUND:
                return RefundResult(outcome=RefundOutcome.FAILED, failure=failure_of(refusal.error))
            return _as_asked(ours, request)
        return _as_asked(refund_result(refund), request)

    async def retrieve_refund(self, reference: str, *, timeout_s: float) -> RefundResult:
        return await self._run("retrieve_refund", timeout_s, _unknown_refund, partial(self._retrieve_refund, reference))

    async def _retrieve_refund(self, reference: str, deadline: float) -> RefundResult:
        try:
            return refund_result(await self._send(deadline, "get", _path(REFUNDS, reference)))
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return RefundResult(outcome=RefundOutcome.NOT_FOUND)
            raise Unanswered("unrecognised") from None

    async def find_refund(self, refund_id: str, charge_reference: str, *, key: str, timeout_s: float) -> RefundResult:
        steps = partial(self._find_refund, refund_id, charge_reference, key)
        return await self._run("find_refund", timeout_s, _unknown_refund, steps)

    async def _find_refund(self, refund_id: str, charge_reference: str, key: str, deadline: float) -> RefundResult:
        """Of several that carry our id and key the one that did not fail counts."""

        def is_ours(refund: Object) -> bool:
            # Older attempts of the same refund carry their own key, and are not the answer to this one.
            return _carried(refund, "paysaga_refund") == refund_id and _carried(refund, "paysaga_key") in (None, key)

        of_charge = {"payment_intent" if charge_reference.startswith("pi_") else "charge": charge_reference}
        found = await self._find(deadline, REFUNDS, of_charge, is_ours)
        results = [refund_result(refund) for refund in found]
        results.sort(key=lambda result: result.outcome is RefundOutcome.FAILED)
        return results[0] if results else RefundResult(outcome=RefundOutcome.NOT_FOUND)

    # --- Webhooks ---

    def read_webhook(self, body: bytes, headers: dict[str, str]) -> PspEvent:
        signature = next((value for name, value in headers.items() if name.lower() == "stripe-signature"), None)
        if not signature:
            raise WebhookRejected("webhook_signature_missing", "The Stripe-Signature header is missing.")
        self._verify(body, signature)
        event = _parse_event(body)
        if event["livemode"] is not self._live:
            raise WebhookRejected("webhook_wrong_mode", "Live and test events are not mixed.")
        if event.get("account") not in (None, self._account_id):
            raise WebhookRejected("webhook_wrong_account", "The event is another account's.")
        try:
            return _read_event(event)
        except _UNREADABLE:
            raise WebhookRejected("webhook_malformed", "The event's object cannot be read.") from None

    def _verify(self, body: bytes, signature: str) -> None:
        """The signature first, then the age: only a genuine event can be stale."""
        secret = next((s for s in self._webhook_secrets if _is_signed(body, signature, s, tolerance_s=None)), None)
        if secret is None:
            raise WebhookRejected("webhook_signature_invalid", "The signature matches none of the secrets.")
        if not _is_signed(body, signature, secret, tolerance_s=WEBHOOK_TOLERANCE_S):
            raise WebhookRejected("webhook_stale", f"The event was signed over {WEBHOOK_TOLERANCE_S} s ago.")

    # --- How a request travels ---

    async def _run(
        self,
        operation: str,
        timeout_s: float,
        unknown: Callable[[str], R],
        steps: Callable[[float], Awaitable[R]],
    ) -> R:
        """All requests of one operation under one deadline, measured; what has no answer becomes its `unknown`."""
        started = time.perf_counter()
        try:
            result = await steps(asyncio.get_running_loop().time() + timeout_s)
        except Unanswered as unanswered:
            result = unknown(unanswered.reason)
        _SECONDS.labels(self.name, operation).observe(time.perf_counter() - started)
        _CALLS.labels(self.name, operation, result.reason or result.outcome.value.lower()).inc()
        return result

    async def _send(
        self, deadline: float, method: str, path: str, params: Object | None = None, *, key: str | None = None
    ) -> Object:
        """One request through the guard; the body of a 2xx answer. Raises Unanswered or Refusal, and nothing else."""
        options = {"idempotency_key": key} if key else {}
        try:
            async with self._guard.admit() as permit:
                try:
                    async with asyncio.timeout_at(deadline):
                        answer = await self._request(method, path, **(params or {}), **options)
                    body = answer.data
                    if not isinstance(body, dict):
                        raise TypeError("not a Stripe object")
                except Exception as error:  # noqa: BLE001 - see the last row of ERRORS
                    trouble = translate(error)
                    permit.verdict = _verdict(trouble)
                    # Without its cause, which quotes the request: no traceback shall show a token.
                    raise trouble from None
                permit.verdict = Verdict.ANSWERED
                return body
        except Refused as refused:
            raise Unanswered(refused.reason) from None

    async def _find(
        self,
        deadline: float,
        path: str,
        params: Object,
        is_ours: Callable[[Object], bool],
        *,
        first_only: bool = False,
    ) -> list[Object]:
        """The listed objects that are ours. Raises Unanswered `incomplete` past PAGES_MAX pages."""
        found: list[Object] = []
        query = {**params, "limit": PAGE_SIZE}
        for _ in range(PAGES_MAX):
            page = await self._send(deadline, "get", path, query)
            try:
                items = list(page["data"])
                found += [item for item in items if is_ours(item)]
                query = {**query, "starting_after": items[-1]["id"]} if items else query
                more = page["has_more"]
            except _UNREADABLE:
                raise Unanswered("malformed") from None
            if not more or not items or (found and first_only):
                return found
        raise Unanswered("incomplete")


def _declined(refusal: Refusal) -> ChargeResult:
    """A refused charge. The PaymentIntent inside the error is believed over the error: it may be paid after all."""
    intent = refusal.error.get("payment_intent")
    if intent is None:
        return ChargeResult(outcome=ChargeOutcome.DECLINED, failure=failure_of(refusal.error))
    result = charge_result(intent)
    if result.outcome is not ChargeOutcome.DECLINED:
        return result
    return result.model_copy(update={"failure": failure_of(refusal.error)})


def _can_still_be_paid(state: ChargeResult) -> bool:
    return state.outcome in (ChargeOutcome.DECLINED, ChargeOutcome.REQUIRES_ACTION, ChargeOutcome.AUTHORIZED)


def _as_asked(result: RefundResult, request: RefundRequest) -> RefundResult:
    """A refund of another amount than was asked for is UNKNOWN: what it did has to be looked at by a person."""
    asked = (request.amount, request.currency)
    if result.outcome is RefundOutcome.UNKNOWN or (result.amount, result.currency) == asked:
        return result
    mismatch = {"outcome": RefundOutcome.UNKNOWN, "failure": None, "reason": "amount_mismatch"}
    return result.model_copy(update=mismatch)


def _verdict(trouble: Unanswered | Refusal) -> Verdict:
    if isinstance(trouble, Refusal):
        return Verdict.ANSWERED
    if trouble.reason == "rate_limited":
        return Verdict.THROTTLED
    return Verdict.FAULT if trouble.reason in _FAULTS else Verdict.ANSWERED


def _is_signed(body: bytes, signature: str, secret: str, *, tolerance_s: int | None) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, tolerance_s)
    except (stripe.SignatureVerificationError, TypeError, ValueError):
        return False  # TypeError, ValueError: characters outside ASCII, a body that is no UTF-8
    return True


def _parse_event(body: bytes) -> Object:
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
}

_PAID_TYPES = frozenset({"payment_intent.succeeded", "charge.succeeded", "charge.captured"})


def _read_event(event: Object) -> PspEvent:
    thing = event["data"]["object"]
    is_charge = thing.get("object") == "charge"
    metadata = thing.get("metadata") or {}
    return PspEvent(
        event_id=event["id"],
        type=event["type"],
        kind=_EVENT_KINDS.get(thing.get("object"), PspEventKind.OTHER),
        created_at=_time(event["created"]),
        # Our charges are PaymentIntents: an event on the charge inside one names the PaymentIntent.
        reference=(thing.get("payment_intent") if is_charge else None) or thing.get("id"),
        charge_id=metadata.get("paysaga_charge"),
        refund_id=metadata.get("paysaga_refund"),
        # charge.succeeded also tells of a mere authorisation, which took nothing yet.
        paid=event["type"] in _PAID_TYPES and thing.get("captured", True) is True,
        refund_failed=thing.get("object") == "refund" and thing.get("status") in ("failed", "canceled"),
        payload=event,
    )
