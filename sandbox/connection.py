"""One HTTP exchange, down to its socket.

Faults need what ASGI does not offer: to close a connection without a byte of an answer, and to see the client
hang up while nothing is being sent. `Protocol` puts the socket's transport into the request's scope.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BODY_BYTES_MAX = 1_000_000


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol; each request can reach its own transport."""

    def on_message_begin(self) -> None:
        """Start a request's scope."""
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class ClientGoneError(Exception):
    """The exchange ended without an answer: the client hung up, or the connection was cut."""


class Connection:
    """A request's way in and out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.headers: dict[str, str] = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}

    async def read_body(self) -> bytes:
        """The whole request body."""
        body = b""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part: bytes = message.get("body", b"")
            body += part
            if len(body) > BODY_BYTES_MAX:
                self.cut()
            if not message.get("more_body"):
                return body

    async def respond(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send the answer."""
        pairs = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        pairs.append((b"content-length", str(len(body)).encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})
        await self._send({"type": "http.response.body", "body": body})

    def cut(self) -> None:
        """Close the socket with no answer."""
        transport: asyncio.Transport = self.scope["state"]["transport"]
        transport.abort()
        raise ClientGoneError

    async def hang_up(self) -> None:
        """Return when the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def unless_gone(self, waiting: Awaitable[Any]) -> None:
        """Wait for something, and raise ClientGoneError as soon as the client hangs up instead."""
        work = asyncio.ensure_future(waiting)
        gone = asyncio.ensure_future(self.hang_up())
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            # Both at once counts as gone: what was held back must not happen for a client that has left.
            if gone.done():
                raise ClientGoneError
        finally:
            work.cancel()
            gone.cancel()
