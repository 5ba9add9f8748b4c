"""The connection to Stripe: the official SDK over one aiohttp session, through one guard.

Start at `translate`: every error of the boundary becomes a refusal or an unknown there, and nowhere else.
"""

import json
import logging
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from urllib.parse import quote

import aiohttp
import stripe
from stripe import oauth_error

from gateways.call import PspCalls, Refusal, Unanswered
from gateways.guard import Guard
from gateways.stripe.objects import UNREADABLE, Object

stripe.enable_telemetry = False
# At DEBUG the SDK logs request bodies, at INFO error messages that quote the token; STRIPE_LOG prints both to stderr.
logging.getLogger("stripe").setLevel(logging.WARNING)
stripe._util.STRIPE_LOG = None

PAGE_SIZE = 100
PAGES_MAX = 50
"""A look-up reads at most 5,000 objects; past that it says UNKNOWN `incomplete` rather than that there is nothing."""

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
    """`/v1/refunds`, `re_1` → `/v1/refunds/re_1`; whatever the reference holds stays one segment of the path."""
    path = f"{collection}/{quote(reference, safe='')}"
    return f"{path}/{action}" if action else path


def fresh(key: str) -> str:
    """A key of its own for each call, for what Stripe does at most once by itself; it begins with ours for the logs."""
    return f"{key}:{secrets.token_hex(8)}"


_CARD_ERROR = 402


def _declined(body: bytes) -> stripe.CardError | None:
    """As the SDK raises it, without its own object of the error, which takes more CPU than the rest of the call. None:
    it has no error that can be read, and the SDK says what that is."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("error"), dict):
        return None
    error = stripe.CardError("declined", "", None, http_body=body, http_status=_CARD_ERROR)  # type: ignore[no-untyped-call]
    error.json_body = parsed
    return error


class _Http(stripe.HTTPClient):
    """The SDK's transport over one aiohttp session, opened in the loop that first uses it.

    The SDK's own AIOHTTPClient leaves the body of a cancelled call unread and its connection behind. Here a call that
    is cancelled (that is how a timeout ends it) closes its connection. Errors go up as they are, for `translate`.
    """

    name = "aiohttp"

    def __init__(self, base_url: str | None) -> None:
        super().__init__()
        self._tls = _trusted(base_url)
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The guard bounds the calls under way; a second bound here would be a hidden queue.
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                # No timeout of aiohttp's: it rounds them up to whole seconds. `_guarded` sets an exact one.
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
        if response.status == _CARD_ERROR and (declined := _declined(body)) is not None:
            raise declined
        return body, response.status, response.headers

    async def close_async(self) -> None:
        if self._session is not None:
            await self._session.close()


def _trusted(base_url: str | None) -> ssl.SSLContext | bool:
    """Stripe's own list of authorities for Stripe; the system's for whatever stands at another address. Reading one
    takes 30 ms, so none is read for a server that speaks no TLS."""
    if base_url is None:
        return ssl.create_default_context(cafile=stripe.ca_bundle_path)
    return ssl.create_default_context() if base_url.startswith("https:") else True


class StripeCalls(PspCalls):
    """The common part of the adapter's files: the connection, and requests through it."""

    def __init__(self, *, api_key: str, guard: Guard, base_url: str | None, name: str) -> None:
        super().__init__(name=name, guard=guard)
        self._http = _Http(base_url)
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
        options = {name: value for name, value in (("idempotency_key", key), ("stripe_account", account)) if value}
        return await self._guarded(deadline, lambda: self._answer(method, path, params or {}, options), translate)

    async def _answer(self, method: str, path: str, params: Object, options: Mapping[str, str]) -> Object:
        body = (await self._request(method, path, **params, **options)).data
        if not isinstance(body, dict):
            raise TypeError("not a Stripe object")
        return body

    async def _find(
        self,
        deadline: float,
        path: str,
        params: Object,
        is_ours: Callable[[Object], object],
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
