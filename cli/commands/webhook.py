"""The commands about webhooks: events that were given up, and what the PSP sends where."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, show, steer
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database
    from runtime.wiring import Runtime

webhooks = Noun(no_args_is_help=True)


@webhooks.command("dead")
def webhooks_dead(limit: Limit = 20) -> None:
    """Events of PSPs that could not be used after many tries, newest first."""
    from cli.pages.webhook import dead_page

    show(lambda database: dead_page(database, limit=limit))


@webhooks.command("replay")
def webhooks_replay(inbox_id: Annotated[str, typer.Argument(metavar="ID", help="whk_…")], by: By) -> None:
    """Have the sweeper deliver a dead event again."""
    from cli import documents
    from cli.pages.page import said
    from services import webhook
    from services.command import Caller

    async def replay(database: "Database") -> "Page":
        event = await webhook.replay(database, Caller(by), inbox_id)
        words = f"{event.id} is delivered again at the next sweep: `paysaga sweep` does it now."
        return said(words, lambda: documents.dead_event(event))

    show(replay)


@webhooks.command("check")
def webhooks_check(
    url: Annotated[str | None, typer.Option(help="Only the endpoints at this address; left out: all of ours.")] = None,
) -> None:
    """Compare what the PSP sends with what changes something here; exit code 1 if something is not sent."""
    from cli.pages.endpoint import checked
    from cli.refusals import refusals
    from services import endpoint

    missing = False

    async def work(runtime: "Runtime") -> "Page":
        nonlocal missing
        with refusals("webhooks"):
            found = await endpoint.check(runtime, url)
        missing = any(subscription.missing for subscription in found)
        return checked(found)

    steer(work)
    if missing:
        raise typer.Exit(1)


@webhooks.command("setup")
def webhooks_setup(
    url: Annotated[str, typer.Option(help="Where the PSP reaches the API: https://<host>/webhooks/stripe")], by: By
) -> None:
    """Have the PSP send what changes something here, and nothing else. Prints the secret of a new endpoint, once."""
    from cli.connection import person
    from cli.pages.endpoint import set_up
    from cli.refusals import refusals
    from services import endpoint

    async def work(runtime: "Runtime") -> "Page":
        with refusals("webhooks"):
            return set_up(await endpoint.set_up(runtime, person(by), url))

    steer(work)
