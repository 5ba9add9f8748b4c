"""Rate limits: so many requests a window by API key, by tenant and, for whoever has no known credential, by address.

What is too much is refused before a body is read or the database asked. A window begins at a multiple of its length,
so its end is known without asking where the counters are.
"""

import hashlib
import ipaddress
import time
from dataclasses import dataclass
from math import ceil

from limits import RateLimitItem, parse_many
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from api.request_counts import Counts
from config.settings import Settings
from domain.access import Principal

_REFUSED = Counter("paysaga_rate_limited", "Requests refused by a rate limit", ["budget"])

_FREE = "/healthz"
"""It asks nobody anything, and whoever watches over the process must not be told that it is dead."""

_EVENTS = "/webhooks/"
_SEEN_MAX = 10_000

_DETAILS = {
    "key": "This API key sends more requests than it may; wait as long as Retry-After says.",
    "tenant": "All keys of this tenant together send more requests than they may; wait as long as Retry-After says.",
    "address": "Too many requests without a valid credential from this address; wait as long as Retry-After says.",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget's state in one of its windows, after a request. `remaining` is below 0 where it was one too many."""

    policy: str
    remaining: int
    reset_s: int


class Budget:
    """Requests that one key, tenant or address may send: one or more windows, all of which must have room."""

    def __init__(self, name: str, rates: str, counts: Counts) -> None:
        self.name, self._counts = name, counts
        items = [] if rates == "0" else parse_many(rates)
        self._windows = [(_policy(name, item, alone=len(items) == 1), item.amount, item.get_expiry()) for item in items]
        self.policies = [f'"{policy}";q={amount};w={window_s}' for policy, amount, window_s in self._windows]
        refusal = problem(429, "rate_limited", _DETAILS[name])
        self._body = bytes(refusal.body)
        self._headers = [header for header in refusal.raw_headers if header[0] != b"retry-after"]

    async def spend(self, owner: str, now: float) -> list[Standing]:
        found = []
        for policy, amount, window_s in self._windows:
            number, ends_in = int(now // window_s), window_s - now % window_s
            count = await self._counts.add(f"{policy}/{owner}/{number}", window_s)
            found.append(Standing(policy, amount - count, ceil(ends_in)))
        return found

    async def give_back(self, owner: str, spent_at: float, now: float) -> None:
        """Undo what was spent at that time, if its window has not ended."""
        for policy, _, window_s in self._windows:
            if now // window_s == spent_at // window_s:
                await self._counts.add(f"{policy}/{owner}/{int(spent_at // window_s)}", window_s, -1)

    async def refuse(self, send: Send, headers: list[tuple[bytes, bytes]], wait_s: int) -> None:
        """With the same bytes each time: a crowd of refused clients must not be load enough."""
        _REFUSED.labels(self.name).inc()
        headers = [*self._headers, *headers, (b"retry-after", b"%d" % wait_s)]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


def _policy(name: str, item: RateLimitItem, *, alone: bool) -> str:
    return name if alone else f"{name}-{item.get_expiry()}s"


class RateLimit:
    """ASGI middleware. Answers have the fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers).

    A request is counted for its principal and its tenant where this process has seen its credential lately; else for
    its client's address, which gets it back if the request proves to be good: by a credential that is valid, or as an
    event that its PSP signed.
    """

    def __init__(self, app: ASGIApp, settings: Settings, counts: Counts) -> None:
        self._app = app
        self._seen: dict[bytes, Principal] = {}
        self._key = Budget("key", settings.api_rate_per_key, counts)
        self._tenant = Budget("tenant", settings.api_rate_per_tenant, counts)
        self._address = Budget("address", settings.api_rate_per_address, counts)
        self._known_policy = ", ".join(self._key.policies + self._tenant.policies).encode()
        self._unknown_policy = ", ".join(self._address.policies).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == _FREE:
            await self._app(scope, receive, send)
            return
        credential = _credential(scope)
        known = self._seen.get(credential) if credential else None
        if known is None:
            await self._unknown(scope, receive, send, credential)
        else:
            await self._known(scope, receive, send, credential, known)

    async def _known(
        self, scope: Scope, receive: Receive, send: Send, credential: bytes | None, owner: Principal
    ) -> None:
        now = time.time()
        budget, standing = self._key, await self._key.spend(f"{owner.tenant_id}/{owner.actor}", now)
        if not _exceeded(standing):
            budget = self._tenant
            standing += await self._tenant.spend(owner.tenant_id, now)
        headers = _headers(self._known_policy, standing)
        if wait_s := _exceeded(standing):
            await budget.refuse(send, headers, wait_s)
            return
        # Even where it may have been revoked since: it says whose turn it is, not what may be done.
        scope.setdefault("state", {})["presumed"] = owner

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
                if message["status"] == 401 and credential is not None:
                    self._seen.pop(credential, None)  # revoked, or past its end
            await send(message)

        await self._app(scope, receive, told)

    async def _unknown(self, scope: Scope, receive: Receive, send: Send, credential: bytes | None) -> None:
        address, now = _network(scope), time.time()
        standing = await self._address.spend(address, now)
        headers = _headers(self._unknown_policy, standing)
        if wait_s := _exceeded(standing):
            await self._address.refuse(send, headers, wait_s)
            return
        state = scope.setdefault("state", {})

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                owner: Principal | None = state.get("principal")
                if credential is not None and owner is not None:
                    self._remember(credential, owner)
                if owner is not None or (scope["path"].startswith(_EVENTS) and message["status"] == 200):
                    await self._address.give_back(address, now, time.time())
                else:
                    message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._app(scope, receive, told)

    def _remember(self, credential: bytes, owner: Principal) -> None:
        if len(self._seen) > _SEEN_MAX:
            self._seen.clear()
        self._seen[credential] = owner


def _exceeded(standing: list[Standing]) -> int:
    """Seconds until what is exceeded has room again; 0: nothing is."""
    return max((one.reset_s for one in standing if one.remaining < 0), default=0)


def _headers(policy: bytes, standing: list[Standing]) -> list[tuple[bytes, bytes]]:
    if not standing:
        return []
    limits = ", ".join(f'"{one.policy}";r={max(one.remaining, 0)};t={one.reset_s}' for one in standing)
    return [(b"ratelimit-policy", policy), (b"ratelimit", limits.encode())]


def _credential(scope: Scope) -> bytes | None:
    """The hash of the header Authorization, or else of a browser's cookies; None: it has neither."""
    said = {name: value for name, value in scope["headers"] if name in (b"authorization", b"cookie")}
    found = said.get(b"authorization") or said.get(b"cookie")
    return hashlib.sha256(found).digest() if found else None


def _network(scope: Scope) -> str:
    """The client's address; of IPv6 the network of 64 bits, all of which one client has."""
    host: str = scope["client"][0] if scope.get("client") else ""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.IPv6Network((host, 64), strict=False))
    except ValueError:
        return host
