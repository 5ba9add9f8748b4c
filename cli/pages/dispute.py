"""Disputes as an operator reads them: one on a page, and after a command."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.connection import ANYBODY
from cli.pages import format as look
from cli.pages.books import booked, books_section
from cli.pages.page import Page, said
from cli.pages.reserve import reserves_of, reserves_table
from db.core.database import Database
from db.dispute import evidence
from db.dispute.record import Dispute, Evidence
from domain.status import DISPUTE_ENDED, DisputeStatus
from services import dispute as service
from services.dispute import EvidenceAnswer


async def dispute_page(database: Database, name: str) -> Page:
    """The deadline, the evidence, every movement of money, and what is set aside."""
    row = await service.find(database, ANYBODY, name)
    pieces = await database.read(lambda c: evidence.of_dispute(c, row.id))
    held = await reserves_of(database, [row.id])
    sources = {row.id, *(part.id for part in held)}
    books = await booked(database, row.tenant_id, row.payment_id, sources, dispute_of=row.psp)
    page = Group(
        look.text((row.id, "bold"), "  ", look.status(row.status), "  ", look.amount(row.amount, row.currency)),
        _dispute_facts(row),
        *_to_answer(row),
        *look.section("Evidence", _evidence(pieces) if pieces else None),
        *look.section("Set aside for it", reserves_table(held)),
        *books_section(books),
    )
    return Page(page, lambda: documents.dispute(database, row))


def _dispute_facts(row: Dispute) -> RenderableType:
    facts = look.facts()
    facts.add_row("payment", row.payment_id)
    facts.add_row("about", row.category or "–")
    facts.add_row(
        "at the PSP",
        f"{look.psp_id(row.reference)}; {'the money is withdrawn' if row.withdrawn else 'no money is held'}",
    )
    facts.add_row("PSP's fee", look.amount(row.fee, row.currency))
    if row.status not in DISPUTE_ENDED:
        due = look.text(look.time(row.evidence_due_at), "  ", look.left(row.evidence_due_at))
        facts.add_row("evidence due", due)
    facts.add_row("opened", look.time(row.created_at))
    if row.closed_at:
        facts.add_row("decided", look.time(row.closed_at))
    return facts


def _to_answer(row: Dispute) -> list[RenderableType]:
    if row.status not in (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.INQUIRY):
        return []
    return [look.typed(f"`paysaga disputes evidence {row.id} --field name=text`, once, all of it", "cyan")]


def _evidence(pieces: Sequence[Evidence]) -> RenderableType:
    table = look.table("evidence", "by", "fields (their text is encrypted)", "status", "submitted (UTC)", "")
    for piece in pieces:
        why = piece.failure.message if piece.failure else ""
        what = (piece.id, piece.actor, ", ".join(piece.field_names), piece.status)
        table.add_row(*what, look.time(piece.submitted_at), why)
    return table


def submitted(database: Database, done: EvidenceAnswer) -> Page:
    """The sentence after `paysaga disputes evidence`."""
    found = done.found
    words = f"{found.id} was {found.status}: {done.evidence_id} ({', '.join(done.fields)}) is being submitted."
    return said(words + look.later(done.told), lambda: documents.dispute(database, done.dispute))
