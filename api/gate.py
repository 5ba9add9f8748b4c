"""The gate: each tenant's share of the process, kept before a body is parsed or the database asked.

What finds no place waits for its tenant's turn (see `api.turns`), and what would wait too long is refused at once, with
the same bytes each time: refusing must cost next to nothing, or a crowd of refused clients would be load enough.
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import authenticate
from api.problems import problem
from api.turns import Bounds, Presence, Refused, Turn, Turns
from config.settings import Settings
from domain.access import Principal
from domain.errors import PaysagaError, Unavailable
from runtime.pace import Fixed, Pace
from runtime.under_way import place_of_request

EXPENSIVE_MAX = 4
"""Expensive requests at once, each with a connection of the second pool."""
UPLOADS_MAX = 8
"""Files that a process takes in at once: each holds a connection to the database while it arrives."""
_FEW = 2
"""Of these, the most that one tenant has."""
_FEW_WAITING = 8
"""Each may take seconds. A file does not wait at all: how long the one before it takes is its client's doing."""
_WORK_MAX_S = 1.0
"""Past this a request is not worked on, but waits: for an outcome, for Temporal that does not answer, for a lock."""
NOBODY = ""
"""The name under which keys that are nobody's take turns."""
_READS_MAX = 8
_ARRIVING_BYTES_MAX = 16 * 1024 * 1024
"""Of one tenant's bodies on their way: each is in memory until it is whole. Slow clients send little."""

_EXPENSIVE = re.compile(
    r"GET /v1/(?:ledger/|audit-log$|transactions/|payouts/[^/]+/items$|merchants/[^/]+/statement$"
    r"|reconciliations/[^/]+)|POST /v1/reconciliations$"
)
_FILE = re.compile(rb"(?:^|&)format=(?:csv|jsonl)(?:&|$)")
"""Of a list that is cheap by the page."""


class Gates:
    """The turns of a process: of payments, of commands about them and everything else that changes something, of
    cancelling, which must not wait for what it is to stop, of reading, of expensive work, and of uploads. `unknown`: of
    keys that the process has not seen; `arriving_bytes`: by tenant, of bodies that are on their way."""

    def __init__(self, settings: Settings, pace: Pace) -> None:
        most, waiting = settings.api_payments_max, settings.api_waiting_max
        usual = Bounds(places=most, tenant_max=most, waiting_max=waiting)
        few = Bounds(places=EXPENSIVE_MAX, tenant_max=_FEW, waiting_max=min(waiting, _FEW_WAITING))
        files = Bounds(places=UPLOADS_MAX, tenant_max=_FEW, waiting_max=0)
        presence = Presence()
        self.arriving_bytes: Counter[str] = Counter()
        self.unknown = Turns(usual, Fixed(_READS_MAX), presence)
        self._payments = Turns(usual, pace, presence)
        self._commands = Turns(usual, pace, presence)
        self._cancels = Turns(usual, Fixed(_READS_MAX), presence)
        self._reads = Turns(usual, Fixed(_READS_MAX), presence)
        self._expensive = Turns(few, Fixed(EXPENSIVE_MAX), presence)
        self._uploads = Turns(files, Fixed(UPLOADS_MAX), presence)

    def of(self, method: str, path: str, query: bytes) -> Turns:
        """By what a request asks for."""
        if _EXPENSIVE.match(f"{method} {path}") or (method == "GET" and _FILE.search(query)):
            return self._expensive
        if method in ("GET", "HEAD"):
            return self._reads
        if path == "/v1/payments":
            return self._payments
        if path == "/v1/reconciliations/files":
            return self._uploads
        return self._cancels if path.endswith("/cancel") else self._commands

    def is_expensive(self, turns: Turns) -> bool:
        """Whether one follows the other only after as long a pause: half of the time is everybody else's."""
        return turns is self._expensive

    def is_upload(self, turns: Turns) -> bool:
        """Whether a body is read while the place is held: it does not fit into memory."""
        return turns is self._uploads


class Gate:
    """ASGI middleware. A request of `/v1` gets a turn of its tenant's, or 503 `overloaded`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        gates: Gates = scope["app"].state.gates
        token = place_of_request.set(None)
        try:
            tenant = await _tenant(scope, gates)
            turns = gates.unknown if tenant is None else gates.of(scope["method"], scope["path"], scope["query_string"])
            share = _Share(gates, turns, tenant or NOBODY)
            if tenant is None or scope["method"] in ("GET", "HEAD") or gates.is_upload(turns):
                await share.take()
            else:
                share.expect()
                receive = _after_body(receive, gates, share)
        except Refused as refused:
            place_of_request.reset(token)
            await _refuse(send, refused.retry_after_s)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            place_of_request.reset(token)
            share.end()


class _Share:
    """The part of one request in its tenant's turns: it is expected, let in, and gives back what it has."""

    def __init__(self, gates: Gates, turns: Turns, tenant: str) -> None:
        self.tenant = tenant
        self._gates, self._turns = gates, turns
        self._arrived: Callable[[], None] | None = None
        self._turn: Turn | None = None

    def expect(self) -> None:
        """Its body is still to be read. Raises Refused."""
        self._arrived = self._turns.expect(self.tenant)

    async def take(self) -> None:
        """Raises Refused."""
        if self._arrived is not None:
            self._arrived()
        self._turn = await self._turns.turn(self.tenant)
        place_of_request.set(self._turn)
        if not self._gates.is_expensive(self._turns) and not self._gates.is_upload(self._turns):
            asyncio.get_running_loop().call_later(_WORK_MAX_S, self._turn.leave)

    def end(self) -> None:
        """The request is answered; its payment may keep its place."""
        if self._arrived is not None:
            self._arrived()
        if self._turn is None:
            return
        if self._gates.is_expensive(self._turns):
            self._turn.rest(always=True)
        elif not self._turn.kept:
            self._turn.end()


async def _tenant(scope: Scope, gates: Gates) -> str | None:
    """The tenant of the request's credential; None: it is nobody's. One that the process has not seen is proved in a
    turn that all of them share: so many wrong ones cannot keep the others from being let in as who they are. Raises
    Refused."""
    presumed: Principal | None = scope.setdefault("state", {}).get("presumed")
    if presumed is not None:
        return presumed.tenant_id
    if not any(name in (b"authorization", b"cookie") for name, _ in scope["headers"]):
        return None
    turn = await gates.unknown.turn(NOBODY)
    try:
        return (await authenticate(Request(scope))).tenant_id
    except PaysagaError:
        return None  # as the route will say
    finally:
        turn.end()


def _after_body(receive: Receive, gates: Gates, share: _Share) -> Receive:
    """The body, once all of it is there and its turn has come: a client that sends it slowly must not hold a place
    meanwhile. Nobody reads it before the request may do what it asks for. Raises Unavailable `overloaded` where too
    many of the tenant's are on their way, or wait."""
    messages: deque[Message] = deque()
    is_there = False

    async def body() -> Message:
        nonlocal is_there
        if not is_there:
            is_there = True
            try:
                messages.extend(await _arrived(receive, gates, share.tenant))
                await share.take()
            except Refused as refused:
                raise Unavailable(_DETAIL, code="overloaded", retry_after_s=refused.retry_after_s) from None
        return messages.popleft() if messages else await receive()

    return body


async def _arrived(receive: Receive, gates: Gates, tenant: str) -> list[Message]:
    """The messages of a whole body, of a bounded size, or up to where its client has left."""
    messages: list[Message] = []
    more, size = True, 0
    try:
        while more:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            gates.arriving_bytes[tenant] += len(message.get("body", b""))
            if gates.arriving_bytes[tenant] > _ARRIVING_BYTES_MAX:
                raise Refused(retry_after_s=1)
            more = message.get("more_body", False)
    finally:
        gates.arriving_bytes[tenant] -= size
        if not gates.arriving_bytes[tenant]:
            del gates.arriving_bytes[tenant]
    return messages


_DETAIL = "Too many requests of yours at once; try again with the same key."
_REFUSAL = problem(503, "overloaded", _DETAIL)
_HEADERS = [header for header in _REFUSAL.raw_headers if header[0] != b"retry-after"]
_BODY = bytes(_REFUSAL.body)


async def _refuse(send: Send, retry_after_s: int) -> None:
    headers = [*_HEADERS, (b"retry-after", b"%d" % retry_after_s)]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})
