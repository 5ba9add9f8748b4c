"""Refunds in a list."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from db.core.database import Database
from db.refund.record import Refund
from services import search
from services.command import Caller
from services.search import Search


async def refunds_page(
    database: Database, wanted: Search, *, tenant: str | None, before: str | None, limit: int
) -> Page:
    """The newest that match."""
    rows = await search.refunds(database, Caller("", tenant), wanted, before=before, limit=limit)
    following = rows[-1].id if len(rows) == limit else None
    page: RenderableType = refunds_table(rows, payment=True)
    if not rows:
        page = look.text(("No refund is open." if wanted.open_only else "No refunds.", "dim"))
    elif following is not None:
        page = Group(page, look.text((f"These are {limit}; --before {following} shows the next.", "dim")))
    return Page(page, lambda: documents.refunds(database, rows, following))


def refunds_table(rows: Sequence[Refund], *, payment: bool = False) -> RenderableType:
    """On a payment's own page with the PSP's reference, in a list with the payment."""
    table = look.table("refund", "why", "amount", "status", "try")
    for r in rows:
        name = look.ids(r.id, r.payment_id if payment else look.psp_id(r.reference))
        status = look.because(r.status, look.failure(r.failure) if r.status != "SUCCEEDED" else "")
        table.add_row(name, r.origin, look.amount(r.amount, r.currency), status, str(r.attempt))
    return table
