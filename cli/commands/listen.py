"""`paysaga listen`: a tenant's events as they happen. What it needs is imported when it is called."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import say, settings
from cli.nouns import as_json

if TYPE_CHECKING:
    from db.event.tail import Seen
    from gateways.shop.sender import Sender


def listen(
    forward_to: Annotated[
        str | None,
        typer.Option("--forward-to", metavar="URL", help="http://127.0.0.1:PORT/… or https://…: send them there too."),
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose events.")] = "dev",
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; repeat for several.")
    ] = None,
) -> None:
    """Until Ctrl-C. What is forwarded is signed as webhooks are, with a secret of its own, and sent once."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_listen(_url(forward_to), tenant, frozenset(types or ())))


def _url(given: str | None) -> str | None:
    from domain.webhook_url import WebhookUrlError, target_of

    if given is None:
        return None
    url = given if "://" in given else f"http://{given}"
    url = url.replace("http://localhost", "http://127.0.0.1", 1)
    try:
        target_of(url, loopback=True)
    except WebhookUrlError as error:
        raise typer.BadParameter(f"nothing is sent there: {error}", param_hint="--forward-to") from error
    return url


async def _listen(url: str | None, tenant: str, types: frozenset[str]) -> None:
    from cli.connection import database_of, keyring_of
    from gateways.shop.sender import Sender
    from services.listen import follow, listening_secret

    secret = listening_secret(keyring_of(settings()), tenant)
    queue: asyncio.Queue[Seen] = asyncio.Queue()
    sender = Sender(loopback=True)

    async def tell(event: "Seen") -> None:
        if types and event.type not in types:
            return
        say(event.body if as_json() else f"{_now()}  --> {event.type} {event.object_id} [{event.id}]")
        if url is not None:
            queue.put_nowait(event)

    def ready() -> None:
        if not as_json():
            where = f", forwarded to {url}" if url else ""
            say(f"Events of {tenant}{where}. Webhook signing secret: {secret} (Ctrl-C to quit)")

    async with database_of(settings()) as database:
        forwarding = asyncio.create_task(_forward(queue, sender, url or "", secret))
        try:
            await follow(database, tenant, ready, tell)
        finally:
            forwarding.cancel()
            await sender.close()


async def _forward(queue: "asyncio.Queue[Seen]", sender: "Sender", url: str, secret: str) -> None:
    """One after the other: what is printed does not wait for it."""
    from domain.webhook_endpoint import signed_headers

    while True:
        event = await queue.get()
        body = event.body.encode()
        answer = await sender.send(url, body, signed_headers(event.id, datetime.now(UTC), body, [secret]))
        if not as_json():
            say(f"{_now()}  <-- [{answer.status_code or answer.error}] POST {url} [{event.id}]")


def _now() -> str:
    return datetime.now(UTC).strftime("%H:%M:%S")
