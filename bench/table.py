"""The report for a person: the loads, what a payment costs, the references, how to read them, the money."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bench.costs import GROUPS
from bench.results import Loaded, Money, Reference, Report
from domain.money import to_major

WIDTH = 100
_OTHERS_CORES_MAX = 0.25
_FULL = 0.85
"""Of a core, for a process that can use only one; of all cores, for the machine."""

_KINDS = {"happy": "one order", "orders": "three orders", "declined": "declined"}
_NAMES = {"api": "API", "worker": "worker", "temporal": "Temporal", "postgres": "Postgres", "sandbox": "PSP"}
_SPEED = ("at\nonce", "a\nsecond", "p50\nms", "p95\nms", "p99\nms")
_COUNTED_HOW = (
    "(load): the process that sends, not in the sum; write commits: transaction ids used; all commits:"
    " pg_stat_database, where each read outside a transaction is one; events: of the workflow's history"
)
_SERVERS = {"psp": "sandbox", "noop": "temporal", "commit": "postgres", "healthz": "api"}
"""Whose CPU counts beside the client's, by the first word of a reference's name."""


def report_page(report: Report) -> RenderableType:
    """The whole page."""
    return Group(
        _title("Payments through HTTP"),
        _loads(report.payments),
        *_warnings(report.payments),
        "",
        _title("What one payment costs"),
        _cpu(report.payments),
        "",
        _counted(report.payments),
        _below(_COUNTED_HOW, "dim"),
        _below(f"actions: {report.actions_are}", "dim"),
        "",
        _title("In the same run, by itself"),
        _references(report.reference),
        "",
        _title("How to read it"),
        *(_below(sentence) for sentence in reading(report)),
        "",
        _money(report.money),
        *_machine(report),
    )


def _title(text: str) -> Rule:
    return Rule(Text(f"{text} ", "bold cyan"), align="left", style="cyan dim", characters="─")


def _below(text: str, style: str = "") -> RenderableType:
    """A sentence that is folded under its own beginning."""
    return Padding(Text(text, style), (0, 0, 0, 3))


def _table(*numbers: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("", width=1)
    table.add_column("", no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right", vertical="bottom")
    return table


def _label(load: Loaded) -> str:
    return f"{_KINDS[load.kind]}, {load.concurrency} at once"


def _loads(loads: Sequence[Loaded]) -> RenderableType:
    table = _table(*_SPEED, "201\nended", "202\nwaits", "errors", "busy\ncores")
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
            lines.append(_below(f"{_label(load)}: {wrong}", "red"))
    others = max((load.others_busy_cores for load in loads), default=0.0)
    if others > _OTHERS_CORES_MAX:
        sentence = f"Something else on this machine used up to {others:.1f} cores: measure again when it is quiet."
        lines.append(_below(sentence, "yellow"))
    return lines


def _cpu(loads: Sequence[Loaded]) -> RenderableType:
    table = _table("at\nonce", "CPU\nms", *(_NAMES[group] for group in GROUPS), "(load)")
    for load in loads:
        cost = load.cost
        parts = (Text(f"{cost.cpu_ms[group]:.1f}", "dim") for group in (*GROUPS, "load"))
        total = Text(f"{cost.cpu_total_ms:.1f}", "bold")
        table.add_row("", _KINDS[load.kind], str(load.concurrency), total, *parts)
    return table


def _counted(loads: Sequence[Loaded]) -> RenderableType:
    table = _table(
        "at\nonce", "PSP\ncalls", "webhooks", "write\ncommits", "all\ncommits", "WAL\nkB", "events", "actions"
    )
    for load in loads:
        cost = load.cost
        table.add_row(
            "",
            _KINDS[load.kind],
            str(load.concurrency),
            f"{cost.psp_calls:.2f}",
            f"{cost.webhooks:.2f}",
            f"{cost.write_transactions:.2f}",
            "–" if cost.transactions is None else f"{cost.transactions:.1f}",
            f"{cost.wal_kb:.0f}",
            _up_to(cost.history_events, cost.history_events_max),
            _up_to(cost.billable_actions, cost.billable_actions_max),
        )
    return table


def _references(references: Sequence[Reference]) -> RenderableType:
    table = _table(*_SPEED, "client\nCPU ms", "server\nCPU ms")
    for reference in references:
        server = _SERVERS[reference.name.partition("-")[0]]
        table.add_row(
            _mark(reference.errors == 0),
            reference.title,
            str(reference.concurrency),
            Text(f"{reference.per_s:,.0f}", "bold"),
            *_times(reference),
            Text(f"{reference.cpu_ms.get('client', 0):.2f}", "dim"),
            Text(f"{reference.cpu_ms.get(server, 0):.2f}", "dim"),
        )
    return table


def reading(report: Report) -> list[str]:
    """A sentence for each thing that the figures say when they are put beside each other."""
    happy = [load for load in report.payments if load.kind == "happy"]
    references = {reference.name: reference for reference in report.reference}
    first, best = happy[0], max(happy, key=lambda load: load.per_s)
    psp = references[f"psp-{first.concurrency}"].timing.p50_ms
    sentences = []
    if psp is not None and first.timing.p50_ms is not None:
        sentences.append(
            f"{first.concurrency} at once: half of the payments take {first.timing.p50_ms:,.0f} ms or less, and a PSP"
            f" call alone {psp:,.0f} ms; the rest is ours."
        )
    sentences.append(f"{best.concurrency} at once: {best.per_s:.0f} a second. {_limit(best, report)}")
    sentences.append(
        f"A workflow that does nothing goes through this Temporal {references['noop'].per_s:.0f} times a second:"
        " nothing that is as durable can be faster here. Each client sends its next payment when its last one is"
        " answered, so past the limit more of them only wait longer."
    )
    return sentences


def _limit(load: Loaded, report: Report) -> str:
    """The load on the machine then, and what would be full first."""
    used = {name: load.cost.cpu_ms[group] * load.per_s / 1000 for group, name in _NAMES.items()}
    cores = int(report.machine["cores"])
    full_at = cores * 1000 / (load.cost.cpu_total_ms + load.cost.cpu_ms["load"])
    full = f"all {cores} would be full at {full_at:.0f} a second"
    if load.others_busy_cores > _OTHERS_CORES_MAX:
        why = "something else was busy too"
    elif used["API"] > _FULL:
        why = f"one API process has one core at most; with more of them {full}"
    elif load.machine_busy_cores > _FULL * cores:
        why = "the machine is full"
    else:
        why = f"with more clients {full}"
    busy = ", ".join(f"{name} {share:.2f}" for name, share in used.items())
    return f"Cores busy with that: {busy}; {why}."


def _money(found: Money) -> RenderableType:
    audit = "NOT clean" if found.audit_findings else "clean"
    head = Text.assemble(
        (" ✓ " if found.passed else " ✗ ", "bold"),
        (f"{found.payments:,} payments by the API, {found.succeeded:,} paid: {to_major(found.booked, 'INR')}", "bold"),
        (f" · the PSP's log: {found.charges:,} charges, {to_major(found.taken, 'INR')} · audit {audit}", "bold"),
        style="green" if found.passed else "red",
    )
    return Group(head, *(_below(f"• {line}", "red") for line in (*found.problems, *found.audit_findings[:10])))


def _machine(report: Report) -> list[RenderableType]:
    machine, versions = report.machine, report.versions
    raised = ", ".join(f"{name} {old:g} → {new:g}" for name, (old, new) in report.raised_settings.items())
    lines = (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, {machine['file_system']},"
        f" {machine['system']}: shared by the load, the PSP, one API process with its worker, one more worker, Temporal"
        " and PostgreSQL",
        f"{machine['python']}, PostgreSQL {versions['postgresql']}, Temporal {versions['temporal']},"
        f" temporalio {versions['temporalio']}, FastAPI {versions['fastapi']}",
        f"PSP latency {report.psp_ms:.0f} ms · raised for the measurement: {raised} · {report.took_s:.0f} s",
    )
    return [_below(line, "dim") for line in lines]


def _times(row: Loaded | Reference) -> tuple[str, str, str]:
    timing = row.timing
    return _ms(timing.p50_ms), _ms(timing.p95_ms), _ms(timing.p99_ms)


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share in (0.0, 1.0) else f"{share * 100:.1f} %"


def _up_to(usual: int | None, most: int | None) -> str:
    """`7`, or `7 to 14` where they differ."""
    if usual is None:
        return "–"
    return str(usual) if usual == most else f"{usual} to {most}"


def _mark(good: bool) -> Text:
    return Text("✓", "bold green") if good else Text("✗", "bold red")
