"""`python -m bench.scaling FILE.json…`: what a machine of some size will do, from what one payment was seen to cost.

A payment is a customer in a closed network of queues (mean value analysis): it waits for the PSP, where nobody queues;
for an API process, which runs one thread of Python at a time; for Temporal's server, whose embedded form does one thing
after the other; and all of them together cannot use more than the cores of the machine. As the gate does, it lets only
so many payments be worked on at once (`runtime.pace`); the others wait at the door.

Its only inputs are the CPU times of one payment, of a run with one API process. The files are results of `python -m
bench --processes N --json FILE`, first one of one process; docs/scaling.md gets the tables, with what was measured.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.results import SUBJECTS, Cell, Report

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
_BEGIN = "<!-- written by `make bench-scaling` from the results of runs: begin -->"
_END = "<!-- end -->"
_BUSY = 0.6
"""The part of a core that is planned for: beyond it, queues grow fast."""


@dataclass(frozen=True)
class Payment:
    """The cost of one: milliseconds of CPU by component (`load` is who asks, and is on the same machine in the bench),
    and `psp_ms` that it waits for the PSP. `wal_kb` and `commits` are of PostgreSQL."""

    cpu_ms: Mapping[str, float]
    psp_ms: float
    wal_kb: float
    commits: float

    @property
    def total_ms(self) -> float:
        return sum(self.cpu_ms.values())

    @classmethod
    def measured(cls, report: Report, concurrency: int) -> "Payment":
        """Of the payments through HTTP of a run."""
        line = report.line("http", concurrency)
        if line is None:
            raise ValueError(f"the run has no payments through HTTP, {concurrency} at once")
        cpu = {name: ms for name, ms in line.cpu_ms.items() if ms}
        cpu["api"] = cpu.get("api", 0.0) + cpu.pop("worker", 0.0)
        return cls(cpu, report.psp_ms, line.wal_kb, line.write_commits)


@dataclass(frozen=True)
class Prediction:
    """Payments a second, and the time that one takes."""

    per_s: float
    ms: float


PLACES = 4
"""Payments that a process works on at once: about as many times the least that a start takes as the pace allows."""

Rate = Callable[[int], float]
"""Customers that a queue is done with in a millisecond, while so many are there."""


def predict(payment: Payment, customers: int, *, cores: float, processes: int, left: float | None = None) -> Prediction:
    """So many clients, each of which sends its next payment when the last one is answered. `left`: the cores that
    nobody else used meanwhile."""
    api, temporal = payment.cpu_ms["api"], payment.cpu_ms["temporal"]
    rest_ms = payment.total_ms - api - temporal
    found = closed(PLACES * processes, [lambda n: min(n, processes) / api, lambda _: 1 / temporal], rest_ms)
    inside = [min(one, cores / payment.total_ms) for one in found]
    network = closed(customers, [lambda n: inside[min(n, len(inside)) - 1]], payment.psp_ms)[-1]
    throughput = min(network, (cores if left is None else left) / payment.total_ms)
    return Prediction(1000 * throughput, customers / throughput)


def closed(customers: int, queues: Sequence[Rate], delay_ms: float) -> list[float]:
    """The throughput (a millisecond) of a closed network with one customer, with two, and so on: exact mean value
    analysis of queues, and a delay where nobody waits for another."""
    # `there[k][j]`: the probability that j customers are at queue k, for the network with the customers so far.
    there: list[list[float]] = [[1.0] for _ in queues]
    found: list[float] = []
    for n in range(1, customers + 1):
        spent = [sum(j / rate(j) * at[j - 1] for j in range(1, n + 1)) for rate, at in zip(queues, there, strict=True)]
        throughput = n / (delay_ms + sum(spent))
        for k, rate in enumerate(queues):
            some = [throughput / rate(j) * there[k][j - 1] for j in range(1, n + 1)]
            there[k] = [max(0.0, 1.0 - sum(some)), *some]
        found.append(throughput)
    return found


def waits(per_s: float, service_ms: float, servers: int) -> float:
    """The mean wait, in milliseconds, of whoever comes at random to a queue of several servers (M/M/c, by Erlang's C);
    infinite where more comes than they can do."""
    load = per_s * service_ms / 1000
    if load >= servers:
        return math.inf
    blocked = 1.0
    for n in range(1, servers + 1):  # Erlang's B, one server more at a time
        blocked = load * blocked / (n + load * blocked)
    waiting = blocked / (1 - load / servers * (1 - blocked))
    return waiting * service_ms / (servers - load)


def cores(payment: Payment, per_s: float) -> dict[str, int]:
    """Cores by component, for so many payments a second at the peak."""
    ours = {name: ms for name, ms in payment.cpu_ms.items() if name not in ("load", "psp")}
    return {name: math.ceil(per_s * ms / 1000 / _BUSY) for name, ms in ours.items()}


# --- the page ---


@dataclass(frozen=True)
class Compared:
    """A concurrency with so many API processes: medians over the rounds of all runs."""

    processes: int
    customers: int
    predicted: Prediction
    measured: Prediction

    @property
    def off(self) -> float:
        """By how much the rate differs from what was measured. The mean time differs by as much (Little's law); the
        median need not: connections are spread over processes by chance, and one of them has more to do."""
        return abs(self.predicted.per_s / self.measured.per_s - 1)


def compared(reports: Sequence[Report]) -> list[Compared]:
    """Each round is predicted with the cores that it had. The costs are those of the first run."""
    machine = float(reports[0].machine["cores"])
    found = []
    for processes in sorted({report.api_processes for report in reports}):
        for customers in _concurrency(reports[0]):
            payment = Payment.measured(reports[0], customers)
            cells = [
                cell for report in reports if report.api_processes == processes for cell in _cells(report, customers)
            ]
            predicted = [
                predict(payment, customers, cores=machine, processes=processes, left=machine - cell.others_cores)
                for cell in cells
            ]
            found.append(
                Compared(
                    processes,
                    customers,
                    Prediction(median(one.per_s for one in predicted), median(one.ms for one in predicted)),
                    Prediction(median(cell.per_s for cell in cells), median(cell.p50_ms or 0.0 for cell in cells)),
                )
            )
    return found


def _cells(report: Report, customers: int) -> list[Cell]:
    line = report.line("http", customers)
    return [] if line is None else [cell for cell in line.cells if cell.p50_ms is not None]


def _concurrency(report: Report) -> list[int]:
    return sorted(line.concurrency for line in report.lines if (line.group, line.subject) == (SUBJECTS, "http"))


def page(reports: Sequence[Report]) -> str:
    """The tables, in Markdown. What is planned with is the cost at the middle concurrency."""
    first, middle = reports[0], _concurrency(reports[0])[len(_concurrency(reports[0])) // 2]
    payment = Payment.measured(first, middle)
    others = median(
        cell.others_cores for report in reports for many in _concurrency(report) for cell in _cells(report, many)
    )
    lines = [
        f"Measured {first.at[:10]} on {first.machine['cores']} cores, of which others used {others:.1f} meanwhile;"
        f" {first.psp_ms:.0f} ms for the PSP. CPU-seconds of a payment, {middle} at once:",
        "",
        "| " + " | ".join(payment.cpu_ms) + " | all | commits that write | kB of WAL |",
        "|---|" + "---|" * (len(payment.cpu_ms) + 2),
        "| "
        + " | ".join(f"{ms / 1000:.4f}" for ms in payment.cpu_ms.values())
        + f" | {payment.total_ms / 1000:.4f} | {payment.commits:.1f} | {payment.wal_kb:.1f} |",
        "",
        "| API processes | at once | mean ms: predicted | p50 ms: measured | a second: predicted | measured | off |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.processes} | {one.customers} | {one.predicted.ms:.0f} | {one.measured.ms:.0f}"
        f" | {one.predicted.per_s:.1f} | {one.measured.per_s:.1f} | {one.off:.0%} |"
        for one in compared(reports)
    ]
    names = list(cores(payment, 1))
    lines += ["", "| payments a second | " + " | ".join(f"{name}: cores" for name in names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for per_s in (208, 500, 1_000, 10_000):
        lines.append(f"| {per_s:,} | " + " | ".join(f"{n:,}" for n in cores(payment, per_s).values()) + " |")
    return "\n".join(lines)


def main() -> None:
    reports = [Report.model_validate_json(Path(name).read_text("utf-8")) for name in sys.argv[1:]]
    if not reports:
        sys.exit("bench.scaling: name the JSON files of `python -m bench --json FILE`")
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n{page(reports)}\n{_END}{after}", "utf-8")


if __name__ == "__main__":
    main()
