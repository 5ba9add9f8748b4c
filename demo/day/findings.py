"""The tables of the demo's reconciliation: its runs, its counts by class, and what became of each finding."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from demo.day.plants import Plant
from demo.day.reconciliation import Reconciled
from domain.reconciliation.discrepancy import Discrepancy, allowed_decisions
from domain.reconciliation.labels import CLASS_LABELS
from domain.reconciliation.reconciliation import (
    BREAKS,
    Decision,
    DiscrepancyStatus,
    Fix,
    LineClass,
    ReconciliationReport,
    shown,
)

_FIXED = {
    Fix.ADVANCE_PAYMENT: "the payment is brought up to date",
    Fix.ADVANCE_REFUND: "it is our record now, and booked",
    Fix.ADVANCE_DISPUTE: "the dispute is brought up to date",
    Fix.ADVANCE_PAYOUT: "the payout is brought up to date",
    Fix.BOOK_FEE: "the fee is booked",
    Fix.BOOK_BANK_PAYOUT: "what was paid is booked",
}
_DECIDED = {
    Decision.ADJUST: "booked as a correction",
    Decision.ACCEPT: "nothing is booked",
    Decision.TO_SUSPENSE: "held in suspense",
}
_COLUMNS = ("planted", "found", "fixed", "decided", "gone", "waits")


def findings(done: Reconciled) -> RenderableType:
    """The runs, the counts by class, one sentence for each finding; then whatever is not as it should be."""
    wrong = [Text(f" ✗ {sentence}", "bold red") for sentence in done.wrong]
    return Group(_runs_table(done.runs), "", _classes_table(done), "", _sum(done), *_lists(done), *wrong)


# --- numbers ---


def _runs_table(runs: Sequence[tuple[str, ReconciliationReport]]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("run", no_wrap=True)
    for name in ("lines", "matched", "breaks", "new", "fixed by rule", "gone"):
        table.add_column(name, justify="right")
    for title, report in runs:
        breaks = sum(number for cls, number in report.counts.items() if cls in BREAKS)
        matched = report.counts.get(LineClass.MATCHED, 0)
        counts = (report.lines, matched, breaks, report.opened, report.fixed + report.asked, report.closed)
        table.add_row(_mark(report.failure is None), title, *map(_number, counts))
    return table


def _classes_table(done: Reconciled) -> RenderableType:
    """A row for each class: `planted` and `found` have to be the same. Of what is matched, the dry run's number."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "class", "what it is"):
        table.add_column(name, no_wrap=name != "what it is")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    planted = Counter(plant.cls for plant in done.plants)
    found = Counter(row.cls for row in done.rows)
    ends = Counter((row.cls, _end(row)) for row in done.rows)
    for cls in BREAKS:
        numbers = (planted[cls], found[cls], *(ends[cls, end] for end in _COLUMNS[2:]))
        words = Text(CLASS_LABELS[cls], "dim")
        table.add_row(_mark(planted[cls] == found[cls] > 0), Text(cls, "bold"), words, *map(_number, numbers))
    matched = done.runs[0][1].counts.get(LineClass.MATCHED, 0)
    table.add_row(
        _mark(matched > 0), Text("matched", "bold"), Text("both sides say the same", "dim"), "–", f"{matched:,}"
    )
    return table


def _end(row: Discrepancy) -> str:
    """The column that a discrepancy is counted in."""
    match row.status:
        case DiscrepancyStatus.OPEN:
            return "waits"
        case DiscrepancyStatus.RESOLVED:
            return "decided"
        case _:
            return "fixed" if row.resolution in set(Fix) else "gone"


def _number(number: int) -> str:
    return f"{number:,}" if number else "–"


def _mark(right: bool) -> Text:
    return Text(" ✓", "bold green") if right else Text(" ✗", "bold red")


def _sum(done: Reconciled) -> Text:
    planted, found = len(done.plants), sum(done.row_of(plant) is not None for plant in done.plants)
    others = len(done.rows) - found
    return Text(f" {planted} planted, {found} found, {others or 'nothing'} else.", "bold")


# --- sentences ---


def _lists(done: Reconciled) -> list[RenderableType]:
    pairs = [(plant, row) for plant in done.plants if (row := done.row_of(plant)) is not None]
    pairs.sort(key=lambda pair: BREAKS.index(pair[0].cls))
    lists: list[RenderableType] = []
    for end, title, style in (
        ("fixed", "Fixed by rule", "green"),
        ("gone", "Gone by itself", "green"),
        ("decided", "Decided by a person", "cyan"),
        ("waits", "Waits for a person", "yellow"),
    ):
        of_end = [(plant, row) for plant, row in pairs if _end(row) == end]
        if of_end:
            lists += ["", Text(f" {title}", f"bold {style}"), _list(of_end)]
    return lists


def _list(pairs: Sequence[tuple[Plant, Discrepancy]]) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2)
    grid.add_column(width=14, no_wrap=True)
    grid.add_column()
    for plant, row in pairs:
        right = (row.status, row.resolution) == plant.ends_as
        waits = Text(" •", "bold yellow") if row.open else _mark(right)
        grid.add_row(waits if right else _mark(False), plant.cls.value, _sentence(plant, row))
    return grid


def _sentence(plant: Plant, row: Discrepancy) -> Text:
    """The planted error and what was done about it; of one that waits, its reason and its possible decisions."""
    if row.open:
        choices = ", ".join(allowed_decisions(row))
        return Text.assemble(row.reason, (f" To decide: {choices}.", "yellow"))
    return Text.assemble(f"{plant.title}{_difference(row)}: ", (_what_was_done(plant, row), "dim"))


def _what_was_done(plant: Plant, row: Discrepancy) -> str:
    how = row.resolution or ""
    if how in set(Decision) and plant.decision is not None:
        return f"{_DECIDED.get(Decision(how), how)} (“{plant.note}”)"
    return _FIXED[Fix(how)] if how in set(Fix) else "the next run sees it listed"


def _difference(row: Discrepancy) -> str:
    amount = shown(row.difference, row.currency)
    return f", {amount} {row.currency}" if amount is not None else ""
