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


def _window(since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
    return since, until or datetime.now(UTC)
