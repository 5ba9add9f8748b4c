"""`paysaga risk …`: the risk rules of tenants; `paysaga reviews`: the payments that wait for a person."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Tenant, change, settings, show

if TYPE_CHECKING:
    from db.core.database import Database

risk = typer.Typer(help="The risk rules of tenants.", no_args_is_help=True)


def reviews(tenant: Tenant = None, limit: Limit = 50) -> None:
    """Payments that wait for a decision, with the reasons and the deadline; the oldest first."""
    from cli.pages.risk import reviews_page

    show(lambda database: reviews_page(database, tenant=tenant, limit=limit))


@risk.command("show")
def risk_show(tenant: Annotated[str, typer.Argument(metavar="TENANT")]) -> None:
    """A tenant's rules as JSON: `paysaga risk show T > rules.json`, change it, `paysaga risk set T rules.json`."""
    from cli.connection import database_of
    from cli.pages.risk import rules_of

    async def read() -> tuple[str, str]:
        async with database_of(settings()) as database:
            return await rules_of(database, tenant)

    whose, rules = asyncio.run(read())
    typer.echo(whose, err=True)  # beside the JSON, which may go to a file
    typer.echo(rules)


@risk.command("set")
def risk_set(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    rules: Annotated[Path, typer.Argument(metavar="RULES.JSON", help="All rules; they replace those of before.")],
    by: By,
) -> None:
    """Replace a tenant's rules; what is wrong with them is said, and nothing changes then."""
    from cli.connection import person
    from cli.pages.risk import read_rules, replaced
    from services.risk import replace_rules

    async def work(database: "Database") -> str:
        written = await replace_rules(database, person(by), tenant, read_rules(rules))
        return replaced(tenant, written)

    change(work)
