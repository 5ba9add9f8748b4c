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
    """Tenants, each with the sites that its buyers may be sent back to, and those whose pages may call."""
    from cli.pages.tenant import tenants_page

    show(tenants_page)


@tenants.command("allow-return-url")
def tenants_allow_return_url(tenant: TenantName, site: Site, by: By) -> None:
    """Let the payments of a tenant send their buyers back to a site (`return_url`)."""
    from cli.pages.tenant import returns
    from services.command import Caller
    from services.tenant import allow_return_url

    async def allow(database: "Database") -> "Page":
        return returns(tenant, await allow_return_url(database, Caller(by), tenant, site))

    show(allow)


@tenants.command("forbid-return-url")
def tenants_forbid_return_url(tenant: TenantName, site: Site, by: By) -> None:
    """Let no new payment of a tenant send its buyer back to a site; those that were made keep theirs."""
    from cli.pages.tenant import returns
    from services.command import Caller
    from services.tenant import forbid_return_url

    async def forbid(database: "Database") -> "Page":
        return returns(tenant, await forbid_return_url(database, Caller(by), tenant, site))

    show(forbid)


@tenants.command("allow-origin")
def tenants_allow_origin(tenant: TenantName, site: Site, by: By) -> None:
    """Let a tenant's pages on a site call with the client token of a payment (CORS)."""
    from cli.pages.tenant import pages
    from services.command import Caller
    from services.tenant import allow_origin

    async def allow(database: "Database") -> "Page":
        return pages(tenant, await allow_origin(database, Caller(by), tenant, site))

    show(allow)


@tenants.command("forbid-origin")
def tenants_forbid_origin(tenant: TenantName, site: Site, by: By) -> None:
    """Let a tenant's pages on a site call no more; it takes effect within seconds."""
    from cli.pages.tenant import pages
    from services.command import Caller
    from services.tenant import forbid_origin

    async def forbid(database: "Database") -> "Page":
        return pages(tenant, await forbid_origin(database, Caller(by), tenant, site))

    show(forbid)
