"""The report of a reconciliation as a page: for people in finance, on a screen or on paper. It has no script and loads
nothing; every text is escaped."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from db.reconciliation.report import Share, Summary, Total
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.labels import CLASS_LABELS, FIX_LABELS, other_side, psp_name, their_name
from domain.reconciliation.reconciliation import DiscrepancyStatus, LineClass, RunStatus, Source, shown

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "reconciliation.css").read_text(encoding="utf-8")
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""The page's one style sheet, by its hash, and nothing else."""

HEADERS = {"Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'"}

_environment = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(run: Mapping[str, Any], summary: Summary | None, at: datetime, *, log_link: str | None) -> str:
    """`run`: of `db.reconciliation_report.brief`; `summary`: None before it is matched; `log_link`: of the CSV."""
    template = _environment.get_template("reconciliation.html")
    found = _found(summary, at) if summary is not None else None
    return template.render(
        style=_STYLE, policy=POLICY, run=_run(run), found=found, log_link=log_link, made_at=moment(at)
    )


# --- what was compared ---


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    there = other_side(run["subject"], run["psp"])
    by_file = run["source"] == Source.FILE
    return {
        "id": run["id"],
        "title": title(run),
        "period": period(run),
        "there": there,
        "There": there[:1].upper() + there[1:],
        "psp": psp_name(run["psp"]),
        "read": f"the file {run['file_name']}" if by_file else f"asked of {psp_name(run['psp'])} directly",
        "sha256": run["file_sha256"],
        "status": run["status"],
        "failed": run["status"] == RunStatus.FAILED,
        "failure": run["failure"],
        "notes": [*(run["notes"] or ()), *outside(run)],
        "apply": run["apply"],
        "fixed": run["fixed"],
        "asked": run["asked"],
        "opened": run["opened"],
        "closed": run["closed"],
        "by": run["actor"],
        "started": moment(run["created_at"]),
        "ended": moment(run["completed_at"]) if run["completed_at"] else None,
        "window": (
            f"{moment(run['window_from'])} – {moment(run['window_to'])}" if run["window_from"] else "of the file"
        ),
    }


def title(run: Mapping[str, Any]) -> str:
    return (
        "Bank statement against our books" if run["subject"] == "bank" else f"{psp_name(run['psp'])} against our books"
    )


def outside(run: Mapping[str, Any]) -> list[str]:
    """A sentence about the lines that a run's window leaves out, where there are any."""
    number_of = run["outside"]
    if not number_of:
        return []
    lines = f"{number(number_of)} of {number(run['lines'])} lines"
    if run["source"] == Source.API:
        return [f"{lines} lie around the window; they are judged in the runs of their own time."]
    return [f"{lines} fell outside the window and were not judged: is it the right day, and the right time zone?"]


def period(run: Mapping[str, Any]) -> str:
    """`20 November 2026`, or from when until when."""
    if run["business_date"] is not None:
        return day(run["business_date"])
    begin, end = run["window_from"], run["window_to"]
    return f"{moment(begin)} – {moment(end)}" if begin is not None else f"the time of the file {run['file_name']}"


# --- what was found ---


@dataclass(frozen=True)
class Bar:
    """A row of the chart. `width`: percent of the longest of its kind; `amounts`: (text, width)."""

    cls: str
    words: str
    count: str
    width: float
    amounts: list[tuple[str, float]]


def _found(summary: Summary, at: datetime) -> dict[str, Any]:
    judged = sum(share.count for share in summary.shares if share.cls is not LineClass.UNRELATED)
    matched = summary.counts.get(LineClass.MATCHED, 0)
    breaks = [share for share in summary.shares if share.cls is not LineClass.MATCHED]
    waiting = [row for row in summary.open if row.fix is None]
    by_rule = [row for row in summary.open if row.fix is not None]
    return {
        "lines": number(summary.lines) if summary.lines is not None else None,
        "judged": number(judged),
        "matched": number(matched),
        "percent": percent(matched, judged),
        "share": round(100 * matched / judged, 3) if judged else 100,
        "broken": number(judged - matched),
        "bars": _bars(breaks),
        "totals": [_total(total) for total in summary.totals] if summary.totals is not None else None,
        "open": number(summary.open_count),
        "open_count": summary.open_count,
        "overdue": sum(row.overdue(at) for row in summary.open),
        "more": summary.open_count - len(summary.open),
        "waiting": [_discrepancy(row, at) for row in waiting],
        "by_rule": [_discrepancy(row, at) for row in by_rule],
        "settled": [_settled(row) for row in summary.settled],
    }


def _bars(shares: Sequence[Share]) -> list[Bar]:
    """Amounts of different currencies are not compared: each is measured by the largest of its own."""
    longest = max((share.count for share in shares), default=1)
    largest: dict[str, int] = {}
    for share in shares:
        for currency, amount in share.amounts.items():
            largest[currency] = max(largest.get(currency, 1), amount)
    return [
        Bar(
            cls=share.cls.value,
            words=CLASS_LABELS[share.cls],
            count=number(share.count),
            width=_width(share.count, longest),
            amounts=[(money(a, c), _width(a, largest[c])) for c, a in sorted(share.amounts.items())],
        )
        for share in sorted(shares, key=lambda share: -share.count)
    ]


def _width(part: int, whole: int) -> float:
    """Percent; what is there can be seen."""
    return max(1.5, round(100 * part / whole, 2)) if part else 0.0


def _total(total: Total) -> dict[str, Any]:
    sides = {"there": total.there, "here": total.here, "difference": total.difference}
    return {"currency": total.currency, "even": total.difference == 0} | {
        name: grouped(amount, total.currency) for name, amount in sides.items()
    }


def _discrepancy(row: Discrepancy, at: datetime) -> dict[str, Any]:
    fix = None
    if row.fix is not None:
        asked = f"asked for at {moment(row.fix_asked_at)}: {row.fix_note}" if row.fix_asked_at else None
        fix = asked or FIX_LABELS[row.fix]
    return {
        "id": row.id,
        "cls": row.cls.value,
        "words": CLASS_LABELS[row.cls],
        "reason": row.reason,
        "about": _about(row),
        "difference": _difference(row),
        "due": moment(row.due_at) if row.due_at else "–",
        "left": left(row.due_at, at),
        "overdue": row.overdue(at),
        "fix": fix,
    }


def _about(row: Discrepancy) -> list[str]:
    ours = [name for name in dict.fromkeys((row.payment_id, row.object_id)) if name]
    return ours + ([their_name(row.subject, row.psp, row.line_reference)] if row.line_reference else [])


def _difference(row: Discrepancy) -> str:
    if row.difference is None or row.currency is None:
        return "–"
    sign = "+" if row.difference > 0 else ""
    return f"{sign}{money(row.difference, row.currency)}"


def _settled(row: Discrepancy) -> dict[str, Any]:
    by_person = row.status is DiscrepancyStatus.RESOLVED
    how = str(row.resolution or "").replace("_", " ")
    return {
        "id": row.id,
        "cls": row.cls.value,
        "words": CLASS_LABELS[row.cls],
        "reason": row.reason,
        "difference": _difference(row),
        "how": how,
        "note": row.note if by_person else None,
        "by": row.resolved_by if by_person else "by rule",
        "when": moment(row.resolved_at) if row.resolved_at else "–",
    }


# --- numbers and times as people read them ---


def number(value: int) -> str:
    return f"{value:,}"


def percent(part: int, whole: int) -> str:
    """Rounded down: a hundred is said of all alone."""
    if not whole or part == whole:
        return "100 %"
    return f"{min(99.99, int(10_000 * part / whole) / 100):g} %"


def grouped(amount: int, currency: str) -> str:
    """`-1,234.50`"""
    whole, point, rest = (shown(amount, currency) or str(amount)).partition(".")
    sign, digits = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{rest}"


def money(amount: int, currency: str) -> str:
    return f"{grouped(amount, currency)} {currency}"


def day(at: Any) -> str:
    return f"{at.day} {at:%B %Y}"


def moment(at: datetime) -> str:
    """`20 Nov 2026, 14:03 UTC`"""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def left(due_at: datetime | None, at: datetime) -> str:
    """`in 3 days`, `2 hours late`"""
    if due_at is None:
        return ""
    seconds = (due_at - at).total_seconds()
    size = abs(seconds)
    unit, length = next(((u, n) for u, n in (("day", 86_400), ("hour", 3_600)) if size >= 2 * n), ("minute", 60))
    count = max(1, int(size // length))  # of nothing, nobody is late
    amount = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"in {amount}" if seconds > 0 else f"{amount} late"
