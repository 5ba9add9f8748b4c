"""`paysaga audit`: check the money invariants."""

import asyncio

import typer

from cli.command_line import console, settings
from cli.commands.ledger import WrittenDown, written_down


def audit(head: WrittenDown = None) -> None:
    """Check the money invariants; exit code 1 on any violation."""
    from cli.pages.audit import run_audit_command

    expected = written_down(head)
    if not asyncio.run(run_audit_command(settings(), console(), head=expected)):
        raise typer.Exit(1)
