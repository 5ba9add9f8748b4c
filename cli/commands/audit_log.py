"""The command that shows the audit log. What it needs is imported when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from cli.command_line import Limit, Tenant, show
from cli.commands.ledger import File, with_database
from cli.search import Since, Until


def audit_log(
    actor: Annotated[str | None, typer.Option(help="A person's name, or an API key's id or name.")] = None,
    action: Annotated[str | None, typer.Option(help="One such as payment.cancel, or all of a noun: payment")] = None,
    object_id: Annotated[str | None, typer.Option("--object", metavar="ID", help="What was acted on: pay_…")] = None,
    since: Since = None,
    until: Until = None,
    tenant: Tenant = None,
    limit: Limit = 50,
    csv: File = None,
    json: Annotated[bool, typer.Option("--json", help="All of it as JSON lines, on the terminal.")] = False,
) -> None:
    """Everything that was created, moved or changed: by whom, and from where; newest first. A file has all of it."""
    from cli.pages.audit_log import audit_log_page, write_audit_log
    from db.audit_log import Wanted

    if json and csv is not None:
        raise typer.BadParameter("--csv, or --json; not both")
    wanted = Wanted(since, until, actor, action, object_id)
    if json or csv is not None:
        with_database(lambda database: write_audit_log(database, tenant, wanted, csv or Path("-"), as_json=json))
    else:
        show(lambda database: audit_log_page(database, tenant, wanted, limit=limit))
