"""Refund: TODO docstring."""

from rich.console import Group, RenderableType
from rich.text import Text

from cli.operator_refund import find_refund
from cli.pages import format as look
from cli.pages.after_settlement import _held, _refunds, _reserves
from cli.pages.books import _booked, _books
from db import lookup as operator
from db.core.database import Database
from db.payment.record import Payment
from db.refund import refund

# --- refunds ---


async def refunds_page(database: Database, row: Payment | None, *, open_only: bool, limit: int) -> RenderableType:
    if row is not None:
        found = await database.read(lambda c: refund.of_payment(c, row.id))
        rows = [r for r in found if not (open_only and r.ended)]
    else:
        rows = await database.read(lambda c: operator.list_refunds(c, open_only=open_only, limit=limit))
    if not rows:
        return Text("No refund is open." if open_only else "No refunds.", "dim")
    return _refunds(rows, payment=True)


async def refund_page(database: Database, refund_id: str) -> RenderableType:
    """Where it stands, who wanted it, what covers it and what is booked of it."""
    row = await find_refund(database, refund_id)
    facts = look.facts()
    facts.add_row("payment", row.payment_id)
    facts.add_row("order", row.order_id or "all of them")
    facts.add_row("origin", f"{row.origin}{f', {row.reason}' if row.reason else ''}, by {row.actor or 'workflow'}")
    facts.add_row("at the PSP", f"{row.reference or 'no reference'}, request {row.attempt}")
    if row.unknown_count:
        facts.add_row("", f"{row.unknown_count} answers could not be trusted")
    if row.failure and row.status != "SUCCEEDED":
        facts.add_row("last answer", look.failure(row.failure))
    facts.add_row("created", look.time(row.created_at))
    title = Text.assemble((row.id, "bold"), "  ", look.status(row.status), "  ", look.amount(row.amount, row.currency))
    held = await _reserves(database, [row.id])
    books = await _booked(database, row.tenant_id, row.payment_id, {row.id, *(part.id for part in held)})
    return Group(title, facts, *look.section("Set aside for it", _held(held) if held else None), *_books(books))
