"""The statements, commits and history events of one request, counted over a few while nothing else goes on."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from bench.costs import CounterReader, read_histories
from bench.options import Lane
from bench.plan import LoadEvent, Plan, SubjectName
from bench.results import Counted
from bench.rounds import Rounds
from bench.statements import Statements, logged_statements

_AT_ONCE = 2
_SECONDS_MAX = 30.0
_REST_S = 1.0

_DATABASES: dict[SubjectName, tuple[str, ...]] = {
    "noop": (),
    "saga": ("bench",),
    "dbos": ("bench", "bench_dbos"),
    "asyncpg": ("bench",),
    "process": ("paysaga",),
    "http": ("paysaga",),
    "wait": (),
}


async def count(rounds: Rounds) -> list[Counted]:
    """Each subject, and each kind of request through HTTP."""
    stage, options = rounds.stage, rounds.stage.options
    lanes = [Lane(subject, "one", _AT_ONCE) for subject in options.subjects]
    if "http" in options.subjects:
        lanes += [Lane("http", shape, _AT_ONCE) for shape in options.shapes if shape != "one"]
    with rounds.display.step("Statements and histories counted") as step:
        async with logged_statements(stage.stack.postgres, stage.stack.home.log("postgres")) as statements:
            tally = _Tally(stage.counters, statements)
            await stage.books.deliver_webhooks()
            await tally.rest()
            found = []
            for lane in lanes:
                step.detail = f"{lane.subject} {lane.shape}"
                found.append(await _count_one(rounds, lane, tally))
    return found


class _Tally:
    """Statements and commits between `begin` and `end`, less those that there are while nothing is asked."""

    def __init__(self, counters: CounterReader, statements: Callable[[], Statements]) -> None:
        self._counters, self._statements = counters, statements
        self._idle = Statements(Counter(), Counter())
        self._idle_writes, self._idle_s = 0, 1.0

    async def rest(self) -> None:
        """Find out what the servers do by themselves: in the quieter of two periods, since in the first they may still
        be at what was asked of them before."""
        periods = []
        for _ in range(2):
            await self.begin()
            await asyncio.sleep(_REST_S)
            periods.append(await self._since())
        self._idle, self._idle_writes, self._idle_s = min(periods, key=lambda period: period[0].sent.total())

    async def begin(self) -> None:
        self._statements()
        self._began_s, self._writes = time.monotonic(), (await self._counters.read()).writes

    async def end(self, databases: tuple[str, ...]) -> tuple[float, float, float]:
        """Statements and transactions in these databases, and transactions that wrote."""
        found, writes, took_s = await self._since()
        share = took_s / self._idle_s
        sent = sum(found.sent[name] - self._idle.sent[name] * share for name in databases)
        commits = sum(found.commits[name] - self._idle.commits[name] * share for name in databases)
        return max(0.0, sent), max(0.0, commits), max(0.0, writes - self._idle_writes * share)

    async def _since(self) -> tuple[Statements, int, float]:
        writes = (await self._counters.read()).writes - self._writes
        return self._statements(), writes, time.monotonic() - self._began_s


async def _count_one(rounds: Rounds, lane: Lane, tally: _Tally) -> Counted:
    stage = rounds.stage
    plan = Plan(
        name=f"counted-{lane.subject}-{lane.shape}",
        shape=lane.shape,
        concurrency=lane.concurrency,
        seconds=_SECONDS_MAX,
        lead_s=0.0,
        count_max=stage.options.counted,
    )

    async def listen(event: LoadEvent) -> None:
        if event.mark == "ready":  # what was prepared, with its webhooks, is not counted
            await stage.books.deliver_webhooks()
            await tally.begin()

    result = await stage.hosts[lane.subject].run(plan, listen)
    await stage.books.deliver_webhooks()
    sent, commits, writes = await tally.end(_DATABASES[lane.subject])
    rounds.sent.append((plan, result, lane.subject))
    histories = await read_histories(stage.temporal, result.workflows)
    requests = max(1, result.sent)
    return Counted(
        subject=lane.subject,
        shape=lane.shape,
        payments=result.sent,
        round_trips=round(sent / requests, 1),
        commits=round(commits / requests, 1),
        write_commits=round(writes / requests, 1),
        events=histories.events if histories else None,
        events_max=histories.events_max if histories else None,
        actions=histories.actions if histories else None,
        actions_max=histories.actions_max if histories else None,
    )
