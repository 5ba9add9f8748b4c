"""Dispute: TODO docstring."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from cli.operator_dispute import find_dispute
from cli.pages import format as look
from cli.pages.after_settlement import _disputes, _held, _reserves
from cli.pages.books import _booked, _books
from db import lookup as operator
from db.core.database import Database
from db.dispute import dispute
from db.dispute.record import Dispute
from domain.status import DISPUTE_ENDED, DisputeStatus

_OPEN_DISPUTE = tuple(sorted(status.value for status in DisputeStatus if status not in DISPUTE_ENDED))


# --- disputes ---


async def disputes_page(database: Database, *, open_only: bool, limit: int) -> RenderableType:
    statuses = _OPEN_DISPUTE if open_only else None
    rows = await database.read(lambda c: operator.list_disputes(c, statuses=statuses, limit=limit))
    if not rows:
        return Text("No dispute is open." if open_only else "No disputes.", "green" if open_only else "dim")
    return _disputes(rows, payment=True)


async def dispute_page(database: Database, name: str) -> RenderableType:
    """The deadline, the evidence, every movement of money, and what is set aside."""
    row = await find_dispute(database, name)
    evidence = await database.read(lambda c: dispute.evidence_of(c, row.id))
    held = await _reserves(database, [row.id])
    sources = {row.id, *(part.id for part in held)}
    books = await _booked(database, row.tenant_id, row.payment_id, sources, dispute_of=row.psp)
    return Group(
        Text.assemble((row.id, "bold"), "  ", look.status(row.status), "  ", look.amount(row.amount, row.currency)),
        _dispute_facts(row),
        *look.section("Evidence", _evidence(evidence) if evidence else None),
        *look.section("Set aside for it", _held(held) if held else None),
        *_books(books),
    )


def _dispute_facts(row: Dispute) -> RenderableType:
    facts = look.facts()
    facts.add_row("payment", row.payment_id)
    facts.add_row("about", row.category or "–")
    facts.add_row("at the PSP", f"{row.reference}; {'the money is withdrawn' if row.withdrawn else 'no money is held'}")
    facts.add_row("PSP's fee", look.amount(row.fee, row.currency))
    if row.status not in DISPUTE_ENDED:
        due = Text.assemble(look.time(row.evidence_due_at), "  ", look.left(row.evidence_due_at))
        facts.add_row("evidence due", due)
        if row.status in (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.INQUIRY):
            facts.add_row("", Text(f"`paysaga disputes evidence {row.id} --field name=text …`, once", "cyan"))
    facts.add_row("opened", look.time(row.created_at))
    if row.closed_at:
        facts.add_row("decided", look.time(row.closed_at))
    return facts


def _evidence(evidence: Sequence[dict[str, Any]]) -> RenderableType:
    table = look.table("evidence", "by", "fields (their text is encrypted)", "status", "submitted (UTC)", "")
    for piece in evidence:
        why = (piece["failure"] or {}).get("message", "")
        what = (piece["id"], piece["actor"], ", ".join(piece["field_names"]), piece["status"])
        table.add_row(*what, look.time(piece["submitted_at"]), why)
    return table
