"""How the adapter talks to Stripe: over the official SDK and one aiohttp session, through one guard.

Start at `translate`: every error of the boundary becomes a refusal or an unknown there, and nowhere else.
"""

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import quote

import aiohttp
import stripe
from prometheus_client import Counter, Histogram
from stripe import oauth_error

from gateways.guard import Guard, Refused, Verdict
from gateways.stripe.objects import UNREADABLE, Object

stripe.enable_telemetry = False
# At DEBUG the SDK logs request bodies, at INFO error messages that quote the token; STRIPE_LOG prints both to stderr.
logging.getLogger("stripe").setLevel(logging.WARNING)
stripe._util.STRIPE_LOG = None

PAGE_SIZE = 100
PAGES_MAX = 50
"""A look-up reads at most 5,000 objects; past that it says UNKNOWN `incomplete` rather than that there is nothing."""

_CALLS = Counter(
    "paysaga_psp_calls", "PSP operations by outcome; of an unknown, its reason", ["psp", "operation", "outcome"]
)
_SECONDS = Histogram(
    "paysaga_psp_call_seconds",
    "Duration of PSP operations",
    ["psp", "operation"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40),
)


class Answer(Protocol):
    """What an operation ends with."""

    @property
    def outcome(self) -> StrEnum: ...

    @property
    def reason(self) -> str | None: ...


R = TypeVar("R", bound=Answer)


class LookOutcome(StrEnum):
    """Of a look at something that has no outcome of its own."""

    FOUND = "FOUND"
    NOT_FOUND = "NOT_FOUND"
    UNKNOWN = "UNKNOWN"


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


# --- The requests ---


def path_of(collection: str, reference: str, action: str | None = None) -> str:
    path = f"{collection}/{quote(reference, safe='')}"
    return f"{path}/{action}" if action else path


def fresh(key: str) -> str:
    """A key of its own for each call, for what Stripe does at most once by itself; it begins with ours for the logs."""
    return f"{key}:{secrets.token_hex(8)}"


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


class StripeCalls:
    """What the adapter's parts have in common: the connection, the guard, the measuring."""

    def __init__(self, *, api_key: str, guard: Guard, base_url: str | None, name: str) -> None:
        self.name = name
        self._guard = guard
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

    async def _run(
        self,
        operation: str,
        timeout_s: float,
        unknown: Callable[[str], R],
        steps: Callable[[float], Awaitable[R]],
    ) -> R:
        """All requests of one operation under one deadline, measured; what has no answer becomes its `unknown`, and so
        does a refusal that the operation has no use for (of a list)."""
        started = time.perf_counter()
        try:
            result = await steps(asyncio.get_running_loop().time() + timeout_s)
        except Unanswered as unanswered:
            result = unknown(unanswered.reason)
        except Refusal:
            result = unknown("unrecognised")
        _SECONDS.labels(self.name, operation).observe(time.perf_counter() - started)
        _CALLS.labels(self.name, operation, result.reason or result.outcome.value.lower()).inc()
        return result

    async def _send(
        self,
        deadline: float,
        method: str,
        path: str,
        params: Object | None = None,
        *,
        key: str | None = None,
        account: str | None = None,
    ) -> Object:
        """One request through the guard; the body of a 2xx answer. Raises Unanswered or Refusal, and nothing else.

        `account`: it is made for this connected account, not for our own.
        """
        if account == "":
            # The SDK would leave it out, and our own account pay in the seller's place.
            raise Refusal({"type": "invalid_request_error", "code": "account_invalid"})
        options = {"idempotency_key": key, "stripe_account": account}
        options = {name: value for name, value in options.items() if value}
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
        account: str | None = None,
    ) -> list[Object]:
        """The listed objects that are ours. Raises Unanswered `incomplete` past PAGES_MAX pages."""
        found: list[Object] = []
        query = {**params, "limit": PAGE_SIZE}
        for _ in range(PAGES_MAX):
            page = await self._send(deadline, "get", path, query, account=account)
            try:
                items = list(page["data"])
                found += [item for item in items if is_ours(item)]
                query = {**query, "starting_after": items[-1]["id"]} if items else query
                more = page["has_more"]
            except UNREADABLE:
                raise Unanswered("malformed") from None
            if not more or not items or (found and first_only):
                return found
        raise Unanswered("incomplete")


def _verdict(trouble: Unanswered | Refusal) -> Verdict:
    if isinstance(trouble, Refusal):
        return Verdict.ANSWERED
    if trouble.reason == "rate_limited":
        return Verdict.THROTTLED
    return Verdict.FAULT if trouble.reason in _FAULTS else Verdict.ANSWERED
