"""The commands about webhooks: events that were given up."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, show
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

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
