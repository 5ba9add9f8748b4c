"""Webhook: TODO docstring."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, change, show

if TYPE_CHECKING:
    pass

webhooks = typer.Typer(help="Events that were given up.", no_args_is_help=True)


# --- webhooks ---


@webhooks.command("dead")
def webhooks_dead(limit: Limit = 20) -> None:
    """Events of PSPs that could not be used after many tries, newest first."""
    from cli.pages.webhook import dead_page

    show(lambda database: dead_page(database, limit=limit))


@webhooks.command("replay")
def webhooks_replay(inbox_id: Annotated[str, typer.Argument(metavar="ID", help="whk_…")], by: By) -> None:
    """Have the sweeper deliver a dead event again."""
    from cli.operator_webhook import replay_webhook

    change(lambda database: replay_webhook(database, inbox_id, by))
