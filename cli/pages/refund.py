"""Refunds as an operator reads them: one on a page, and in lists."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.connection import ANYBODY
from cli.pages import format as look
from cli.pages.books import booked, books_section
from cli.pages.page import Page, said
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


async def refund_page(database: Database, refund_id: str) -> Page:
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
    title = look.text((row.id, "bold"), "  ", look.status(row.status), "  ", look.amount(row.amount, row.currency))
    held = await reserves_of(database, [row.id])
    books = await booked(database, row.tenant_id, row.payment_id, {row.id, *(part.id for part in held)})
    page = Group(title, facts, *look.section("Set aside for it", reserves_table(held)), *books_section(books))
    return Page(page, lambda: documents.refund(database, row))


def created(database: Database, done: RefundAnswer) -> Page:
    """The sentence after `paysaga refunds create`."""
    made = done.refund
    why = f" ({made.failure.message})" if made.failure and made.status is not RefundStatus.SUCCEEDED else ""
    words = f"{made.id} of {to_major(made.amount, made.currency)} {made.currency} is {made.status}{why}."
    return said(words + look.later(done.told), lambda: documents.refund(database, made))
