"""Refunds as an operator reads them: one on a page, and after a command."""

from rich.console import Group

from cli import documents
from cli.connection import ANYBODY
from cli.pages import format as look
from cli.pages.books import booked, books_section
from cli.pages.page import Page, said
from cli.pages.reserve import reserves_of, reserves_table
from db.core.database import Database
from domain.money import to_major
from domain.status import RefundStatus
from services import refund as service
from services.refund import RefundAnswer


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
