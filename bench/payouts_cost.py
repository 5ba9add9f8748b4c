"""The cost of a payout run by process, the time before a worker was killed included."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.costs import CounterReader, Counters, Processes, machine_seconds, own_seconds
from embedded.stack import EmbeddedStack

SERVERS = ("api", "worker", "temporal", "postgres", "sandbox")


@dataclass(frozen=True)
class Spent:
    """Of one payout. `cpu_ms`: by process. `others_s`: CPU seconds, in all, of what is not of this run."""

    cpu_ms: Mapping[str, float]
    write_commits: float
    wal_kb: float
    others_s: float

    def in_words(self) -> str:
        """A line about it; the PSP's part is nobody's to save."""
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in self.cpu_ms.items())
        ours = sum(ms for name, ms in self.cpu_ms.items() if name != "sandbox")
        return (
            f"CPU by payout: {ours:.1f} ms without the PSP ({parts}); {self.write_commits:.1f} write commits,"
            f" {self.wal_kb:.1f} kB of WAL; other work took {self.others_s:.0f} s of CPU meanwhile"
        )


class Meter:
    """Counts from `begin` to `end`; `note` before a process is killed keeps what it has spent."""

    def __init__(self, stack: EmbeddedStack, counters: CounterReader) -> None:
        self._stack, self._counters = stack, counters
        self._spent = dict.fromkeys(SERVERS, 0.0)
        self._last: dict[str, tuple[int, float]] = {}
        self._own_s = self._machine_s = 0.0
        self._before: Counters

    async def begin(self) -> None:
        self._before = await self._counters.read()
        self._own_s, self._machine_s = own_seconds(), machine_seconds()
        self.note()
        self._spent = dict.fromkeys(SERVERS, 0.0)

    def note(self) -> None:
        """Add what each process has spent since the last time; one that was started anew, since its start."""
        pids = {name: self._stack.pid_of(name) for name in SERVERS}
        for name, seconds in Processes(pids).cpu_s().items():
            pid, before = self._last.get(name, (0, 0.0))
            self._spent[name] += seconds - (before if pid == pids[name] else 0.0)
            self._last[name] = (pids[name], seconds)

    async def end(self, payouts: int) -> Spent:
        self.note()
        counted = (await self._counters.read()).since(self._before)
        others_s = machine_seconds() - self._machine_s - (own_seconds() - self._own_s) - sum(self._spent.values())
        return Spent(
            cpu_ms={name: round(1000 * seconds / payouts, 2) for name, seconds in self._spent.items()},
            write_commits=round(counted.writes / payouts, 2),
            wal_kb=round(counted.wal_bytes / payouts / 1000, 1),
            others_s=round(max(0.0, others_s), 1),
        )
