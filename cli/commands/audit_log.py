"""The command that shows the audit log. What it needs is imported when it is called."""

from typing import Annotated

import typer

from cli.command_line import Limit, Tenant, show
from cli.commands.ledger import File, refuse_two_forms, show_slowly
from cli.search import Since, Until


def audit_log(
    actor: Annotated[str | None, typer.Option(help="A person's name, or an API key's id or name.")] = None,
    action: Annotated[str | None, typer.Option(help="One such as payment.cancel, or all of a noun: payment")] = None,
    object_id: Annotated[str | None, typer.Option("--object", metavar="ID", help="What was acted on: pay_…")] = None,
    since: Since = None,
    until: Until = None,
    tenant: Tenant = None,
    before: Annotated[int | None, typer.Option(metavar="NO", help="Those behind the page that ended with it.")] = None,
    limit: Limit = 50,
    csv: File = None,
) -> None:
    """Everything that was created, moved or changed: by whom, and from where; newest first. A file has all of it."""
    from cli.pages.audit_log import audit_log_page, write_audit_log
    from db.audit_log import Wanted

    refuse_two_forms(csv)
    wanted = Wanted(since, until, actor, action, object_id)
    if csv is None:
        show(lambda database: audit_log_page(database, tenant, wanted, before=before, limit=limit))
    else:
        show_slowly(lambda database: write_audit_log(database, tenant, wanted, csv))
