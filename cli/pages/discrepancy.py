"""The pages about discrepancies: what differs, what is proposed, and what can be decided."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from cli.pages import format as look
from cli.pages.reconciliation_format import due_text, status_text, table_of
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
) -> RenderableType:
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
    if not rows:
        return Text("Nothing is open." if status is DiscrepancyStatus.OPEN else "None.", "green")
    table = table_of("discrepancy", "class", "why", "difference", "due", right=("difference",))
    for row in rows:
        theirs = their_name(row.subject, row.psp, row.line_reference) if row.line_reference else None
        about = row.payment_id or row.object_id or theirs or row.tenant_id
        due = due_text(row, now) if row.open else status_text(row.status)
        table.add_row(look.ids(row.id, about), row.cls, row.reason, _difference(row), due)
    first = f"`paysaga reconcile discrepancy {rows[0].id}`"
    return Group(table, look.typed(f"{first} says what can be decided about the first."))


def _difference(row: Discrepancy) -> str:
    if row.difference is None or row.currency is None:
        return "–"
    return f"{'+' if row.difference > 0 else ''}{money(row.difference, row.currency)}"


async def discrepancy_page(database: Database, discrepancy_id: str) -> RenderableType:
    """A discrepancy: what differs and why, the three sides, what is proposed, what can be decided, what each run
    saw."""
    with refusals(discrepancy_id):
        row = await discrepancy.find(database, None, discrepancy_id)
    seen = await database.read(lambda c: reports.history(c, row.id))
    now = datetime.now(UTC)
    name = Text.assemble(
        (row.id, "bold"), "  ", status_text(row.status), "  ", (row.cls, "bold yellow"),
        (f"  {CLASS_LABELS[LineClass(row.cls)]}", "dim"),
    )  # fmt: skip
    return Group(
        name,
        Text(row.reason),
        _facts(row, now),
        *look.section("Three sides", _sides(row)),
        *look.section("What can be decided", _decisions(row)),
        *look.section("Seen by", _seen(seen)),
    )


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
        facts.add_row("proposed", Text(FIX_LABELS[row.fix], "cyan"))
    if row.fix_asked_at:
        facts.add_row("asked for", f"{row.fix_note}, {moment(row.fix_asked_at)}")
    return facts


def _sides(row: Discrepancy) -> RenderableType:
    table = table_of("side", "amount", "fee", "which", right=("amount", "fee"))
    which = {
        "there": row.line_reference,
        "record": " ".join(filter(None, (row.object_id, row.record_status))),
        "ledger": None,
    }
    names = {"there": other_side(row.subject, row.psp), "record": "our record", "ledger": "our ledger"}
    for side, name in names.items():
        amount, currency, fee = (getattr(row, f"{side}_{part}") for part in ("amount", "currency", "fee"))
        said = money(amount, currency) if amount is not None and currency else Text("nothing", "dim")
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
        lines += [Text(words), look.typed(f"  paysaga reconcile resolve {row.id} {decision.value}{note}", "cyan")]
    return Group(*lines)


def _seen(seen: Sequence[Seen]) -> RenderableType | None:
    if not seen:
        return None
    table = table_of("run", "at (UTC)", "class", "what it said")
    for one in seen:
        table.add_row(one.run_id, look.time(one.at), one.cls, one.reason)
    return table
