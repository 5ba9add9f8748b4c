"""Authentication and authorisation of requests: whose a request is, and whether it may do what it asks for."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPBearer, SecurityScopes

from api.context import runtime
from api.cors import foreign_page, is_own_page
from api.jwt import JwtVerifier
from config.settings import DEVELOPMENT_API_KEY
from db import api_key
from db.audit_log import client_address
from db.operator_session import Session
from domain.access import CHECKOUT_PAGE, ROLES, SCOPES, Principal
from domain.errors import Forbidden, Unauthorized, Unavailable
from domain.login import SESSION_PREFIX
from runtime.wiring import Runtime
from services import access, client_token
from services.client_token import ClientToken
from services.command import Caller
from services.session import Sessions, principal_of, session_invalid

_PRINCIPAL_LIFE_S = 5.0
"""How long a revoked key may still be accepted by a process that has just seen it."""
_USE_NOTED_EVERY_S = 60.0
_ORIGIN_SHOWN_MAX = 200

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="apiKey",
    description=(
        "`Authorization: Bearer sk_…`. Each operation names the scope that the key needs:\n\n"
        + "\n".join(f"* `{scope}`: {meaning}" for scope, meaning in SCOPES.items())
        + "\n\nA key has scopes, or the scopes of a role: "
        + ", ".join(f"`{role}`" for role in ROLES)
        + ". A merchant's reaches the objects of its own seller alone."
        + "\n\nAn operator's session (`ses_…`, of `POST /v1/sessions`) is taken as well, with the scopes of the role."
        + f"\n\nIn the stack that `make run` starts: `{DEVELOPMENT_API_KEY}` (all scopes)."
    ),
)

client_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="clientToken",
    description=(
        "`Authorization: Bearer ct_…`: the `client_token` of one payment, which `POST /v1/payments` answers. A "
        "checkout page reads and confirms that payment with it, and nothing else; an API key never goes to a page. A "
        "browser lets the page call from an origin that `paysaga tenants allow-origin TENANT https://shop.example` "
        "allows."
    ),
)
_log = structlog.get_logger("paysaga.api")


class Principals:
    """Keys seen lately, so that the hot path does not ask the database at each request."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[float, Principal]] = {}
        self._noted: dict[str, float] = {}

    async def of(self, secret: str, found: Runtime) -> Principal | None:
        name, now = api_key.hash_of(secret), time.monotonic()
        known = self._seen.get(name)
        if known is not None and known[0] > now:
            return known[1]
        principal = await found.database.read(lambda c: api_key.find(c, secret))
        if principal is None:
            self._seen.pop(name, None)
            return None
        if len(self._seen) > 10_000:
            self._seen.clear()
        life_s = _PRINCIPAL_LIFE_S if principal.life_s is None else min(_PRINCIPAL_LIFE_S, principal.life_s)
        self._seen[name] = (now + life_s, principal)
        await self._note_use(found, principal.actor)
        return principal

    async def _note_use(self, found: Runtime, key_id: str) -> None:
        """Once a minute; a request is not refused for it."""
        now = time.monotonic()
        if self._noted.get(key_id, -math.inf) + _USE_NOTED_EVERY_S > now:
            return
        if len(self._noted) > 10_000:
            self._noted.clear()
        self._noted[key_id] = now
        with suppress(Unavailable):
            await found.database.run(lambda c: api_key.note_use(c, key_id))


async def authenticate(request: Request) -> Principal:
    """The owner of the request's credential, found once for each request; what the request does is written down with
    its client's address.

    Raises Unauthorized `api_key_missing`, `api_key_invalid`, `token_invalid`, `client_token_invalid`,
    `client_token_expired`, `session_invalid`; Forbidden `secret_key_in_browser`, `origin_not_allowed`; Unavailable.
    """
    if (known := getattr(request.state, "principal", None)) is not None:
        found: Principal = known
        return found
    note_address(request)
    credentials = await bearer(request)
    if credentials is None or not credentials.credentials.isascii():
        raise Unauthorized("Send an API key: Authorization: Bearer sk_…", code="api_key_missing")
    request.state.principal = found = await _proved(request, credentials.credentials)
    return found


async def _proved(request: Request, credential: str) -> Principal:
    """By its kind; a JWT has two dots, the others one at most."""
    if credential.startswith(SESSION_PREFIX):
        return principal_of(await session_of(request, credential))
    if credential.startswith(client_token.PREFIX):
        return await _of_client_token(request, credential)
    tokens: JwtVerifier | None = request.app.state.tokens
    if tokens is not None and credential.count(".") == 2:
        return await tokens.principal(credential, (await runtime(request)).database)
    return await _of_api_key(request, credential)


def note_address(request: Request) -> None:
    """Have whatever the request does written down with its client's address."""
    client_address.set(request.client.host if request.client is not None else None)


async def session_of(request: Request, token: str) -> Session:
    """The session of an operator's token. Raises Unauthorized `session_invalid`."""
    sessions: Sessions = request.app.state.sessions
    session = await sessions.find(token)
    if session is None:
        raise session_invalid()
    return session


async def owner_of_key(request: Request, secret: str) -> Principal:
    """Raises Unauthorized `api_key_invalid`."""
    principals: Principals = request.app.state.principals
    who = await principals.of(secret, await runtime(request))
    if who is None:
        raise Unauthorized("The API key is not known, was revoked or has expired.", code="api_key_invalid")
    return who


async def _of_api_key(request: Request, secret: str) -> Principal:
    who = await owner_of_key(request, secret)
    page = foreign_page(request)
    if page is not None:
        _log.warning("secret_key_in_browser", key=who.actor, origin=page[:_ORIGIN_SHOWN_MAX])
        await is_own_page(request, page, who.tenant_id)  # its developer may read why
        detail = (
            "An API key came from a web page, where whoever opens it can read it. Replace the key (`paysaga keys "
            f"rotate {who.actor}`), and give the page the client_token of its payment instead."
        )
        raise Forbidden(detail, code="secret_key_in_browser")
    return who


async def _of_client_token(request: Request, text: str) -> Principal:
    token = ClientToken.read(text, (await runtime(request)).keyring)
    page = foreign_page(request)
    if page is not None and not await is_own_page(request, page, token.tenant_id):
        detail = "This shop lets no page there call: `paysaga tenants allow-origin TENANT ORIGIN` allows it."
        raise Forbidden(detail, code="origin_not_allowed")
    if token.left_s <= 0:
        raise Unauthorized("The client token has expired: ask the shop's own server.", code="client_token_expired")
    return Principal(CHECKOUT_PAGE, token.tenant_id, frozenset(), token.left_s, payment_id=token.payment_id)


async def authorize(request: Request, scopes: Sequence[str], *, page: bool = False) -> Principal:
    """The owner of the request, who may do what needs these scopes; with `page` a checkout page may do it as well, to
    its own payment. Raises what `authenticate` raises, Forbidden `scope_missing`, `client_token_refused`."""
    who = await authenticate(request)
    if who.payment_id is not None:
        if page:
            return who
        detail = "A client token reads and confirms its one payment, and nothing else."
        raise Forbidden(detail, code="client_token_refused")
    require_scopes(who, scopes)
    return who


def require_scopes(who: Principal, scopes: Sequence[str]) -> None:
    """Raises Forbidden `scope_missing`."""
    missing = [scope for scope in scopes if scope not in who.scopes]
    if missing:
        raise Forbidden(f"The API key, token or role lacks the scope {missing[0]}.", code="scope_missing")


async def principal(request: Request, scopes: SecurityScopes, _: Annotated[object, Depends(bearer)]) -> Principal:
    """Raises what `authorize` raises."""
    return await authorize(request, scopes.scopes)


async def no_page(request: Request) -> Principal:
    """The owner of a request that a checkout page may not make. Raises what `authorize` raises."""
    return await authorize(request, ())


async def key_or_page(
    request: Request,
    scopes: SecurityScopes,
    _: Annotated[object, Depends(bearer)],
    __: Annotated[object, Depends(client_bearer)],
) -> Principal:
    """The same of an operation that a checkout page may do as well; which payment is its own is checked where the
    payment is found. Raises what `authorize` raises."""
    return await authorize(request, scopes.scopes, page=True)


def authorizer_of(route: Dependant) -> Callable[[Request], Awaitable[Principal]] | None:
    """The check of every caller of a route, for before its body is read; None: there is none, or the route decides."""
    for part in route.dependencies:
        if part.call in (principal, key_or_page) and part.own_oauth_scopes is not None:
            return partial(authorize, scopes=tuple(part.own_oauth_scopes), page=part.call is key_or_page)
    return None


AuditReader = Annotated[Principal, Security(principal, scopes=["audit:read"])]
PaymentsReader = Annotated[Principal, Security(principal, scopes=["payments:read"])]
PaymentReader = Annotated[Principal, Security(key_or_page, scopes=["payments:read"])]
PaymentConfirmer = Annotated[Principal, Security(key_or_page, scopes=["payments:write"])]
PaymentsWriter = Annotated[Principal, Security(principal, scopes=["payments:write"])]
RefundsWriter = Annotated[Principal, Security(principal, scopes=["refunds:write"])]
DisputesReader = Annotated[Principal, Security(principal, scopes=["disputes:read"])]
DisputesWriter = Annotated[Principal, Security(principal, scopes=["disputes:write"])]
Reviewer = Annotated[Principal, Security(principal, scopes=["reviews:write"])]
RiskReader = Annotated[Principal, Security(principal, scopes=["risk:read"])]
RiskWriter = Annotated[Principal, Security(principal, scopes=["risk:write"])]
MerchantsReader = Annotated[Principal, Security(principal, scopes=["merchants:read"])]
MerchantsWriter = Annotated[Principal, Security(principal, scopes=["merchants:write"])]
PayoutsReader = Annotated[Principal, Security(principal, scopes=["payouts:read"])]
PayoutsWriter = Annotated[Principal, Security(principal, scopes=["payouts:write"])]
LedgerReader = Annotated[Principal, Security(principal, scopes=["ledger:read"])]
ReconciliationReader = Annotated[Principal, Security(principal, scopes=["reconciliation:read"])]
ReconciliationWriter = Annotated[Principal, Security(principal, scopes=["reconciliation:write"])]
WebhooksReader = Annotated[Principal, Security(principal, scopes=["webhooks:read"])]
WebhooksWriter = Annotated[Principal, Security(principal, scopes=["webhooks:write"])]
DeadLettersReader = Annotated[Principal, Security(principal, scopes=["dead_letters:read"])]
DeadLettersWriter = Annotated[Principal, Security(principal, scopes=["dead_letters:write"])]

NotificationsReader = Annotated[Principal, Security(principal, scopes=["notifications:read"])]
NotificationsWriter = Annotated[Principal, Security(principal, scopes=["notifications:write"])]


def tenant_of(who: Principal) -> str:
    """The tenant of a principal that reaches all of it: for a route that is about the whole tenant. Raises Forbidden
    `role_not_allowed`."""
    return access.whole_tenant(caller(who))


def caller(who: Principal) -> Caller:
    """The principal as services know it."""
    return Caller(
        actor=who.actor, tenant_id=who.tenant_id, payment_id=who.payment_id, seller_account=who.seller_account
    )
