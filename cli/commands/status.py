"""`paysaga status`: the stack that runs on this machine."""

import typer

from cli.command_line import put
from cli.nouns import as_json


def status() -> None:
    """Show the stack that runs in PAYSAGA_HOME; exit code 1 if none does."""
    from cli.pages.status import document_of, page_of
    from config.settings import Settings
    from embedded.status import running_stack

    stack = running_stack(Settings())
    put(document_of(stack) if as_json() else page_of(stack))
    if not stack.processes:
        raise typer.Exit(1)
