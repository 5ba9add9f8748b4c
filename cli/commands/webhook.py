"""The commands about webhooks: events that were given up."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, change, show

if TYPE_CHECKING:
    from db.core.database import Database

webhooks = typer.Typer(help="Events that were given up.", no_args_is_help=True)


@webhooks.command("dead")
def webhooks_dead(limit: Limit = 20) -> None:
    """Events of PSPs that could not be used after many tries, newest first."""
    from cli.pages.webhook import dead_page

    show(lambda database: dead_page(database, limit=limit))


@webhooks.command("replay")
def webhooks_replay(inbox_id: Annotated[str, typer.Argument(metavar="ID", help="whk_…")], by: By) -> None:
    """Have the sweeper deliver a dead event again."""
    from services import webhook
    from services.command import Caller

    async def replay(database: "Database") -> str:
        event = await webhook.replay(database, Caller(by), inbox_id)
        return f"{event.id} is delivered again at the next sweep: `paysaga sweep` does it now."

    change(replay)
