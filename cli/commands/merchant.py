"""Merchant: TODO docstring."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Tenant, change, show
from domain.status import MerchantStatus

if TYPE_CHECKING:
    pass

merchants = typer.Typer(help="See, freeze and close sellers.", no_args_is_help=True)
Seller = Annotated[str, typer.Argument(metavar="SELLER", help="The tenant's own id of the seller, or mer_….")]
OfTenant = Annotated[str | None, typer.Option(help="Whose seller, where several tenants have one of this name.")]


# --- merchants ---


@merchants.command("list")
def merchants_list(
    tenant: Tenant = None,
    status: Annotated[
        MerchantStatus | None, typer.Option(case_sensitive=False, help="Only those with this status.")
    ] = None,
    limit: Limit = 100,
) -> None:
    """Sellers, by tenant and name."""
    from cli.pages.merchant import merchants_page

    show(lambda database: merchants_page(database, tenant=tenant, status=status and status.value, limit=limit))


@merchants.command("show")
def merchants_show(seller: Seller, tenant: OfTenant = None) -> None:
    """A seller's status, terms and wallet."""
    from cli.pages.merchant import merchant_page

    show(lambda database: merchant_page(database, seller, tenant))


@merchants.command("freeze")
def merchants_freeze(seller: Seller, by: By, tenant: OfTenant = None) -> None:
    """No new orders, confirmations and captures; refunds and disputes go on."""
    _set_status(seller, tenant, MerchantStatus.FROZEN, by)


@merchants.command("unfreeze")
def merchants_unfreeze(seller: Seller, by: By, tenant: OfTenant = None) -> None:
    """Whatever waits goes on."""
    _set_status(seller, tenant, MerchantStatus.ACTIVE, by)


@merchants.command("close")
def merchants_close(seller: Seller, by: By, tenant: OfTenant = None) -> None:
    """As frozen, and for ever."""
    _set_status(seller, tenant, MerchantStatus.CLOSED, by)


def _set_status(seller: str, tenant: str | None, status: MerchantStatus, by: str) -> None:
    from cli.operator_merchant import set_merchant_status

    change(lambda database: set_merchant_status(database, seller, tenant, status, by))
