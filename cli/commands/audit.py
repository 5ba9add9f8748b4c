"""`paysaga audit`: check the money invariants."""

import asyncio
from typing import Annotated

import typer

from cli.command_line import (
    console,
    settings,
)
from cli.commands.ledger import WrittenDown, written_down


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    head: WrittenDown = None,
) -> None:
    """Check the money invariants; exit code 1 on any violation."""
    from cli.pages.audit import run_audit_command

    expected = written_down(head)
    if not asyncio.run(run_audit_command(settings(), console(), as_json=as_json, head=expected)):
        raise typer.Exit(1)
