"""`python -m bench.page FILE.json`: the result of a run as a table and a picture of docs/performance.md.

What stands between the two marks of the page is replaced, and docs/performance.svg is drawn anew.
"""

import sys
from pathlib import Path

from bench.plot import plot
from bench.results import SHAPES, SUBJECTS, Line, Report
from bench.table import SHAPE_TITLES, subject_title

_DOCS = Path(__file__).parent.parent / "docs"
_BEGIN = "<!-- written by `make bench-page` from the result of a run: begin -->"
_END = "<!-- end -->"


def page(report: Report) -> str:
    """The part of the page, in Markdown."""
    machine = report.machine
    quiet = "" if not report.thrown_away else f", {report.thrown_away} rounds thrown away because of other load"
    lines = [
        f"Measured {report.at[:10]} on {machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, with"
        f" every server and the load on them. PSP: {report.psp}, {report.psp_ms:.0f} ms a call. Medians of"
        f" {report.rounds} alternating rounds of {report.seconds:g} s{quiet}.",
        *(f"Not measured, as {package} is not installed: {name}." for name, package in report.missing.items()),
        "",
        "![Payments a second](performance.svg)",
        "",
        *_rates(report),
        "",
        *_shapes(report),
        "",
        *_counted(report),
        "",
        "| claim | measured | |",
        "|---|---|---|",
    ]
    for claim in report.claims:
        value = "–" if claim.value is None else f"{claim.value:g}"
        lines.append(f"| {claim.says} | {value} | {ANSWERS[claim.met]} |")
    memory = ", ".join(f"{name} {used:.0f}" for name, used in report.memory_mb.items())
    lines += ["", f"Most memory, MB: {memory}."]
    return "\n".join(lines)


ANSWERS = {True: "met", False: "not met", None: "not measured"}


def _rates(report: Report) -> list[str]:
    lines = [
        "| | at once | a second | of the floor | p50 ms | p95 ms | CPU ms | API or own | Temporal | PostgreSQL | PSP |"
        " write commits | WAL kB |",
        "|---|" + "---|" * 12,
    ]
    subjects = [line for line in report.lines if line.group == SUBJECTS]
    for line in sorted(subjects, key=lambda line: line.concurrency):
        floor = report.line("noop", line.concurrency)
        share = f"{line.per_s / floor.per_s:.2f}" if floor and floor.per_s else "–"
        lines.append(f"| {subject_title(line.subject)} | {line.concurrency} | {line.per_s:.1f} | {share} {_rest(line)}")
    return lines


def _shapes(report: Report) -> list[str]:
    one = report.shape("one")
    lines = [
        "| through HTTP | at once | a second | of one order | p50 ms | p95 ms | CPU ms | API or own | Temporal |"
        " PostgreSQL | PSP | write commits | WAL kB |",
        "|---|" + "---|" * 12,
    ]
    for line in (line for line in report.lines if line.group == SHAPES):
        share = f"{line.per_s / one.per_s:.2f}" if one and one.per_s else "–"
        lines.append(f"| {SHAPE_TITLES[line.shape]} | {line.concurrency} | {line.per_s:.1f} | {share} {_rest(line)}")
    return lines


def _rest(line: Line) -> str:
    cpu = line.cpu_ms
    own = cpu["api"] + cpu["worker"] + cpu.get("process", 0.0)
    times = ("–" if ms is None else f"{ms:.0f}" for ms in (line.p50_ms, line.p95_ms))
    spent = (line.cpu_total_ms, own, cpu["temporal"], cpu["postgres"], cpu["psp"])
    costs = (*spent, line.write_commits, line.wal_kb)
    shown = (f"{cost:.1f}" for cost in costs)
    return f"| {' | '.join((*times, *shown))} |"


def _counted(report: Report) -> list[str]:
    lines = ["| of one | round trips | all commits | write commits | events | actions |", "|---|" + "---|" * 5]
    for found in report.counted:
        title = subject_title(found.subject) if found.shape == "one" else SHAPE_TITLES[found.shape]
        counts = (f"{count:.1f}" for count in (found.round_trips, found.commits, found.write_commits))
        history = ("–" if count is None else str(count) for count in (found.events, found.actions))
        lines.append(f"| {title} | {' | '.join((*counts, *history))} |")
    return lines


def replaced(text: str, part: str) -> str:
    """The page with another part between its marks. Raises ValueError for one without them."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no marks {_BEGIN} … {_END}")
    return f"{before}{_BEGIN}\n{part}\n{_END}{after}"


def main(arguments: list[str]) -> int:
    """Write the page and the picture; 2 where no file is named, or it is no result of a run."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m bench.page FILE.json (what `python -m bench --json FILE.json` wrote)\n")
        return 2
    try:
        report = Report.model_validate_json(Path(arguments[0]).read_bytes())
    except (OSError, ValueError) as error:
        sys.stderr.write(f"bench: {arguments[0]} is no result of a run: {str(error).splitlines()[0]}\n")
        return 2
    target = _DOCS / "performance.md"
    target.write_text(replaced(target.read_text(), page(report)))
    (_DOCS / "performance.svg").write_text(plot(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
