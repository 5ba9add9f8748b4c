"""Refunds as an operator reads them: one on a page, and in lists."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from cli.connection import ANYBODY
from cli.pages import format as look
from cli.pages.books import booked, books_section
from cli.pages.reserve import reserves_of, reserves_table
from db.core.database import Database
from db.refund.record import Refund
from domain.money import to_major
from domain.status import RefundStatus
from services import refund as service
from services import search
from services.command import Caller
from services.refund import RefundAnswer
from services.search import Search


async def refunds_page(
    database: Database, wanted: Search, *, tenant: str | None, before: str | None, limit: int
) -> RenderableType:
    """The newest that match."""
    rows = await search.refunds(database, Caller("", tenant), wanted, before=before, limit=limit)
    if not rows:
        return Text("No refund is open." if wanted.open_only else "No refunds.", "dim")
    table = refunds_table(rows, payment=True)
    if len(rows) < limit:
        return table
    return Group(table, Text(f"These are {limit}; --before {rows[-1].id} shows the next.", "dim"))


def refunds_table(rows: Sequence[Refund], *, payment: bool = False) -> RenderableType:
    """On a payment's own page with the PSP's reference, in a list with the payment."""
    table = look.table("refund", "why", "amount", "status", "try", "")
    for r in rows:
        name = look.ids(r.id, r.payment_id if payment else look.psp_id(r.reference))
        what = (r.origin, look.amount(r.amount, r.currency), look.status(r.status), str(r.attempt))
        table.add_row(name, *what, look.failure(r.failure) if r.status != "SUCCEEDED" else "")
    return table


async def refund_page(database: Database, refund_id: str) -> RenderableType:
    """Where it stands, who wanted it, what covers it and what is booked of it."""
    row = await service.find(database, ANYBODY, refund_id)
    facts = look.facts()
    facts.add_row("payment", row.payment_id)
    facts.add_row("order", row.order_id or "all of them")
    facts.add_row("origin", f"{row.origin}{f', {row.reason}' if row.reason else ''}, by {row.actor or 'workflow'}")
    facts.add_row("at the PSP", f"{look.psp_id(row.reference)}, request {row.attempt}")
    if row.unknown_count:
        facts.add_row("", f"{row.unknown_count} answers could not be trusted")
        if row.status is RefundStatus.REQUESTED:
            facts.add_row("next try", look.time(row.next_check_at))
    if row.failure and row.status != "SUCCEEDED":
        facts.add_row("last answer", look.failure(row.failure))
    facts.add_row("created", look.time(row.created_at))
    title = Text.assemble((row.id, "bold"), "  ", look.status(row.status), "  ", look.amount(row.amount, row.currency))
    held = await reserves_of(database, [row.id])
    books = await booked(database, row.tenant_id, row.payment_id, {row.id, *(part.id for part in held)})
    return Group(title, facts, *look.section("Set aside for it", reserves_table(held)), *books_section(books))


def created(done: RefundAnswer) -> str:
    """The sentence after `paysaga refunds create`."""
    made = done.refund
    why = f" ({made.failure.message})" if made.failure and made.status is not RefundStatus.SUCCEEDED else ""
    said = f"{made.id} of {to_major(made.amount, made.currency)} {made.currency} is {made.status}{why}."
    return said + look.later(done.told)
