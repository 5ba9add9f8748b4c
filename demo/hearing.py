"""A part of the demo: a shop's own server hears of a payment and of its refund, by signed webhooks, and the buyer by
mail."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from demo.shop import Unexpected, eventually, reason
from demo.stories.story import Context

_TYPES = [
    "payment.created", "payment_order.created", "payment_order.success", "payment.succeeded",
    "refund.requested", "refund.succeeded",
]  # fmt: skip


@dataclass
class _Server:
    """The shop's server: what it was sent, and whether the signature was ours."""

    url: str = ""
    secret: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not _is_ours(request, body, self.secret):
            return web.Response(status=401)
        event: dict[str, Any] = json.loads(body)
        event["waited_ms"] = (datetime.now(UTC) - datetime.fromisoformat(event["timestamp"])).total_seconds() * 1000
        self.got.append(event)
        return web.Response()

    def of(self, *object_ids: str) -> list[dict[str, Any]]:
        return [event for event in self.got if event["object_id"] in object_ids]


def _is_ours(request: web.Request, body: bytes, secret: str) -> bool:
    """As docs/events.md has receivers check it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
    ours = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(ours, one) for one in request.headers["webhook-signature"].split())


@asynccontextmanager
async def _listening() -> AsyncIterator[_Server]:
    server = _Server()
    app = web.Application()
    app.router.add_post("/hooks", server.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    try:
        yield server
    finally:
        await runner.cleanup()


async def tell_hearing(console: Console, context: Context) -> list[str]:
    """Show what the shop's server is sent; a sentence for each thing that went another way than it should."""
    console.print(
        "", Rule(Text("The shop's server hears of it ", "bold cyan"), align="left", style="cyan dim"), sep="\n"
    )
    async with _listening() as server:
        answer = await context.shop.post("/v1/webhook-endpoints", {"url": server.url, "types": _TYPES})
        if answer.status_code != 201:
            raise Unexpected(f"the webhook endpoint was refused: {reason(answer)}")
        endpoint = answer.json()
        server.secret = endpoint["secret"]
        console.print(Text(f" POST /v1/webhook-endpoints → {server.url}, then a payment and its refund:", "dim"))
        try:
            ids = await _pay_and_refund(context)
            await eventually(lambda: _are_there(server, ids), "the shop's server has heard of it")
        finally:
            await context.shop.disable_endpoint(endpoint["id"])
    told, mails = server.of(*ids), await eventually(lambda: _mails(context, ids[0], ids[2]), "the buyer has been told")
    for event in told:
        when = f"signed, {event['waited_ms']:.0f} ms after it happened"
        console.print(Text.assemble(f"  --> {event['type']:<22} {event['object_id']}  ", (when, "dim")))
    console.print(Text(" And the buyer, whose address nobody else gets to see:", "dim"))
    for mail in mails:
        console.print(Text.assemble(f"  --> {mail['channel']:<22} {mail['object_id']}  ", (mail["template"], "dim")))
    return _wrong(told, ids)


async def _pay_and_refund(context: Context) -> tuple[str, str, str]:
    """The ids of the payment, its order and its refund."""
    buyer = {"id": "buyer_demo", "email": "asha@example.com"}
    payment = await context.shop.until(await context.pay(buyer=buyer))
    refund = await context.shop.refund(payment["id"])
    return payment["id"], payment["payment_orders"][0]["id"], refund["id"]


async def _are_there(server: _Server, ids: tuple[str, ...]) -> bool:
    return len(server.of(*ids)) >= len(_TYPES)


async def _mails(context: Context, *object_ids: str) -> list[dict[str, Any]] | None:
    """One for each of these, once all have been sent."""
    pages = [await context.shop.get("/v1/notifications", object_id=one, status="SENT") for one in object_ids]
    found = [mail for page in pages for mail in page["data"]]
    return found if {mail["object_id"] for mail in found} == {*object_ids} else None


def _wrong(told: list[dict[str, Any]], ids: tuple[str, ...]) -> list[str]:
    wrong = []
    for object_id in ids:
        numbers = [event["sequence"] for event in told if event["object_id"] == object_id]
        if numbers != sorted(set(numbers)):
            wrong.append(f"the events of {object_id} came out of order, or twice")
    if sorted(event["type"] for event in told) != sorted(_TYPES):
        wrong.append("the shop's server was not sent each event once")
    return wrong
