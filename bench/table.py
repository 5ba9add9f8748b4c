"""What a person sees in the end: the loads, what a payment costs, the references, the money; and how to read it."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bench.results import Loaded, Money, Reference, Report
from domain.money import to_major

_KINDS = {"happy": "one order, paid", "orders": "three orders, paid", "declined": "declined"}
_GROUPS = {"api": "API", "worker": "worker", "temporal": "Temporal", "postgres": "PostgreSQL", "sandbox": "PSP"}
_OTHERS_CORES_MAX = 0.25


def report_page(report: Report) -> RenderableType:
    """The whole page."""
    return Group(
        _title("Payments through HTTP"),
        _loads(report.payments),
        *_warnings(report.payments),
        "",
        _title("What one payment costs"),
        _costs(report.payments),
        Text(f"   Billable actions: {report.actions_are}.", "dim"),
        "",
        _title("In the same run, by itself"),
        _references(report.reference),
        "",
        _title("How to read it"),
        Text(f"   {reading(report)}"),
        "",
        _money(report.money),
        _machine(report),
    )


def _title(text: str) -> Rule:
    return Rule(Text(f"{text} ", "bold cyan"), align="left", style="cyan dim", characters="─")


def _table(*numbers: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("", min_width=1)
    table.add_column("", no_wrap=True, min_width=30)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _loads(loads: Sequence[Loaded]) -> RenderableType:
    table = _table("at once", "a second", "p50 ms", "p95 ms", "p99 ms", "201", "202", "errors", "cores busy")
    for load in loads:
        table.add_row(
            _mark(load.errors == 0),
            _KINDS[load.kind],
            str(load.concurrency),
            Text(f"{load.per_s:.1f}", "bold"),
            *_times(load),
            _percent(load.share_terminal),
            _percent(load.share_waiting),
            Text(str(load.errors), "red" if load.errors else "dim"),
            f"{load.machine_busy_cores:.1f}",
        )
    return table


def _warnings(loads: Sequence[Loaded]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for load in loads:
        wrong = ", ".join(f"{count} × {answer}" for answer, count in load.answers.items() if answer.startswith("error"))
        if wrong:
            lines.append(Text(f"   {_KINDS[load.kind]}, {load.concurrency} at once: {wrong}", "red"))
    others = max((load.others_busy_cores for load in loads), default=0.0)
    if others > _OTHERS_CORES_MAX:
        sentence = f"Something else on this machine used up to {others:.1f} cores: measure again when it is quiet."
        lines.append(Text(f"   {sentence}", "yellow"))
    return lines


def _costs(loads: Sequence[Loaded]) -> RenderableType:
    table = _table(
        "CPU ms", *_GROUPS.values(), "PSP calls", "webhooks", "writes", "transactions", "WAL kB", "events", "actions"
    )
    table.columns[1].min_width = 24
    for load in loads:
        cost = load.cost
        table.add_row(
            "",
            f"{_KINDS[load.kind]}, {load.concurrency} at once",
            Text(f"{cost.cpu_total_ms:.1f}", "bold"),
            *(Text(f"{cost.cpu_ms[group]:.1f}", "dim") for group in _GROUPS),
            f"{cost.psp_calls:.2f}",
            f"{cost.webhooks:.1f}",
            f"{cost.write_transactions:.1f}",
            f"{cost.transactions:.1f}",
            f"{cost.wal_kb:.0f}",
            _whole(cost.history_events),
            _whole(cost.billable_actions),
        )
    return table


def _references(references: Sequence[Reference]) -> RenderableType:
    table = _table("at once", "a second", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "of that here")
    for reference in references:
        table.add_row(
            _mark(reference.errors == 0),
            reference.title,
            str(reference.concurrency),
            Text(f"{reference.per_s:,.0f}", "bold"),
            *_times(reference),
            f"{sum(reference.cpu_ms.values()):.2f}",
            Text(f"{reference.cpu_ms.get('client', 0):.2f}", "dim"),
        )
    return table


def reading(report: Report) -> str:
    """One sentence or two that put the figures beside each other."""
    happy = [load for load in report.payments if load.kind == "happy"]
    alone = {reference.concurrency: reference for reference in report.reference if reference.name.startswith("psp")}
    first, best = happy[0], max(happy, key=lambda load: load.per_s)
    floor = next(reference for reference in report.reference if reference.name == "noop")
    cores = report.machine["cores"]
    parts = []
    psp = alone.get(first.concurrency)
    if psp is not None and psp.timing.p50_ms and first.timing.p50_ms:
        parts.append(
            f"With {first.concurrency} at once a payment takes {first.timing.p50_ms:.0f} ms, of which the PSP call"
            f" alone takes {psp.timing.p50_ms:.0f} ms; the rest is ours."
        )
    parts.append(
        f"With {best.concurrency} at once {best.machine_busy_cores:.1f} of {cores} cores are busy and"
        f" {best.per_s:.0f} payments a second go through; a workflow that does nothing goes through this Temporal"
        f" {floor.per_s:.0f} times a second, which is the ceiling of everything durable here."
        " Beyond that, more clients only wait longer: each sends its next payment when its last one is answered."
    )
    return " ".join(parts)


def _money(money: Money) -> RenderableType:
    head = Text.assemble(
        (" ✓ " if money.passed else " ✗ ", "bold"),
        (
            f"{money.payments:,} payments by the API, {money.succeeded:,} of them paid; {money.charges:,} charges by"
            f" the PSP's own log: {to_major(money.booked, 'INR')} and {to_major(money.taken, 'INR')} INR; the audit"
            f" {'is clean' if not money.audit_findings else 'is NOT clean'}",
            "bold",
        ),
        style="green" if money.passed else "red",
    )
    return Group(head, *(Text(f"   • {line}", "red") for line in (*money.problems, *money.audit_findings[:10])))


def _machine(report: Report) -> RenderableType:
    machine, versions = report.machine, report.versions
    raised = ", ".join(f"{name} {old:g} → {new:g}" for name, (old, new) in report.raised_settings.items())
    return Text(
        f"   {machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, {machine['file_system']},"
        f" {machine['system']}; clients, PSP, API, worker, Temporal and PostgreSQL share them\n"
        f"   {machine['python']}, PostgreSQL {versions['postgresql']}, Temporal {versions['temporal']},"
        f" temporalio {versions['temporalio']}, FastAPI {versions['fastapi']}\n"
        f"   PSP latency {report.psp_ms:.0f} ms; raised for the measurement: {raised} · took {report.took_s:.0f} s",
        "dim",
    )


def _times(row: Loaded | Reference) -> tuple[str, str, str]:
    timing = row.timing
    return _ms(timing.p50_ms), _ms(timing.p95_ms), _ms(timing.p99_ms)


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share in (0.0, 1.0) else f"{share * 100:.1f} %"


def _whole(value: int | None) -> str:
    return "–" if value is None else str(value)


def _mark(good: bool) -> Text:
    return Text("✓", "bold green") if good else Text("✗", "bold red")
