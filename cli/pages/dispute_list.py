"""Disputes in a list."""

from collections.abc import Sequence

from rich.console import RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from db.core.database import Database
from db.dispute import find as disputes
from db.dispute.record import Dispute
from domain.status import DISPUTE_ENDED


async def disputes_page(database: Database, *, open_only: bool, limit: int) -> Page:
    """The one whose evidence is due first, first."""
    rows = await database.read(lambda c: disputes.by_deadline(c, open_only=open_only, limit=limit))
    none = look.text(("No dispute is open." if open_only else "No disputes.", "green" if open_only else "dim"))
    return Page(disputes_table(rows, payment=True) if rows else none, lambda: documents.disputes(rows))


def disputes_table(rows: Sequence[Dispute], *, payment: bool = False) -> RenderableType:
    """On a payment's own page with the PSP's reference, in a list with the payment."""
    table = look.table("dispute", "about", "amount", "status", "evidence due")
    for d in rows:
        due = look.text("–") if d.status in DISPUTE_ENDED else look.left(d.evidence_due_at)
        name = look.ids(d.id, d.payment_id if payment else look.psp_id(d.reference))
        table.add_row(name, d.category or "–", look.amount(d.amount, d.currency), look.status(d.status), due)
    return table
