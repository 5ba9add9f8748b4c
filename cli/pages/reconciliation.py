"""What operators read about reconciliation: runs, what they found, and what differs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.reconciliation.page import grouped, moment, money, number, percent, period, title
from cli.operator_reconciliation import find_run, require_matched
from cli.pages import format as look
from db.core.database import Database
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import report as reconciliation_report
from db.reconciliation import run as reconciliation
from db.reconciliation.report import Share, Summary, Total
from domain.reconciliation.labels import CLASS_WORDS, DECISION_WORDS, FIX_WORDS, other_side
from domain.reconciliation.reconciliation import (
    Decision,
    DiscrepancyStatus,
    Fix,
    LineClass,
    RunStatus,
    Subject,
    allowed_decisions,
    shown,
)
from embedded.errors import StackError

_BAR = 28
_OPEN_SHOWN = 25
_STYLES = {LineClass.MATCHED: "green", LineClass.TIMING: "cyan", LineClass.UNRELATED: "dim"}


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(
            column, justify="right" if column in right else "left", no_wrap=column in right, overflow="fold"
        )
    return made


def _status(text: str) -> Text:
    styles = {"COMPLETED": "green", "RESOLVED": "green", "FIXED": "green", "OPEN": "bold magenta", "FAILED": "red"}
    return Text(text, styles.get(text, "cyan"))


# --- runs ---


async def runs_page(
    database: Database, *, tenant: str | None, subject: Subject | None, status: RunStatus | None, limit: int
) -> RenderableType:
    rows = await database.read(
        lambda c: reconciliation.page(c, tenant, subject=subject, status=status and status.value, limit=limit)
    )
    if not rows:
        return Text("No reconciliation has run.", "dim")
    table = _table(
        "run", "of", "lines", "matched", "other", "new", "status", right=("lines", "matched", "other", "new")
    )
    for row in rows:
        counts = dict(row["counts"] or {})
        matched = counts.pop(LineClass.MATCHED, 0)
        counts.pop(LineClass.UNRELATED, None)
        about = Text.assemble(f"{row['subject']}: {period(row)}", "\n", (f"by {row['actor']}", "dim"))
        if row["apply"]:
            about.append(", with fixes", "dim")
        numbers = (number(n) for n in (row["lines"], matched, sum(counts.values()), row["opened"]))
        table.add_row(look.ids(row["id"], look.time(row["created_at"])), about, *numbers, _status(row["status"]))
    return table


async def run_page(database: Database, run_id: str) -> RenderableType:
    """What was compared, how much of it fits, both sides' totals, and what is open now."""
    row, now = await find_run(database, run_id), datetime.now(UTC)
    head: list[RenderableType] = [
        Text.assemble((row["id"], "bold"), "  ", _status(row["status"]), f"  {title(row)}"),
        _run_facts(row),
    ]
    if row["matched_at"] is None:
        return Group(*head)
    summary = await reconciliation_report.summary(database, row, None, now)
    return Group(
        *head,
        *look.section("What fits", _chart(summary)),
        *look.section("Totals", _totals(row, summary.totals or ())),
        *look.section("Open", _open(summary, now)),
        *look.section("Settled", _settled(summary)),
        *_next(row, summary),
    )


def _run_facts(row: Mapping[str, Any]) -> RenderableType:
    facts = look.facts()
    facts.add_row("about", period(row))
    if row["file_name"]:
        facts.add_row("file", f"{row['file_name']}, sha256 {row['file_sha256']}")
    facts.add_row("changes", "what is safe by rule is done" if row["apply"] else "none: a dry run")
    ended = f" – {moment(row['completed_at'])}" if row["completed_at"] else ""
    facts.add_row("run", f"by {row['actor']}, {moment(row['created_at'])}{ended}; {number(row['lines'])} lines")
    if row["failure"]:
        facts.add_row("failure", Text(row["failure"], "bold red"))
    return facts


def _chart(summary: Summary) -> RenderableType:
    """A bar for each class; of the breaks alone, or what is matched would leave nothing to see of them."""
    judged = sum(share.count for share in summary.shares if share.cls is not LineClass.UNRELATED)
    matched = summary.counts.get(LineClass.MATCHED, 0)
    if not judged:
        return Text("Nothing moved in this time, on either side.", "dim")
    table = _table("class", "", "", "count", "in question", right=("count",))
    full = round(_BAR * matched / judged) if matched < judged else _BAR
    bar = Text.assemble(("█" * full, "green"), ("░" * (_BAR - full), "dim"))
    table.add_row("matched", Text(percent(matched, judged), "dim"), bar, number(matched), "")
    breaks = sorted((s for s in summary.shares if s.cls is not LineClass.MATCHED), key=lambda s: -s.count)
    longest = max((share.count for share in breaks), default=1)
    for share in breaks:
        table.add_row(*_bar(share, longest))
    return table


def _bar(share: Share, longest: int) -> tuple[RenderableType, ...]:
    amounts = ", ".join(money(amount, currency) for currency, amount in sorted(share.amounts.items()))
    bar = Text("█" * max(1, round(_BAR * share.count / longest)), _STYLES.get(share.cls, "yellow"))
    return share.cls.value, Text(CLASS_WORDS[share.cls], "dim"), bar, number(share.count), amounts


def _totals(row: Mapping[str, Any], totals: Sequence[Total]) -> RenderableType | None:
    if not totals:
        return None
    there = other_side(row["subject"], row["psp"])
    table = _table("currency", there, "our ledger", "difference", right=(there, "our ledger", "difference"))
    for total in totals:
        even = total.difference == 0
        difference = Text("none" if even else grouped(total.difference, total.currency), "green" if even else "red")
        sides = (grouped(total.there, total.currency), grouped(total.here, total.currency))
        table.add_row(total.currency, *sides, difference)
    return table


def _open(summary: Summary, now: datetime) -> RenderableType | None:
    if not summary.open:
        return Text("Nothing.", "green") if any(share.count for share in summary.shares) else None
    parts: list[RenderableType] = []
    for row in summary.open[:_OPEN_SHOWN]:
        parts += [_card(row, now), ""]
    left = summary.open_count - _OPEN_SHOWN
    if left > 0:
        parts.append(Text(f"… and {left} more: `paysaga reconcile discrepancies`, or the log.", "dim"))
    return Group(*parts) if left > 0 else Group(*parts[:-1])


def _card(row: Mapping[str, Any], now: datetime) -> RenderableType:
    first = Text.assemble((row["class"], "bold yellow"), f"  {row['reason']}")
    second = Text.assemble((row["id"], "dim"), "  ", _due(row, now))
    if row["fix"] is None:
        return Group(first, second)
    if row["fix_asked_at"] is not None:
        return Group(first, second, Text(f"→ {row['fix_note']}, {moment(row['fix_asked_at'])}", "cyan"))
    return Group(first, second, Text(f"→ {FIX_WORDS[Fix(row['fix'])]}", "cyan"))


def _due(row: Mapping[str, Any], now: datetime) -> Text:
    if row["due_at"] is None:
        return Text("")
    if row["due_at"] <= now:
        return Text(f"due since {moment(row['due_at'])}", "red")
    return Text.assemble((f"due {moment(row['due_at'])} ", "dim"), look.left(row["due_at"]))


def _settled(summary: Summary) -> RenderableType | None:
    if not summary.settled:
        return None
    table = _table("discrepancy", "class", "what it was", "how, and by whom")
    for row in summary.settled[:_OPEN_SHOWN]:
        how = str(row["resolution"]).replace("_", " ")
        table.add_row(row["id"], row["class"], row["reason"], f"{how}, by {row['resolved_by']}")
    return table


def _next(row: Mapping[str, Any], summary: Summary) -> list[RenderableType]:
    words = [f"`paysaga reconcile report {row['id']} --open` is the page for people"]
    if summary.open:
        words.append("`paysaga reconcile discrepancy ID` says what can be decided")
    if not row["apply"] and any(one["fix"] for one in summary.open):
        words.append("`--apply` does what is proposed")
    return ["", Text("; ".join(words) + ".", "dim")]


async def items_page(
    database: Database, run_id: str, *, cls: LineClass | None, after: int, limit: int
) -> RenderableType:
    """What a run did not plainly match, in pages by `after`."""
    row = await find_run(database, run_id)
    require_matched(row)
    found = await database.read(
        lambda c: reconciliation.items(c, None, row["id"], cls=cls and cls.value, after=after, limit=limit + 1)
    )
    if not found:
        return Text("None.", "green")
    numbers = ("no", "line", "there", "record", "ledger")
    table = _table("no", "line", "class", "what", "there", "record", "ledger", "why", right=numbers)
    for item in found[:limit]:
        line = str(item["line_no"]) if item["line_no"] is not None else "–"
        what = look.ids(item["object_id"] or item["line_reference"] or item["kind"], item["discrepancy_id"] or "")
        sides = (_side(item, side) for side in ("there", "record", "ledger"))
        table.add_row(str(item["seq"]), line, item["class"], what, *sides, item["reason"])
    if len(found) <= limit:
        return table
    return Group(table, Text(f"… and more: --after {found[limit - 1]['seq']}.", "dim"))


def _side(row: Mapping[str, Any], side: str) -> str:
    amount, currency = row[f"{side}_amount"], row[f"{side}_currency"]
    return money(amount, currency) if amount is not None and currency else "–"


# --- discrepancies ---


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
    table = _table("discrepancy", "class", "why", "difference", "due", right=("difference",))
    for row in rows:
        about = row["payment_id"] or row["object_id"] or row["line_reference"] or row["tenant_id"]
        due = _due(row, now) if row["status"] == DiscrepancyStatus.OPEN else _status(row["status"])
        table.add_row(look.ids(row["id"], about), row["class"], row["reason"], _difference(row), due)
    return Group(table, Text("`paysaga reconcile discrepancy ID` says what can be decided.", "dim"))


def _difference(row: Mapping[str, Any]) -> str:
    if row["difference"] is None or row["currency"] is None:
        return "–"
    return f"{'+' if row['difference'] > 0 else ''}{money(row['difference'], row['currency'])}"


async def discrepancy_page(database: Database, discrepancy_id: str) -> RenderableType:
    """What differs and why, the three sides, what is proposed, what can be decided, and what each run saw."""
    named = discrepancy_id.isprintable()
    row = await database.read(lambda c: discrepancies.find(c, None, discrepancy_id)) if named else None
    if row is None:
        raise StackError(f"There is no discrepancy {discrepancy_id}: `paysaga reconcile discrepancies` names them.")
    seen = await database.read(lambda c: reconciliation_report.history(c, row["id"]))
    now = datetime.now(UTC)
    name = Text.assemble(
        (row["id"], "bold"), "  ", _status(row["status"]), "  ", (row["class"], "bold yellow"),
        (f"  {CLASS_WORDS[LineClass(row['class'])]}", "dim"),
    )  # fmt: skip
    return Group(
        name,
        Text(row["reason"]),
        _facts(row, now),
        *look.section("Three sides", _sides(row)),
        *look.section("What can be decided", _decisions(row)),
        *look.section("Seen by", _seen(seen)),
    )


def _facts(row: Mapping[str, Any], now: datetime) -> RenderableType:
    facts = look.facts()
    facts.add_row("tenant", row["tenant_id"])
    if row["payment_id"]:
        facts.add_row("payment", row["payment_id"])
    facts.add_row("difference", _difference(row))
    if row["status"] != DiscrepancyStatus.OPEN:
        facts.add_row("settled", f"{row['resolution']}, by {row['resolved_by']}, {moment(row['resolved_at'])}")
        if row["note"]:
            facts.add_row("note", row["note"])
        if row["ledger_transaction_id"]:
            facts.add_row("booked as", row["ledger_transaction_id"])
        return facts
    facts.add_row("due", _due(row, now))
    if row["fix"]:
        facts.add_row("proposed", Text(FIX_WORDS[Fix(row["fix"])], "cyan"))
    if row["fix_asked_at"]:
        facts.add_row("asked for", f"{row['fix_note']}, {moment(row['fix_asked_at'])}")
    return facts


def _sides(row: Mapping[str, Any]) -> RenderableType:
    table = _table("side", "amount", "fee", "which", right=("amount", "fee"))
    which = {
        "there": row["line_reference"],
        "record": " ".join(filter(None, (row["object_id"], row["record_status"]))),
        "ledger": None,
    }
    names = {"there": other_side(row["subject"], row["psp"]), "record": "our record", "ledger": "our ledger"}
    for side, name in names.items():
        amount, currency, fee = (row[f"{side}_{part}"] for part in ("amount", "currency", "fee"))
        said = money(amount, currency) if amount is not None and currency else Text("nothing", "dim")
        table.add_row(name, said, shown(fee, currency) or "", which[side] or "")
    return table


def _decisions(row: Mapping[str, Any]) -> RenderableType | None:
    allowed = allowed_decisions(row)
    if not allowed:
        return None
    table = Table.grid(padding=(0, 2))
    for decision in allowed:
        words = DECISION_WORDS[decision]
        if decision is Decision.APPLY_FIX:
            words = FIX_WORDS[Fix(row["fix"])]
        note = ' --note "…"' if decision is Decision.ACCEPT else ""
        command = f"paysaga reconcile resolve {row['id']} {decision.value} --by NAME{note}"
        table.add_row(Text(words), Text(command, "cyan", no_wrap=True, overflow="ignore"))
    return table


def _seen(seen: Sequence[Mapping[str, Any]]) -> RenderableType | None:
    if not seen:
        return None
    table = _table("run", "at (UTC)", "class", "what it said")
    for one in seen:
        table.add_row(one["run_id"], look.time(one["at"]), one["class"], one["reason"])
    return table
