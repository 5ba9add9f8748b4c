"""Payments in a list."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from db.core.database import Database
from db.payment.record import Payment
from services import search
from services.command import Caller
from services.search import Search


async def payments_page(
    database: Database, wanted: Search, *, tenant: str | None, before: str | None, limit: int
) -> Page:
    """The newest that match."""
    rows = await search.payments(database, Caller("", tenant), wanted, before=before, limit=limit)
    following = rows[-1].id if len(rows) == limit else None
    page = _table(rows)
    if not rows:
        page = look.text(("No payments." if wanted == Search() else "No payments match.", "dim"))
    elif following is not None:
        page = Group(page, look.text((f"These are {limit}; --before {following} shows the next.", "dim")))
    return Page(page, lambda: documents.payments(rows, following))


def _table(rows: Sequence[Payment]) -> RenderableType:
    table = look.table("payment", "created (UTC)", "amount", "status")
    for row in rows:
        which = look.ids(row.id, f"{row.checkout_id or 'no checkout'}, of {row.tenant_id}")
        failure = next((order.failure.code for order in row.orders if order.failure), "")
        amount = look.amount(row.amount, row.currency)
        table.add_row(which, look.time(row.created_at), amount, look.because(row.status, failure))
    return table
