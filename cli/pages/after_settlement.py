"""What operators read about what follows a payment: reviews, refunds, disputes; sellers, risk rules and tasks."""

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cli.pages import format as look
from db import risk
from db.core.database import Database
from db.dispute import dispute
from db.dispute.record import Dispute
from db.ledger import reserve
from db.ledger.reserve_record import Reserve
from db.payment.record import Payment
from db.refund import refund
from db.refund.record import Refund
from domain.money import to_major
from domain.status import DISPUTE_ENDED

# --- parts of a payment's page ---


async def aftermath_sections(database: Database, row: Payment) -> list[RenderableType]:
    """Risk, refunds, disputes, and what is set aside for them; each only where there is something."""
    decisions = await database.read(lambda c: risk.decisions(c, row.id))
    refunds = await database.read(lambda c: refund.of_payment(c, row.id))
    disputes = await database.read(lambda c: dispute.of_payment(c, row.id))
    held = await _reserves(database, [*(r.id for r in refunds), *(d.id for d in disputes)])
    return [
        *look.section("Risk", _decisions(decisions) if decisions else None),
        *look.section("Refunds", _refunds(refunds) if refunds else None),
        *look.section("Disputes", _disputes(disputes) if disputes else None),
        *look.section("Set aside for them", _held(held) if held else None),
    ]


async def _reserves(database: Database, source_ids: Sequence[str]) -> list[Reserve]:
    found = [await database.read(lambda c, i=i: reserve.of_source(c, i)) for i in source_ids]  # type: ignore[misc]
    return [part for parts in found for part in parts]


def _decisions(decisions: Sequence[dict[str, Any]]) -> RenderableType:
    table = look.table("at", "stage", "verdict", "because", "decided")
    for d in decisions:
        decided = f"{d['review']} by {d['reviewed_by']}" if d["review"] else ""
        note = f": {d['review_note']}" if d["review_note"] else ""
        why = "; ".join(d["reasons"]) or f"no rule of version {d['version']} applies"
        table.add_row(look.time(d["at"]), d["stage"], look.status(d["verdict"]), why, decided + note)
    return table


def _refunds(refunds: Sequence[Refund], *, payment: bool = False) -> RenderableType:
    """On a payment's own page with the PSP's reference, in a list with the payment."""
    table = look.table("refund", "why", "amount", "status", "try", "")
    for r in refunds:
        name = look.ids(r.id, r.payment_id if payment else r.reference or "no reference")
        what = (r.origin, look.amount(r.amount, r.currency), look.status(r.status), str(r.attempt))
        table.add_row(name, *what, look.failure(r.failure) if r.status != "SUCCEEDED" else "")
    return table


def _disputes(disputes: Sequence[Dispute], *, payment: bool = False) -> RenderableType:
    table = look.table("dispute", "about", "amount", "status", "evidence due")
    for d in disputes:
        due = Text("–") if d.status in DISPUTE_ENDED else look.left(d.evidence_due_at)
        name = look.ids(d.id, d.payment_id if payment else d.reference)
        table.add_row(name, d.category or "–", look.amount(d.amount, d.currency), look.status(d.status), due)
    return table


def _held(held: Sequence[Reserve]) -> RenderableType:
    table = look.table("for", "seller", "amount", "pending", "available", "owed", "status")
    for part in held:
        covered = (to_major(n, part.currency) for n in (part.pending, part.available, part.receivable))
        amount = look.amount(part.amount, part.currency)
        table.add_row(part.source_id, part.seller_account, amount, *covered, part.status.lower())
    return table
