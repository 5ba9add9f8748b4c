"""The rounds: every lane of a group is measured once in each, forwards and backwards in turn, so that a change of the
machine in the meantime is a change for all of them. A round in which something else used the machine is thrown away."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.options import Group, Lane
from bench.plan import LoadEvent, LoadResult, Plan
from bench.results import Cell
from bench.stage import SERVERS, Stage
from bench.window import Window
from embedded.display import Display

OTHERS_CORES_MAX = 0.25
"""Cores that something else may use during a window, before its round is thrown away."""

LEAD_S = 0.3
_EXTRA_SHARE = 4
"""A quarter as many rounds are measured in the place of those that were thrown away, and no more."""


@dataclass
class Rounds:
    """Measures, and keeps everything: `cells` by kind of group and lane, `sent` for the check of the money, peaks of
    memory."""

    stage: Stage
    display: Display
    cells: dict[tuple[str, Lane], list[Cell]] = field(default_factory=lambda: defaultdict(list))
    sent: list[tuple[Plan, LoadResult, str]] = field(default_factory=list)
    memory_mb: dict[str, float] = field(default_factory=dict)
    thrown_away: int = 0
    _quiet: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _passes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def measure(self, groups: list[Group], rounds: int) -> None:
        """All rounds of all groups, then some more of those that were disturbed."""
        for _ in range(rounds):
            for group in groups:
                await self._pass(group)
        for group in groups:
            extra = rounds // _EXTRA_SHARE
            while self._quiet[group.title] < rounds and extra:
                await self._pass(group)
                extra -= 1

    async def _pass(self, group: Group) -> None:
        number = self._passes[group.title] = self._passes[group.title] + 1
        lanes = group.lanes if number % 2 else tuple(reversed(group.lanes))
        measured = []
        with self.display.step(f"Round {number}, {group.title}") as step:
            for lane in lanes:
                step.detail = f"{lane.subject} {lane.shape}"
                cell = await self.cell(lane, number)
                self.cells[group.kind, lane].append(cell)
                measured.append(cell)
            others = max(cell.others_cores for cell in measured)
            if others > OTHERS_CORES_MAX:
                self.thrown_away += 1
                step.detail = f"thrown away: others used {others:.1f} cores"
                for cell in measured:
                    cell.thrown_away = True
            else:
                self._quiet[group.title] += 1
                step.detail = " · ".join(f"{cell.per_s:.0f}/s" for cell in measured)

    async def cell(self, lane: Lane, number: int) -> Cell:
        """One load, until its last webhook has arrived."""
        options = self.stage.options
        plan = Plan(
            name=f"{lane.subject}-{lane.shape}-{lane.concurrency}-{len(self.sent)}",
            shape=lane.shape,
            concurrency=lane.concurrency,
            seconds=options.seconds,
            lead_s=min(LEAD_S, options.seconds),
        )
        window = Window(self.stage.processes, self.stage.counters)

        async def listen(event: LoadEvent) -> None:
            if event.mark == "ready":  # the webhooks of what was prepared are no part of it
                await self.stage.books.deliver_webhooks()
            await window.sample(event)

        result = await self.stage.hosts[lane.subject].run(plan, listen)
        await self.stage.books.deliver_webhooks()
        counters = (await self.stage.counters.read()).since(window.counters_before)
        cpu_s = self.stage.cpu_since(window.cpu_before)
        self.sent.append((plan, result, lane.subject))
        for group, used in self.stage.processes.memory_mb().items():
            self.memory_mb[group] = max(round(used, 1), self.memory_mb.get(group, 0.0))
        count = max(1, result.sent)
        busy, others = window.busy_cores(plan.seconds)
        return Cell(
            round=number,
            sent=result.sent,
            per_s=round(result.per_s, 2),
            p50_ms=result.timing.p50_ms,
            p95_ms=result.timing.p95_ms,
            errors=result.errors,
            answers=result.answers,
            cpu_ms={group: round(1000 * seconds / count, 3) for group, seconds in _grouped(cpu_s, lane).items()},
            write_commits=round(counters.writes / count, 3),
            wal_kb=round(counters.wal_bytes / count / 1000, 2),
            busy_cores=round(busy, 2),
            others_cores=round(others, 2),
        )


def _grouped(cpu_s: Mapping[str, float], lane: Lane) -> dict[str, float]:
    """The servers, and the lane's own load process: as `process` where the subject runs in it, else as `load`."""
    found = {name: cpu_s[name] for name in SERVERS}
    own = "load" if lane.subject == "http" else "process"
    return {**found, own: cpu_s[lane.subject]}
