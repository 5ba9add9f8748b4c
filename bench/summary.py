"""From what was measured to what is reported: medians of rounds, and the claims that they prove or refute."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from bench.options import Lane
from bench.results import Cell, Claim, Line, Report

PSP_SANDBOX_SHARE = 0.55
"""Of the floor, where the full sandbox is the PSP: it takes ten times the processor."""


def lines_of(cells: Mapping[tuple[str, Lane], Sequence[Cell]]) -> list[Line]:
    """A line for each lane of each group."""
    return [_line(group, lane, found) for (group, lane), found in cells.items()]


def _line(group: str, lane: Lane, cells: Sequence[Cell]) -> Line:
    quiet = [cell for cell in cells if not cell.thrown_away]
    used = quiet or list(cells)
    rates = [cell.per_s for cell in used]
    cpu_ms = {name: round(statistics.median(c.cpu_ms[name] for c in used), 2) for name in used[0].cpu_ms}
    totals = (sum(ms for name, ms in cell.cpu_ms.items() if name != "load") for cell in used)
    return Line(
        group=group,
        subject=lane.subject,
        shape=lane.shape,
        concurrency=lane.concurrency,
        rounds=len(used),
        disturbed=not quiet,
        per_s=round(statistics.median(rates), 2),
        per_s_least=min(rates),
        per_s_most=max(rates),
        p50_ms=_median(cell.p50_ms for cell in used),
        p95_ms=_median(cell.p95_ms for cell in used),
        errors=sum(cell.errors for cell in cells),
        cpu_ms=cpu_ms,
        cpu_total_ms=round(statistics.median(totals), 2),
        write_commits=round(statistics.median(cell.write_commits for cell in used), 2),
        wal_kb=round(statistics.median(cell.wal_kb for cell in used), 2),
        cells=list(cells),
    )


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return round(statistics.median(found), 2) if found else None


# --- claims ---


def claims_of(report: Report) -> list[Claim]:
    """The claims about ratios, latencies and counts, each with its value in this run."""
    return [*_ratios(report), *_latencies(report), *_counts(report)]


def _ratios(report: Report) -> list[Claim]:
    floors = ((10, 0.65), (20, 0.70)) if report.psp == "cheap" else ((10, PSP_SANDBOX_SHARE),)
    found = [
        _at_least(f"HTTP / no-op workflow, {many} at once", report.line("http", many), report.line("noop", many), limit)
        for many, limit in floors
    ]
    http, process = report.line("http", 10), report.line("process", 10)
    found += [
        _at_least("HTTP / saga of 5 activities, 10 at once", http, report.line("saga", 10), 3.0),
        _at_least("in process / DBOS, 10 at once", process, report.line("dbos", 10), 0.8),
        _at_least("three orders / one order", report.shape("orders"), report.shape("one"), 0.8),
        _at_least("declined / one order", report.shape("declined"), report.shape("one"), 0.8),
    ]
    return found


def _at_least(says: str, one: Line | None, other: Line | None, limit: float) -> Claim:
    value = round(one.per_s / other.per_s, 3) if one and other and other.per_s else None
    return Claim(says=f"{says} ≥ {limit:g}", value=value, limit=limit, met=None if value is None else value >= limit)


def _latencies(report: Report) -> list[Claim]:
    found = []
    for many, more_ms in ((1, 20), (10, 50)):
        line = report.line("http", many)
        limit = report.psp_ms + more_ms
        found.append(_at_most(f"HTTP p50 ms, {many} at once", line.p50_ms if line else None, limit))
    return found


def _counts(report: Report) -> list[Claim]:
    counted = report.count("http")
    return [
        _at_most("history events of a payment", counted.events if counted else None, 7),
        _at_most("billable actions", counted.actions if counted else None, 2),
        _at_most("write commits with the webhook", counted.write_commits if counted else None, 3),
        _at_most("round trips with the webhook", counted.round_trips if counted else None, 6),
    ]


def _at_most(says: str, value: float | None, limit: float) -> Claim:
    met = None if value is None else value <= limit
    return Claim(says=f"{says} ≤ {limit:g}", value=value, limit=limit, met=met)
