"""The commands about what waits for a person. What one of them needs is imported when it is called."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, show
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

tasks = Noun()


@tasks.callback(invoke_without_command=True)
def tasks_list(context: typer.Context) -> None:
    """List what waits for a person, and what to do about it."""
    if context.invoked_subcommand is not None:
        return
    from cli.pages.task import tasks_page

    show(tasks_page)


@tasks.command("close")
def tasks_close(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="task_…")],
    by: By,
    note: Annotated[str, typer.Option(help="What was done about it, for the audit log.")],
) -> None:
    """Close a task that nothing closes by itself."""
    from cli import documents
    from cli.hints import hint
    from cli.pages.page import said
    from cli.refusals import refusals
    from embedded.errors import StackError
    from services import task
    from services.command import Caller

    async def close(database: "Database") -> "Page":
        with refusals(task_id):
            try:
                done = await task.close(database, Caller(by), task_id, note)
            except task.ClosedByItsAnswer as error:
                raise StackError(f"{error.detail.rstrip('.')}: {hint(error.task)}.") from error
        words = f"{task_id} ({done.task.kind}) is closed."
        if not done.now:
            words = f"{task_id} was closed already, by {done.task.closed_by}: {done.task.resolution}."
        return said(words, lambda: documents.task(done.task))

    show(close)
