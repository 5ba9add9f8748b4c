"""A shop's server that webhooks are sent to: a real one, on this machine."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

Reply = Callable[["Got"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Got:
    """A request as it arrived."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    def signed_by(self, secret: str) -> bool:
        """Whether the secret has made one of the signatures, as the standard has its receivers check it."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.raw
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


class Receiver:
    """`async with Receiver() as shop`: keeps what it gets. `reply` answers, 200 unless it is set."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.reply: Reply | None = None
        self.port = 0

    def url(self, path: str = "/hooks") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        got = Got(request.path, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        self.got.append(got)
        return await self.reply(got) if self.reply is not None else web.Response(text="thanks")

    def types(self) -> list[str]:
        return [one.body["type"] for one in self.got]

    def of(self, object_id: str) -> list[str]:
        """Types of an object's events in the order in which they came."""
        return [one.body["type"] for one in self.got if one.body.get("object_id") == object_id]


async def hang(_: Got) -> web.StreamResponse:
    """Never answers."""
    await asyncio.sleep(3600)
    return web.Response()
