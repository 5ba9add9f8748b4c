"""Pages about sellers: one with its terms and wallet, and the list."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.connection import ANYBODY
from cli.hints import schedule_words
from cli.pages import format as look
from cli.pages.page import Page
from config.settings import Settings
from db import merchant
from db.core.database import Database
from db.ledger import wallet
from db.ledger.wallet import WalletBalance
from db.merchant import Merchant
from domain.money import to_major
from domain.status import MerchantStatus
from services import merchant as merchants


async def merchants_page(database: Database, *, tenant: str | None, status: MerchantStatus | None, limit: int) -> Page:
    """Sellers, by tenant and name."""
    rows = await database.read(lambda c: merchant.of_all_tenants(c, tenant_id=tenant, status=status, limit=limit))
    return Page(_table(rows), lambda: documents.merchants(rows))


def _table(rows: Sequence[Merchant]) -> RenderableType:
    if not rows:
        return look.text(("No merchants.", "dim"))
    table = look.table("seller", "name", "fee", "status")
    for row in rows:
        name = look.ids(row.seller_account, f"{row.id} of {row.tenant_id}")
        table.add_row(name, row.name or "–", _fee(row), look.status(row.status))
    return table


def _fee(row: Merchant) -> str:
    fixed = f" + {row.fee_fixed.normalize():f}" if row.fee_fixed else ""
    return f"{row.fee_percent.normalize():f} %{fixed}"


async def merchant_page(settings: Settings, database: Database, name: str, tenant: str | None) -> Page:
    """Its terms and its wallet."""
    row = await merchants.find(database, ANYBODY, name, tenant)
    balances = await database.read(lambda c: wallet.of_seller(c, row.tenant_id, row.seller_account))
    facts = look.facts()
    facts.add_row("id", row.id)
    facts.add_row("tenant", row.tenant_id)
    facts.add_row("name", row.name or "–")
    facts.add_row("our fee", f"{_fee(row)}; {row.platform_fee_on_refund} on a refund")
    facts.add_row("PSP's fee", f"paid by the {row.psp_fee_payer}; of a dispute, by the {row.dispute_fee_payer}")
    facts.add_row("credit", "may owe for a refund" if row.allow_negative_balance else "none for a refund")
    if row.country:
        facts.add_row("country", row.country)
    facts.add_row("paid out", f"{schedule_words(row.schedule)}, to {row.payout_account or 'no account'}")
    title = look.text((row.seller_account, "bold"), "  ", look.status(row.status))
    page = Group(title, facts, *look.section("Wallet", _wallet(balances) if balances else None))
    return Page(page, lambda: documents.merchant_with_wallet(settings, database, row))


def _wallet(balances: Sequence[WalletBalance]) -> RenderableType:
    table = look.table("currency", "pending", "available", "reserved", "owed")
    for row in balances:
        amounts = (
            to_major(getattr(row, name), row.currency) for name in ("pending", "available", "reserved", "receivable")
        )
        table.add_row(row.currency, *amounts)
    return table
