"""Common to all routes: the runtime, who asks, under which key, and how long the client will wait."""

import hashlib
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import rfc8785
from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import BaseModel

from api.examples import IDEMPOTENCY_KEY
from config.settings import DEVELOPMENT_API_KEY
from db import api_key
from db.api_key import Principal
from db.audit_log import client_address
from db.core.idempotency import Request as KeyedRequest
from domain.card_data import require_text
from domain.errors import BadRequest, Forbidden, Unauthorized, Unavailable, Unprocessable
from runtime.wiring import Runtime
from services.command import Caller

WAIT_DEFAULT_S = 5.0
WAIT_MAX_S = 25.0
_KEY_LENGTH_MAX = 255
_PRINCIPAL_LIFE_S = 5.0
"""How long a revoked key may still be accepted by a process that has just seen it."""
_USE_NOTED_EVERY_S = 60.0

SCOPES = {
    "audit:read": "show who did what: the audit log",
    "payments:read": "show payments, explanations and history",
    "payments:write": "create, confirm, capture and cancel payments",
    "refunds:write": "give money back",
    "disputes:read": "show disputes",
    "disputes:write": "submit evidence",
    "reviews:write": "decide about payments in review, and those that need attention",
    "risk:read": "show the risk rules and the payments in review",
    "risk:write": "change the risk rules",
    "merchants:read": "show sellers",
    "merchants:write": "add, change, freeze and close sellers",
    "payouts:read": "show payouts",
    "payouts:write": "pay sellers out, and cancel that",
    "ledger:read": "show the ledger and the sellers' wallets",
    "reconciliation:read": "show reconciliations and discrepancies",
    "reconciliation:write": "reconcile, upload settlement files, and decide about discrepancies",
}

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="apiKey",
    description=(
        "`Authorization: Bearer sk_…`. Each operation names the scope that the key needs:\n\n"
        + "\n".join(f"* `{scope}`: {meaning}" for scope, meaning in SCOPES.items())
        + f"\n\nIn the stack that `make run` starts: `{DEVELOPMENT_API_KEY}` (all scopes)."
    ),
)


async def runtime(request: Request) -> Runtime:
    found: Runtime = request.app.state.runtime
    return found


RuntimeOf = Annotated[Runtime, Depends(runtime)]


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
        await self._note_use(found, principal.key_id)
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
    """The owner of the request's key; what the request does is written down with its client's address. Raises
    Unauthorized `api_key_missing` or `api_key_invalid`."""
    client_address.set(request.client.host if request.client is not None else None)
    credentials = await bearer(request)
    if credentials is None or not credentials.credentials.isascii():
        raise Unauthorized("Send an API key: Authorization: Bearer sk_…", code="api_key_missing")
    principals: Principals = request.app.state.principals
    who = await principals.of(credentials.credentials, await runtime(request))
    if who is None:
        raise Unauthorized("The API key is not known, was revoked or has expired.", code="api_key_invalid")
    return who


async def principal(request: Request, scopes: SecurityScopes, _: Annotated[object, Depends(bearer)]) -> Principal:
    """Raises Unauthorized, Forbidden `scope_missing`."""
    who = await authenticate(request)
    missing = [scope for scope in scopes.scopes if scope not in who.scopes]
    if missing:
        raise Forbidden(f"The API key lacks the scope {missing[0]}.", code="scope_missing")
    return who


AuditReader = Annotated[Principal, Security(principal, scopes=["audit:read"])]
PaymentsReader = Annotated[Principal, Security(principal, scopes=["payments:read"])]
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


async def idempotency_key(
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="A new one for every payment, best a UUID; the same request under the same key is safe for 30 days "
            "or more.",
            examples=[IDEMPOTENCY_KEY],
        ),
    ] = None,
    alias: Annotated[str | None, Header(alias="X-Idempotency-Key", include_in_schema=False)] = None,
) -> str:
    """Raises BadRequest `idempotency_key_missing`, `idempotency_key_invalid`; Unprocessable `card_data_forbidden`."""
    if key is not None and alias is not None and key != alias:
        raise BadRequest("Idempotency-Key and X-Idempotency-Key differ.", code="idempotency_key_invalid")
    found = (key if key is not None else alias or "").strip()
    if not found:
        raise BadRequest("The header Idempotency-Key is required.", code="idempotency_key_missing")
    if len(found) > _KEY_LENGTH_MAX or not found.isprintable():
        raise BadRequest(
            f"An Idempotency-Key has 1 to {_KEY_LENGTH_MAX} printable characters.", code="idempotency_key_invalid"
        )
    try:
        require_text(found)
    except Unprocessable as refused:
        # One in 50,000 random hexadecimal keys reads as a card number with a tail; a UUID never does.
        raise Unprocessable(f"{refused} An Idempotency-Key is best a UUID.", code=refused.code) from None
    return found


IdempotencyKey = Annotated[str, Depends(idempotency_key)]


class Admission:
    """A bound on the payments (or uploads) that a process takes on at once. More would only wait for the database
    and time out late; refused before anything is stored, a request keeps its key and loses nothing."""

    def __init__(self, places: int, what: str = "payments") -> None:
        self._free = places
        self._what = what

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises Unavailable `overloaded`."""
        if self._free <= 0:
            raise Unavailable(f"Too many {self._what} at once; try again with the same key.", code="overloaded")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


async def admission(request: Request) -> Admission:
    found: Admission = request.app.state.admission
    return found


AdmissionOf = Annotated[Admission, Depends(admission)]

UPLOADS_MAX = 4
"""Files that a process takes in at once: each holds a connection to the database while it arrives."""


async def uploads(request: Request) -> Admission:
    found: Admission = request.app.state.uploads
    return found


UploadsOf = Annotated[Admission, Depends(uploads)]

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,4})\"?", re.ASCII | re.IGNORECASE)


async def wait_s(
    prefer: Annotated[
        str | None,
        Header(
            alias="Prefer",
            description="`wait=N` (RFC 7240): seconds to wait for an outcome, 0 to 25; 5 if it is left out",
            examples=["wait=5"],
        ),
    ] = None,
) -> float:
    """A preference that cannot be read is ignored, as RFC 7240 asks for."""
    return _preferred(prefer, WAIT_DEFAULT_S)


async def no_wait_s(
    prefer: Annotated[
        str | None,
        Header(
            alias="Prefer",
            description="`wait=N` (RFC 7240): seconds to wait for an end, 0 to 25; 0 if it is left out",
            examples=["wait=0"],
        ),
    ] = None,
) -> float:
    """The same for what takes days as a rule."""
    return _preferred(prefer, 0.0)


def _preferred(prefer: str | None, default_s: float) -> float:
    match = _WAIT.search(prefer or "")
    return default_s if match is None else min(float(match[1]), WAIT_MAX_S)


Wait = Annotated[float, Depends(wait_s)]
NoWait = Annotated[float, Depends(no_wait_s)]


HEADERS: dict[str, Any] = {
    "Location": {"description": "where to ask again", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if the key was seen before: this is the object of then, in its present state",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
"""Of an answer to a request under a key, as OpenAPI describes them."""


def headers(location: str, *, replayed: bool) -> dict[str, str]:
    """The same as they are sent."""
    return {"Location": location} | ({"Idempotent-Replayed": "true"} if replayed else {})


def caller(who: Principal) -> Caller:
    """The key as services know it."""
    return Caller(actor=who.key_id, tenant_id=who.tenant_id)


def keyed(request: Request, key: str, body: BaseModel | None) -> KeyedRequest:
    """The request under its key: the same method, path and meaning make the same hash, whatever the white space."""
    content: Any = body.model_dump(mode="json", exclude_defaults=True) if body is not None else None
    canonical = rfc8785.dumps([request.method, request.url.path, content])
    return KeyedRequest(key=key, hash=hashlib.sha256(canonical).digest())
