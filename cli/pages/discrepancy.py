"""The pages about discrepancies: what differs, what is proposed, and what can be decided."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from cli.pages.reconciliation_format import due_text, status_text
from cli.refusals import refusals
from db.core.database import Database
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import report as reports
from db.reconciliation.report import Seen
from domain.reconciliation.discrepancy import Discrepancy, allowed_decisions
from domain.reconciliation.labels import CLASS_LABELS, DECISION_LABELS, FIX_LABELS, other_side, their_name
from domain.reconciliation.reconciliation import (
    Decision,
    DiscrepancyStatus,
    LineClass,
    shown,
)
from services import discrepancy
from services.reconciliation.report_page import moment, money


async def discrepancies_page(
    database: Database,
    *,
    tenant: str | None,
    status: DiscrepancyStatus,
    cls: LineClass | None,
    overdue: bool,
    limit: int,
) -> Page:
    """The newest first."""
    now = datetime.now(UTC)
    rows = await database.read(
        lambda c: discrepancies.page(
            c,
            tenant,
            status=status.value,
            cls=cls and cls.value,
            overdue_at=now if overdue else None,
            limit=limit,
        )
    )
    none = look.text(("Nothing is open." if status is DiscrepancyStatus.OPEN else "None.", "green"))
    return Page(_table(rows, now) if rows else none, lambda: documents.discrepancies(rows))


def _table(rows: Sequence[Discrepancy], now: datetime) -> RenderableType:
    table = look.table("discrepancy", "why", "difference", "due", right=("difference",))
    for row in rows:
        theirs = their_name(row.subject, row.psp, row.line_reference) if row.line_reference else None
        about = row.payment_id or row.object_id or theirs or row.tenant_id
        due = due_text(row, now) if row.open else status_text(row.status)
        table.add_row(look.text(row.id, "\n", (f"{row.cls}\n{about}", "dim")), row.reason, _difference(row), due)
    first = f"`paysaga reconcile discrepancy {rows[0].id}`"
    return Group(table, look.typed(f"{first} says what can be decided about the first."))


def _difference(row: Discrepancy) -> str:
    if row.difference is None or row.currency is None:
        return "–"
    return f"{'+' if row.difference > 0 else ''}{money(row.difference, row.currency)}"


async def discrepancy_page(database: Database, discrepancy_id: str) -> Page:
    """A discrepancy: what differs and why, the three sides, what is proposed, what can be decided, what each run
    saw."""
    with refusals(discrepancy_id):
        row = await discrepancy.find(database, None, discrepancy_id)
    seen = await database.read(lambda c: reports.history(c, row.id))
    now = datetime.now(UTC)
    name = look.text(
        (row.id, "bold"), "  ", status_text(row.status), "  ", (row.cls, "bold yellow"),
        (f"  {CLASS_LABELS[LineClass(row.cls)]}", "dim"),
    )  # fmt: skip
    page = Group(
        name,
        look.text(row.reason),
        _facts(row, now),
        *look.section("Three sides", _sides(row)),
        *look.section("What can be decided", _decisions(row)),
        *look.section("Seen by", _seen(seen)),
    )
    return Page(page, lambda: documents.discrepancy(database, row))


def _facts(row: Discrepancy, now: datetime) -> RenderableType:
    facts = look.facts()
    facts.add_row("tenant", row.tenant_id)
    if row.payment_id:
        facts.add_row("payment", row.payment_id)
    facts.add_row("difference", _difference(row))
    if not row.open:
        facts.add_row(
            "settled", f"{row.resolution}, by {row.resolved_by}, {moment(row.resolved_at) if row.resolved_at else '–'}"
        )
        if row.note:
            facts.add_row("note", row.note)
        if row.ledger_transaction_id:
            facts.add_row("booked as", row.ledger_transaction_id)
        return facts
    facts.add_row("due", due_text(row, now))
    if row.fix:
        facts.add_row("proposed", look.text((FIX_LABELS[row.fix], "cyan")))
    if row.fix_asked_at:
        facts.add_row("asked for", f"{row.fix_note}, {moment(row.fix_asked_at)}")
    return facts


def _sides(row: Discrepancy) -> RenderableType:
    table = look.table("side", "amount", "fee", "which", right=("amount", "fee"))
    which = {
        "there": row.line_reference,
        "record": " ".join(filter(None, (row.object_id, row.record_status))),
        "ledger": None,
    }
    names = {"there": other_side(row.subject, row.psp), "record": "our record", "ledger": "our ledger"}
    for side, name in names.items():
        amount, currency, fee = (getattr(row, f"{side}_{part}") for part in ("amount", "currency", "fee"))
        said = money(amount, currency) if amount is not None and currency else look.text(("nothing", "dim"))
        table.add_row(name, said, shown(fee, currency) or "", which[side] or "")
    return table


def _decisions(row: Discrepancy) -> RenderableType | None:
    allowed = allowed_decisions(row)
    if not allowed:
        return None
    lines: list[RenderableType] = []
    for decision in allowed:
        words = DECISION_LABELS[decision]
        if decision is Decision.APPLY_FIX and row.fix is not None:
            words = FIX_LABELS[row.fix]
        note = ' --note "…"' if decision is Decision.ACCEPT else ""
        command = f"paysaga reconcile resolve {row.id} {decision.value}{note}"
        lines += [look.text(words), look.whole("  ", (command, "cyan"))]
    return Group(*lines)


def _seen(seen: Sequence[Seen]) -> RenderableType | None:
    if not seen:
        return None
    table = look.table("run", "at (UTC)", "what it said")
    for one in seen:
        table.add_row(look.ids(one.run_id, one.cls), look.time(one.at), one.reason)
    return table
