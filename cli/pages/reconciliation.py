"""The pages about runs of the reconciliation: what they compared, and what they found."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from cli.pages.reconciliation_format import due_text, status_text
from cli.refusals import refusals
from db.core.database import Database
from db.reconciliation import run as runs
from db.reconciliation.record import Item
from db.reconciliation.report import Share, Summary, Total
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.labels import CLASS_LABELS, FIX_LABELS, other_side, their_name
from domain.reconciliation.reconciliation import Fix, LineClass, RunStatus, Source, Subject
from services.reconciliation import run as reconciliation
from services.reconciliation.report_page import grouped, moment, money, number, outside, percent, period, title

_BAR = 28
_OPEN_SHOWN = 25
_STYLES = {LineClass.MATCHED: "green", LineClass.TIMING: "cyan", LineClass.UNRELATED: "dim"}


# --- runs ---


async def runs_page(
    database: Database, *, tenant: str | None, subject: Subject | None, status: RunStatus | None, limit: int
) -> Page:
    """The newest first."""
    rows = await database.read(
        lambda c: runs.page(c, tenant, subject=subject, status=status and status.value, limit=limit)
    )
    return Page(_table(rows), lambda: documents.runs(rows))


def _table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not rows:
        return look.text(("No reconciliation has run.", "dim"))
    table = look.table(
        "run", "of", "lines", "matched", "other", "new", "status", right=("lines", "matched", "other", "new")
    )
    for row in rows:
        counts = dict(row["counts"] or {})
        matched = counts.pop(LineClass.MATCHED, 0)
        counts.pop(LineClass.UNRELATED, None)
        about = look.text(f"{row['subject']}: {period(row)}", "\n", (f"by {row['actor']}", "dim"))
        if row["apply"]:
            about.append(", with fixes", "dim")
        numbers = (number(n) for n in (row["lines"], matched, sum(counts.values()), row["opened"]))
        table.add_row(look.ids(row["id"], look.time(row["created_at"])), about, *numbers, status_text(row["status"]))
    return table


async def run_page(database: Database, run_id: str) -> Page:
    """A run: what was compared, how much of it fits, both sides' totals, and what is open now."""
    with refusals(run_id):
        row = await reconciliation.find(database, None, run_id)
    summary = await reconciliation.summary(database, None, row)
    return Page(_run(row, summary), lambda: documents.run(database, row))


def _run(row: Mapping[str, Any], summary: Summary | None) -> RenderableType:
    now = datetime.now(UTC)
    head: list[RenderableType] = [
        look.text((row["id"], "bold"), "  ", status_text(row["status"]), f"  {title(row)}"),
        _run_facts(row),
    ]
    if summary is None:
        return Group(*head)
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
    facts.add_row(
        "changes",
        "what is safe by rule is done"
        if row["apply"]
        else "none: a dry run" + (", which confirms no payout" if row["subject"] == "bank" else ""),
    )
    for note in (*(row["notes"] or ()), *outside(row)):
        facts.add_row("note", look.text((note, "yellow")))
    ended = f" – {moment(row['completed_at'])}" if row["completed_at"] else ""
    facts.add_row("run", f"by {row['actor']}, {moment(row['created_at'])}{ended}; {number(row['lines'])} lines")
    if row["failure"]:
        facts.add_row("failure", look.text((row["failure"], "bold red")))
    return facts


def _chart(summary: Summary) -> RenderableType:
    """A bar for each class; of the breaks alone, or what is matched would leave nothing to see of them."""
    judged = sum(share.count for share in summary.shares if share.cls is not LineClass.UNRELATED)
    matched = summary.counts.get(LineClass.MATCHED, 0)
    if not judged:
        return look.text(("Nothing moved in this time, on either side.", "dim"))
    table = look.table("class", "", "", "count", "in question", right=("count",))
    full = round(_BAR * matched / judged) if matched < judged else _BAR
    bar = look.text(("█" * full, "green"), ("░" * (_BAR - full), "dim"))
    table.add_row("matched", look.text((percent(matched, judged), "dim")), bar, number(matched), "")
    breaks = sorted((s for s in summary.shares if s.cls is not LineClass.MATCHED), key=lambda s: -s.count)
    longest = max((share.count for share in breaks), default=1)
    for share in breaks:
        table.add_row(*_bar(share, longest))
    return table


def _bar(share: Share, longest: int) -> tuple[look.Words | str, ...]:
    amounts = ", ".join(money(amount, currency) for currency, amount in sorted(share.amounts.items()))
    bar = look.text(("█" * max(1, round(_BAR * share.count / longest)), _STYLES.get(share.cls, "yellow")))
    return share.cls.value, look.text((CLASS_LABELS[share.cls], "dim")), bar, number(share.count), amounts


def _totals(row: Mapping[str, Any], totals: Sequence[Total]) -> RenderableType | None:
    if not totals:
        return None
    there = other_side(row["subject"], row["psp"])
    table = look.table("currency", there, "our ledger", "difference", right=(there, "our ledger", "difference"))
    for total in totals:
        even = total.difference == 0
        difference = look.text(
            ("none" if even else grouped(total.difference, total.currency), "green" if even else "red")
        )
        sides = (grouped(total.there, total.currency), grouped(total.here, total.currency))
        table.add_row(total.currency, *sides, difference)
    return table


def _open(summary: Summary, now: datetime) -> RenderableType | None:
    if not summary.open:
        return look.text(("Nothing.", "green")) if any(share.count for share in summary.shares) else None
    parts: list[RenderableType] = []
    for row in summary.open[:_OPEN_SHOWN]:
        parts += [_card(row, now), ""]
    left = summary.open_count - _OPEN_SHOWN
    if left > 0:
        parts.append(look.typed(f"… and {left} more: `paysaga reconcile discrepancies`, or the log."))
    return Group(*parts) if left > 0 else Group(*parts[:-1])


def _card(row: Discrepancy, now: datetime) -> RenderableType:
    first = look.text((row.cls, "bold yellow"), f"  {row.reason}")
    second = look.text((row.id, "dim"), *(("  due ", due_text(row, now)) if row.due_at else ()))
    if row.fix is None:
        return Group(first, second)
    if row.fix_asked_at is not None:
        return Group(first, second, look.text((f"→ {row.fix_note}, {moment(row.fix_asked_at)}", "cyan")))
    return Group(first, second, look.text((f"→ {FIX_LABELS[Fix(row.fix)]}", "cyan")))


def _settled(summary: Summary) -> RenderableType | None:
    if not summary.settled:
        return None
    table = look.table("discrepancy", "what it was", "how, and by whom")
    for row in summary.settled[:_OPEN_SHOWN]:
        how = str(row.resolution).replace("_", " ")
        table.add_row(look.ids(row.id, row.cls), row.reason, f"{how}, by {row.resolved_by}")
    return table


def _next(row: Mapping[str, Any], summary: Summary) -> list[RenderableType]:
    words = [f"`paysaga reconcile report {row['id']} --open` is the page for people"]
    if summary.open:
        words.append(f"`paysaga reconcile discrepancy {summary.open[0].id}` says what can be decided about the first")
    if not row["apply"] and any(one.fix for one in summary.open):
        words.append(f"{_applied(row)} does what is proposed")
    return ["", look.typed(";\n".join(words) + ".")]


def _applied(row: Mapping[str, Any]) -> str:
    """The same run once more, as it is typed; of a file only the person knows where it is."""
    if row["source"] == Source.FILE:
        return "the same run with `--apply`"
    if row["business_date"] is not None:
        return f"`paysaga reconcile run --date {row['business_date']} --apply`"
    since, until = row["window_from"].isoformat(), row["window_to"].isoformat()
    return f"`paysaga reconcile run --from {since} --to {until} --apply`"


async def items_page(database: Database, run_id: str, *, cls: LineClass | None, after: int, limit: int) -> Page:
    """The items that a run did not plainly match, in pages by `after`."""
    with refusals(run_id):
        row = await reconciliation.find(database, None, run_id)
        reconciliation.require_matched(row)
    found = await database.read(
        lambda c: runs.items(c, None, row["id"], cls=cls and cls.value, after=after, limit=limit + 1)
    )
    shown = found[:limit]
    following = shown[-1].seq if len(found) > limit else None
    page = _items(row, shown)
    if following is not None:
        page = Group(page, look.text((f"… and more: --after {following}.", "dim")))
    return Page(page, lambda: documents.items(shown, following))


def _items(row: Mapping[str, Any], found: Sequence[Item]) -> RenderableType:
    if not found:
        return look.text(("None.", "green"))
    numbers = ("no", "line", "there", "record", "ledger")
    table = look.table("no", "line", "class", "what", "there", "record", "ledger", "why", right=numbers)
    for item in found:
        line = str(item.line_no) if item.line_no is not None else "–"
        theirs = their_name(row["subject"], row["psp"], item.line_reference) if item.line_reference else item.kind
        what = look.ids(item.object_id or theirs, item.discrepancy_id or "")
        sides = (_side(item, side) for side in ("there", "record", "ledger"))
        table.add_row(str(item.seq), line, item.cls, what, *sides, item.reason)
    return table


def _side(item: Item, side: str) -> str:
    amount, currency = getattr(item, f"{side}_amount"), getattr(item, f"{side}_currency")
    return money(amount, currency) if amount is not None and currency else "–"
