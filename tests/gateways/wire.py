"""Servers for the tests: one that answers as it is told, however badly, and one that webhooks are delivered to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from domain.psp import PspEvent
from gateways.guard import Guard
from gateways.stripe.gateway import StripePsp

if TYPE_CHECKING:
    from tests.gateways.conftest import Account


def answer(status: int, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body.encode())}", *headers, "", body]
    return "\r\n".join(lines).encode()


T = 10.0
"""How long an answer that comes is waited for, in seconds: no test depends on how soon it does."""


def timeout_for(reason: str | None) -> float:
    """The seconds to wait in a test that expects this reason: few only where the answer is not to come."""
    return 0.3 if reason is not None and reason.startswith("timeout") else T


class Server:
    """Answers every request with `reply` (None: never; a function: of its number), and keeps what it was sent."""

    def __init__(self, reply: bytes | Callable[[int], bytes] | None, *, then_close: bool = False) -> None:
        self.reply, self.then_close = reply, then_close
        self.requests: list[str] = []
        self.asked, self.closed = asyncio.Event(), asyncio.Event()
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.startswith(b"Content-Le")), 0)
                self.requests.append((head + await reader.readexactly(length)).decode())
                self.asked.set()
                if self.reply is not None:
                    writer.write(self.reply if isinstance(self.reply, bytes) else self.reply(len(self.requests)))
                    await writer.drain()
                if self.then_close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed.set()
            writer.close()


@asynccontextmanager
async def served(server: Server, **guard: Any) -> AsyncIterator[StripePsp]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    psp = build(f"http://127.0.0.1:{port}/", **guard)
    try:
        yield psp
    finally:
        await psp.close()
        listener.close()


def build(base_url: str, *, statement_descriptor: str | None = None, **guard: Any) -> StripePsp:
    limits = {"concurrency_max": 8, "rate_per_s": 1000, "breaker_failures": 3, "breaker_open_s": 60, **guard}
    return StripePsp(
        api_key="sk_test_x", guard=Guard("transport", **limits), currencies=["USD"], base_url=base_url, return_url="https://shop/back",
        statement_descriptor=statement_descriptor,
    )  # fmt: skip


def in_turn(*replies: bytes) -> Callable[[int], bytes]:
    return lambda number: replies[min(number, len(replies)) - 1]


@asynccontextmanager
async def delivered(account: "Account") -> AsyncIterator[list[PspEvent]]:
    """What the sandbox really sends meanwhile, read when the block ends."""
    received: list[tuple[bytes, dict[str, str]]] = []
    events: list[PspEvent] = []

    async def receive(request: web.Request) -> web.Response:
        received.append((await request.read(), dict(request.headers)))
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhooks/stripe", receive)
    async with TestServer(app) as server:
        url = str(server.make_url("/webhooks/stripe"))
        settings = await account.control("PATCH", "account", {"webhook_url": url})
        yield events
        await account.control("POST", "webhooks/flush")
    psp = account.adapter(settings["webhook_secret"])
    events += [psp.read_webhook(body, headers) for body, headers in received]
    await psp.close()
