"""`paysaga risk …`: the risk rules of tenants; `paysaga reviews`: the payments that wait for a person."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Tenant, show
from cli.nouns import Noun, as_json

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

risk = Noun(no_args_is_help=True)


def reviews(tenant: Tenant = None, limit: Limit = 50) -> None:
    """Payments that wait for a decision, with the reasons and the deadline; the oldest first."""
    from cli.pages.risk import reviews_page

    show(lambda database: reviews_page(database, tenant=tenant, limit=limit))


@risk.command("show")
def risk_show(tenant: Annotated[str, typer.Argument(metavar="TENANT")]) -> None:
    """A tenant's rules as JSON: `paysaga risk show T > rules.json`, change it, `paysaga risk set T rules.json`."""
    from cli import documents
    from cli.pages.layout import whole
    from cli.pages.page import Page
    from cli.pages.risk import rules_of
    from cli.pages.safe import safe

    async def read(database: "Database") -> Page:
        whose, rules, row = await rules_of(database, tenant)
        if not as_json():
            typer.echo(safe(whose), err=True)  # beside the JSON, which may go to a file
        return Page(whole(rules), lambda: documents.rules(tenant, row))

    show(read)


@risk.command("set")
def risk_set(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    rules: Annotated[Path, typer.Argument(metavar="RULES.JSON", help="All rules; they replace those of before.")],
    by: By,
) -> None:
    """Replace a tenant's rules; what is wrong with them is said, and nothing changes then."""
    from cli import documents
    from cli.connection import person
    from cli.pages.page import said
    from cli.pages.risk import read_rules, replaced
    from services.risk import replace_rules

    async def work(database: "Database") -> "Page":
        written = await replace_rules(database, person(by), tenant, read_rules(rules))
        return said(replaced(tenant, written), lambda: documents.rules(tenant, written))

    show(work)
