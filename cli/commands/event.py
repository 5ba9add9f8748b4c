"""The commands about events. What one of them needs is imported when it is called."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, settings, show
from cli.commands.ledger import moment
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

events = Noun(no_args_is_help=True)
Since = Annotated[datetime, typer.Option(parser=moment, metavar="TIME", help="What happened from this moment on.")]
Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="And before this one; left out: now.")
]


@events.command("verify")
def events_verify(since: Since, until: Until = None) -> None:
    """Compare a window of the outbox with what the broker has; exit code 1 if an event is missing there."""
    from cli.pages.event import compared
    from embedded.errors import StackError
    from runtime.wiring import broker_of
    from services.event import verify

    broker = broker_of(settings())
    if broker is None:
        raise StackError("There is no broker: PAYSAGA_EVENTS_URL is not set.")
    missing = 0

    async def compare(database: "Database") -> "Page":
        nonlocal missing
        found = await verify(database, broker, *_window(since, until))
        missing = found.missing
        return compared(found)

    show(compare)
    if missing:
        raise typer.Exit(1)


@events.command("replay")
def events_replay(since: Since, by: By, until: Until = None) -> None:
    """Publish a window again, under the same ids: consumers drop what they know."""
    from cli.pages.event import replayed
    from services.command import Caller
    from services.event import replay

    async def again(database: "Database") -> "Page":
        return replayed(await replay(database, Caller(by), *_window(since, until)))

    show(again)


@events.command("sinks")
def events_sinks() -> None:
    """Where events go, and how many wait for each."""
    from cli.pages.event import sinks_page
    from services.event import sinks

    async def read(database: "Database") -> "Page":
        return sinks_page(await sinks(database))

    show(read)


@events.command("disable-sink")
def events_disable_sink(
    name: Annotated[str, typer.Argument(metavar="SINK", help="As `paysaga events sinks` has it.")], by: By
) -> None:
    """Give up a sink that is not there any more; events stay in the outbox."""
    from cli import documents
    from cli.pages.page import said
    from cli.refusals import refusals
    from services.command import Caller
    from services.event import disable_sink

    async def disable(database: "Database") -> "Page":
        with refusals(name):
            waited = await disable_sink(database, Caller(by), name)
        words = f"Nothing is kept for the {name} any more; {waited} events waited for it."
        return said(words, lambda: documents.plain("event_sink", name=name, active=False, waited=waited))

    show(disable)


@events.command("register")
def events_register() -> None:
    """Have the schema registry know the schema of every event, as often as you like; exit code 1 if it refuses one."""
    from cli.command_line import tell
    from cli.pages.event import registered
    from domain.errors import Unavailable
    from domain.event_types import event_types
    from embedded.errors import StackError
    from gateways.brokers.schemas import register

    url = settings().events_registry
    if url is None:
        raise StackError("There is no schema registry: PAYSAGA_EVENTS_REGISTRY is not set.")
    refused = False

    async def work() -> "Page":
        nonlocal refused
        try:
            found = await register(url.get_secret_value(), event_types().values())
        except Unavailable as error:
            raise StackError(error.detail) from error
        refused = any(one.refused for one in found)
        return registered(found)

    tell(work)
    if refused:
        raise typer.Exit(1)


def _window(since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
    return since, until or datetime.now(UTC)
