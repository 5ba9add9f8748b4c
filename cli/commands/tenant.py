"""The commands about tenants. What one of them needs is imported when it is called."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, show
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

tenants = Noun(no_args_is_help=True)
TenantName = Annotated[str, typer.Argument(metavar="TENANT")]
Site = Annotated[str, typer.Argument(metavar="SITE", help="Scheme, host and port: https://shop.example")]


@tenants.command("list")
def tenants_list() -> None:
    """Tenants, each with the sites that its buyers may be sent back to."""
    from cli.pages.tenant import tenants_page

    show(tenants_page)


@tenants.command("allow-return-url")
def tenants_allow_return_url(tenant: TenantName, site: Site, by: By) -> None:
    """Let the payments of a tenant send their buyers back to a site (`return_url`)."""
    from cli.pages.tenant import changed
    from services.command import Caller
    from services.tenant import allow_return_url

    async def allow(database: "Database") -> "Page":
        return changed(tenant, await allow_return_url(database, Caller(by), tenant, site))

    show(allow)


@tenants.command("forbid-return-url")
def tenants_forbid_return_url(tenant: TenantName, site: Site, by: By) -> None:
    """Let no new payment of a tenant send its buyer back to a site; those that were made keep theirs."""
    from cli.pages.tenant import changed
    from services.command import Caller
    from services.tenant import forbid_return_url

    async def forbid(database: "Database") -> "Page":
        return changed(tenant, await forbid_return_url(database, Caller(by), tenant, site))

    show(forbid)
