"""The report for a person: rates, costs, kinds of requests, counts, claims, the money. It fits 80 columns."""

from collections.abc import Callable, Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bench.plan import Shape, SubjectName
from bench.results import SHAPES, SUBJECTS, Claim, Line, Money, Report
from bench.rounds import OTHERS_CORES_MAX
from bench.subjects.registry import NEEDS, TITLES
from domain.money import to_major

WIDTH = 80

SHAPE_TITLES: dict[Shape, str] = {
    "one": "one order",
    "orders": "three orders",
    "declined": "declined",
    "capture": "authorise, capture",
    "refund": "refund",
    "replay": "replayed request",
    "get": "GET of a payment",
}
_LETTERS = dict(zip(TITLES, "abcdefg", strict=True))
_NOTES = (
    "CPU ms of one, by process; API or own: the API, or the process in which a subject runs itself, Paysaga's webhooks"
    " then in the API; load: the client, not in the sum; peers take no webhooks; writes: commits that wrote"
)


def report_page(report: Report) -> RenderableType:
    """The whole page."""
    subjects = [line for line in report.lines if line.group == SUBJECTS]
    shapes = [line for line in report.lines if line.group == SHAPES]
    return Group(
        _title("Payments a second"),
        _rates(subjects, "of the\nfloor", lambda line: report.line("noop", line.concurrency)),
        *(
            _below(f"{TITLES[name]}: {package} is not installed: make bench-peers", "yellow")
            for name, package in _missing(report)
        ),
        *_disturbed(report),
        "",
        _title("CPU and writes of one"),
        _costs(subjects),
        _below(_NOTES, "dim"),
        *(
            (
                "",
                _title("Kinds of requests through HTTP"),
                _rates(shapes, "of one\norder", lambda _: report.shape("one")),
                "",
                _costs(shapes),
            )
            if shapes
            else ()
        ),
        "",
        _title("Counted"),
        _counted(report),
        _below(f"{report.round_trips_are}; actions: {report.actions_are}", "dim"),
        "",
        _title("Claims"),
        *map(_claim, report.claims),
        "",
        _money(report.money),
        *(_below(line, "dim") for line in _machine(report)),
    )


def subject_title(name: SubjectName) -> str:
    """`(f) Paysaga, HTTP`."""
    return f"({_LETTERS[name]}) {TITLES[name]}"


def _missing(report: Report) -> Iterable[tuple[SubjectName, str]]:
    return ((name, report.missing[name]) for name in NEEDS if name in report.missing)


def _title(text: str) -> Rule:
    return Rule(Text(f"{text} ", "bold cyan"), align="left", style="cyan dim", characters="─")


def _below(text: str, style: str = "") -> RenderableType:
    """A sentence that is folded under its own beginning."""
    return Padding(Text(text, style), (0, 0, 0, 1))


def _table(*numbers: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right", vertical="bottom", no_wrap=True)
    return table


def _label(line: Line) -> str:
    return subject_title(line.subject) if line.group == SUBJECTS else SHAPE_TITLES[line.shape]


def _rates(lines: Sequence[Line], share: str, base_of: Callable[[Line], Line | None]) -> RenderableType:
    table = _table("at\nonce", "a\nsecond", "least to most", share, "p50\nms", "p95\nms", "errors")
    for line in _by_concurrency(lines):
        base = base_of(line)
        table.add_row(
            _label(line),
            str(line.concurrency),
            Text(f"{line.per_s:.1f}", "bold"),
            Text(f"{line.per_s_least:.0f} to {line.per_s_most:.0f}", "dim"),
            f"{line.per_s / base.per_s:.2f}" if base and base.per_s else "–",
            _ms(line.p50_ms),
            _ms(line.p95_ms),
            Text(str(line.errors), "red" if line.errors else "dim"),
        )
    return table


def _costs(lines: Sequence[Line]) -> RenderableType:
    table = _table(
        "at\nonce", "CPU\nms", "API or\nown", "Tempo-\nral", "Post-\ngres", "PSP", "load", "writes", "WAL\nkB"
    )
    for line in _by_concurrency(lines):
        cpu = line.cpu_ms
        own = cpu["api"] + cpu["worker"] + cpu.get("process", 0.0)
        parts = (own, cpu["temporal"], cpu["postgres"], cpu["psp"], cpu.get("load"))
        table.add_row(
            _label(line),
            str(line.concurrency),
            Text(f"{line.cpu_total_ms:.1f}", "bold"),
            *("–" if part is None else f"{part:.1f}" for part in parts),
            f"{line.write_commits:.1f}",
            f"{line.wal_kb:.1f}",
        )
    return table


def _by_concurrency(lines: Sequence[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.concurrency)


def _counted(report: Report) -> RenderableType:
    table = _table("round\ntrips", "all\ncommits", "write\ncommits", "events", "actions")
    for found in report.counted:
        title = subject_title(found.subject) if found.shape == "one" else f"    {SHAPE_TITLES[found.shape]}"
        table.add_row(
            title,
            f"{found.round_trips:.1f}",
            f"{found.commits:.1f}",
            f"{found.write_commits:.1f}",
            _up_to(found.events, found.events_max),
            _up_to(found.actions, found.actions_max),
        )
    return table


def _claim(claim: Claim) -> RenderableType:
    """`met` or `not met`, and by how much."""
    if claim.met is None:
        return _below(f"–  {claim.says}: not measured", "dim")
    said = "met" if claim.met else "not met"
    return _below(
        f"{'✓' if claim.met else '✗'}  {claim.says}: {claim.value:g}, {said}", "green" if claim.met else "red"
    )


def _disturbed(report: Report) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if report.thrown_away:
        lines.append(
            _below(
                f"Rounds thrown away, as something else used over {OTHERS_CORES_MAX} cores: {report.thrown_away}.",
                "yellow",
            )
        )
    if any(line.disturbed for line in report.lines):
        lines.append(_below("Some lines have no quiet round: measure again when the machine is quiet.", "red"))
    wrong: dict[str, int] = {}
    for cell in (cell for line in report.lines for cell in line.cells):
        for answer, count in cell.answers.items():
            if answer.startswith("error"):
                wrong[answer] = wrong.get(answer, 0) + count
    return [*lines, *(_below(f"{count} × {answer}", "red") for answer, count in wrong.items())]


def _money(found: Money) -> RenderableType:
    audit = "NOT clean" if found.audit_findings else "clean"
    lines = [
        _below(
            f"{'✓' if found.passed else '✗'} {books.subject}: {books.succeeded:,} of {books.payments:,} payments paid,"
            f" {to_major(books.booked, 'INR')} INR; the PSP: {books.charges:,} charges, {to_major(books.taken, 'INR')}"
            f" INR, {to_major(books.refunded, 'INR')} back",
            "green" if found.passed else "red",
        )
        for books in found.books
    ]
    problems = (_below(f"• {line}", "red") for line in (*found.problems, *found.audit_findings[:10]))
    return Group(_title(f"The money · audit {audit}"), *lines, *problems)


def _machine(report: Report) -> Iterable[str]:
    machine, versions = report.machine, report.versions
    yield (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, {machine['file_system']},"
        f" {machine['system']}, {machine['python']}, PostgreSQL {versions['postgresql']}, Temporal"
        f" {versions['temporal']}, temporalio {versions['temporalio']}"
    )
    idle = ", ".join(f"{name} {cores:.2f}" for name, cores in report.idle_cores.items() if cores >= 0.01)
    yield f"busy cores while nothing is asked: {idle or 'none'}"
    yield "most memory, MB: " + ", ".join(f"{name} {used:.0f}" for name, used in report.memory_mb.items())
    raised = ", ".join(f"{name} {old} → {new}" for name, (old, new) in report.raised_settings.items())
    yield (
        f"PSP: {report.psp}, {report.psp_ms:.0f} ms a call · rounds: {report.rounds}, {report.seconds:g} s each ·"
        f" raised for it: {raised} · {report.took_s:.0f} s in all"
    )


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _up_to(usual: int | None, most: int | None) -> str:
    """`7`, or `7 to 14` where they differ."""
    if usual is None:
        return "–"
    return str(usual) if usual == most else f"{usual} to {most}"
