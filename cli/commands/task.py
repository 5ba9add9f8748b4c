"""Task: TODO docstring."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, change, show

if TYPE_CHECKING:
    pass

tasks = typer.Typer(help="What waits for a person, and what to do about it.")


# --- tasks ---


@tasks.callback(invoke_without_command=True)
def tasks_list(context: typer.Context) -> None:
    """What waits for a person, and what to do about it."""
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
    from cli.operator_task import close_task

    change(lambda database: close_task(database, task_id, by, note))
