"""Calls of a shop's own pages (CORS): which pages may call with a client token, and what a browser lets them read.

A preflight has no credential, so its tenant is not known: it is granted to an origin that any tenant allows. The
request itself is served, and shown to the page, where the tenant of its own credential allows the origin. No cookie
and no other credential of the browser's is ever asked for.
"""

import asyncio
import math
import re
import time
from collections.abc import Mapping

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import of_error
from db import tenant
from db.core.database import Database
from domain.errors import Forbidden, PaysagaError, Unavailable
from runtime.wiring import Runtime

_READ_EVERY_S = 2.0
"""How long it takes until a change of a tenant's list is heeded."""

_METHODS = (
    (re.compile(r"/v1/payments/[^/]+"), "GET"),
    (re.compile(r"/v1/payments/[^/]+/confirm"), "POST"),
)
"""The operations that take a client token, by path."""

_GRANTED = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Prefer",
    "Access-Control-Max-Age": "7200",
}
_EXPOSED = "Location, Retry-After, RateLimit, RateLimit-Policy"


class Origins:
    """The origins that tenants allow, as they were lately: whoever asks, the database is read every few seconds."""

    def __init__(self) -> None:
        self._tenants: Mapping[str, frozenset[str]] | None = None
        self._good_until = -math.inf
        self._reading = asyncio.Lock()

    async def tenants(self, origin: str, database: Database) -> frozenset[str]:
        """Those that allow it. Raises Unavailable where the database has never answered."""
        async with self._reading:
            if self._good_until <= time.monotonic():
                try:
                    self._tenants = await database.read(tenant.by_page_origin)
                except Unavailable:
                    if self._tenants is None:
                        raise
                self._good_until = time.monotonic() + _READ_EVERY_S
        assert self._tenants is not None, "read above"
        return self._tenants.get(origin, frozenset())


def foreign_page(request: Request) -> str | None:
    """The origin of the page that makes the request, as its browser names it; None: no page does, or one that was
    loaded from this server."""
    origin = request.headers.get("origin")
    if origin is None or request.headers.get("sec-fetch-site") == "same-origin":
        return None
    return None if origin.partition("://")[2] == request.headers.get("host") else origin


async def is_own_page(request: Request, origin: str, tenant_id: str) -> bool:
    """Whether the tenant allows the origin; if so, the page may read the answer."""
    origins: Origins = request.app.state.origins
    found: Runtime = request.app.state.runtime
    if tenant_id not in await origins.tenants(origin, found.database):
        return False
    request.state.readable_by = origin
    return True


class CrossOrigin:
    """ASGI middleware: answers preflights before anything is authenticated, and tells browsers which page may read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        method = next((method for pattern, method in _METHODS if pattern.fullmatch(path)), None)
        if method is None:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if (origin := state.get("readable_by")) is not None:
                    headers["Access-Control-Allow-Origin"] = origin
                    headers["Access-Control-Expose-Headers"] = _EXPOSED
            await send(message)

        request = Request(scope, receive)
        asked = request.headers.get("access-control-request-method")
        if request.method == "OPTIONS" and asked is not None and "origin" in request.headers:
            response = await _preflight(request, method)
            await response(scope, receive, named)
        else:
            await self._app(scope, receive, named)


async def _preflight(request: Request, method: str) -> Response:
    origins: Origins = request.app.state.origins
    found: Runtime = request.app.state.runtime
    origin = request.headers["origin"]
    try:
        if not await origins.tenants(origin, found.database):
            detail = "No shop lets its pages there call: `paysaga tenants allow-origin TENANT ORIGIN` allows it."
            raise Forbidden(detail, code="origin_not_allowed")
    except PaysagaError as error:
        return of_error(error)
    return Response(
        status_code=204,
        headers=_GRANTED | {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": method},
    )
