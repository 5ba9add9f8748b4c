"""The commands about sellers. What one of them needs is imported when it is called."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Tenant, settings, show
from cli.nouns import Noun
from domain.status import MerchantStatus

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

merchants = Noun(no_args_is_help=True)
Seller = Annotated[str, typer.Argument(metavar="SELLER", help="The tenant's own id of the seller, or mer_….")]
OfTenant = Annotated[str | None, typer.Option(help="Whose seller, where several tenants have one of this name.")]


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

    show(lambda database: merchants_page(database, tenant=tenant, status=status, limit=limit))


@merchants.command("show")
def merchants_show(seller: Seller, tenant: OfTenant = None) -> None:
    """A seller's status, terms and wallet."""
    from cli.pages.merchant import merchant_page

    show(lambda database: merchant_page(settings(), database, seller, tenant))


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


_MEANS = {
    MerchantStatus.ACTIVE: "whatever waits goes on",
    MerchantStatus.FROZEN: "no new orders and no captures; what is charged already is refunded, and refunds and "
    "disputes go on",
    MerchantStatus.CLOSED: "for ever; refunds are made from what is left in its wallet",
}


def _set_status(seller: str, tenant: str | None, status: MerchantStatus, by: str) -> None:
    from cli import documents
    from cli.pages.page import said
    from cli.refusals import refusals
    from services.command import Caller
    from services.merchant import change as change_merchant

    async def set_status(database: "Database") -> "Page":
        with refusals(seller):
            done = await change_merchant(database, Caller(by), seller, {"status": status}, tenant_id=tenant)
        words = f"{done.after.seller_account} of {done.after.tenant_id} is {status} already."
        if done.before != done.after:
            was = f"{done.after.seller_account} of {done.after.tenant_id} was {done.before.status}"
            words = f"{was} and is {status}: {_MEANS[status]}."
        return said(words, lambda: documents.merchant(done.after))

    show(set_status)
