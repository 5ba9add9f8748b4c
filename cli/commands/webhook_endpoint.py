"""The commands about webhooks to shops. What one of them needs is imported when it is called."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Tenant, settings, show
from cli.commands.ledger import moment
from cli.nouns import Noun
from domain.webhook_endpoint import DeliveryStatus, EndpointStatus

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database
    from services.webhook_endpoint import Policy

webhook_endpoints = Noun(no_args_is_help=True)
EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="whe_…")]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="whd_…")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", help="Only events of this type; repeat for several. Left out: all."),
]
Url = Annotated[str, typer.Argument(metavar="URL", help="https://…, at a public address.")]


def _policy() -> "Policy":
    from cli.connection import keyring_of
    from services.webhook_endpoint import Policy

    return Policy(keyring_of(settings()), settings().webhooks_to_loopback)


def _show(about: str, work: Callable[["Database"], Awaitable["Page"]]) -> None:
    """Refusals in the words of the API."""
    from cli.refusals import refusals

    async def read(database: "Database") -> "Page":
        with refusals(about):
            return await work(database)

    show(read)


@webhook_endpoints.command("list")
def endpoints_list(tenant: Tenant = None) -> None:
    """Endpoints of shops, and how they do."""
    from cli.connection import ANYBODY
    from cli.pages.webhook_endpoint import endpoints_page
    from services import webhook_endpoint as service

    async def read(database: "Database") -> "Page":
        return endpoints_page(await service.every(database, ANYBODY, tenant))

    show(read)


@webhook_endpoints.command("show")
def endpoints_show(endpoint: EndpointId) -> None:
    """An endpoint."""
    from cli.connection import ANYBODY
    from cli.pages.webhook_endpoint import endpoint_page
    from services import webhook_endpoint as service

    async def read(database: "Database") -> "Page":
        return endpoint_page(await service.find(database, ANYBODY, endpoint))

    _show(endpoint, read)


@webhook_endpoints.command("create")
def endpoints_create(
    url: Url, tenant: Annotated[str, typer.Option(help="Whose events.")], by: By, types: Types = None
) -> None:
    """Send a shop's events to a URL from now on. Prints the secret that signs them, once."""
    from cli.connection import person
    from cli.pages.webhook_endpoint import secret_page
    from services import webhook_endpoint as service

    policy = _policy()

    async def create(database: "Database") -> "Page":
        made = await service.create(database, policy, person(by), tenant, url, types or ())
        return secret_page(made, f"{made.endpoint.id} gets the events of {tenant}.")

    _show(url, create)


@webhook_endpoints.command("change")
def endpoints_change(
    endpoint: EndpointId,
    by: By,
    url: Annotated[str | None, typer.Option(help="Send them there.")] = None,
    types: Types = None,
    every_type: Annotated[bool, typer.Option("--all-types", help="Send events of all types.")] = False,
) -> None:
    """Send other events, or elsewhere."""
    wanted = [] if every_type else types
    if every_type and types:
        raise typer.BadParameter("either all types or some")
    _change(endpoint, by, "goes on as this", url=url, types=wanted)


@webhook_endpoints.command("disable")
def endpoints_disable(endpoint: EndpointId, by: By) -> None:
    """Send nothing any more; what waits is skipped."""
    _change(endpoint, by, "gets nothing any more", status=EndpointStatus.DISABLED)


@webhook_endpoints.command("enable")
def endpoints_enable(endpoint: EndpointId, by: By) -> None:
    """Send what happens from now on; a replay sends the rest."""
    _change(endpoint, by, "gets what happens from now on", status=EndpointStatus.ENABLED)


def _change(
    endpoint: str,
    by: str,
    said: str,
    *,
    url: str | None = None,
    types: list[str] | None = None,
    status: EndpointStatus | None = None,
) -> None:
    from cli import webhook_documents
    from cli.connection import person
    from cli.pages import page
    from services import webhook_endpoint as service

    policy = _policy()

    async def change(database: "Database") -> "Page":
        row = await service.change(database, policy, person(by), endpoint, url=url, types=types, status=status)
        return page.said(f"{row.id} at {row.url} {said}.", lambda: webhook_documents.endpoint(row))

    _show(endpoint, change)


@webhook_endpoints.command("rotate")
def endpoints_rotate(endpoint: EndpointId, by: By) -> None:
    """Replace the secret; the old one signs as well for 24 h. Prints the new one, once."""
    from cli.connection import person
    from cli.pages.webhook_endpoint import secret_page
    from services import webhook_endpoint as service

    policy = _policy()

    async def rotate(database: "Database") -> "Page":
        done = await service.rotate(database, policy, person(by), endpoint)
        return secret_page(done, f"{endpoint} has a new secret; for 24 h the old one signs as well.")

    _show(endpoint, rotate)


@webhook_endpoints.command("test")
def endpoints_test(endpoint: EndpointId, by: By) -> None:
    """Send a test event."""
    from cli import webhook_documents
    from cli.connection import person
    from cli.pages.page import said
    from services import webhook_endpoint as service

    async def test(database: "Database") -> "Page":
        row = (await service.send_test(database, person(by), endpoint)).row
        words = f"A test event is sent: `paysaga webhook-endpoints delivery {row.id}` shows what comes of it."
        return said(words, lambda: webhook_documents.delivery(row))

    _show(endpoint, test)


@webhook_endpoints.command("deliveries")
def endpoints_deliveries(
    endpoint: EndpointId,
    status: Annotated[
        DeliveryStatus | None, typer.Option(case_sensitive=False, help="Only those with this status.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="DELIVERY", help="Those behind the page it ended.")] = None,
    limit: Limit = 50,
) -> None:
    """Events that were sent to an endpoint, or still are to be; the newest first."""
    from cli.connection import ANYBODY
    from cli.pages.webhook_endpoint import deliveries_page
    from services import webhook_endpoint as service

    async def read(database: "Database") -> "Page":
        rows = await service.deliveries(database, ANYBODY, endpoint, status=status, before=before, limit=limit)
        return deliveries_page(rows)

    _show(endpoint, read)


@webhook_endpoints.command("delivery")
def endpoints_delivery(delivery: DeliveryId) -> None:
    """A delivery with its attempts and what was answered."""
    from cli.connection import ANYBODY
    from cli.pages.webhook_endpoint import delivery_page
    from services import webhook_endpoint as service

    async def read(database: "Database") -> "Page":
        return delivery_page(await service.show_delivery(database, ANYBODY, delivery))

    _show(delivery, read)


@webhook_endpoints.command("resend")
def endpoints_resend(delivery: DeliveryId, by: By) -> None:
    """Send one again, now."""
    from cli import webhook_documents
    from cli.connection import person
    from cli.pages.page import said
    from services import webhook_endpoint as service

    async def resend(database: "Database") -> "Page":
        row = (await service.resend(database, person(by), delivery)).row
        return said(f"{row.id} is sent again.", lambda: webhook_documents.delivery(row))

    _show(delivery, resend)


@webhook_endpoints.command("replay")
def endpoints_replay(
    endpoint: EndpointId,
    since: Annotated[datetime, typer.Option(parser=moment, metavar="TIME", help="What happened from then on.")],
    by: By,
) -> None:
    """Send what has happened since a moment and was not delivered."""
    from cli import documents
    from cli.connection import person
    from cli.pages.page import said
    from services import webhook_endpoint as service

    async def replay(database: "Database") -> "Page":
        count = await service.replay(database, person(by), endpoint, since)
        words = f"{count} events are sent to {endpoint}."
        return said(words, lambda: documents.plain("webhook_replay", endpoint_id=endpoint, deliveries=count))

    _show(endpoint, replay)
