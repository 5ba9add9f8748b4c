"""The measured window of a load: looked at when the load process says that it begins, opens and closes."""

import time
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

from bench.costs import CounterReader, Counters, Cpu
from bench.plan import Said
from embedded.stack import EmbeddedStack


@dataclass(frozen=True)
class _Look:
    """`done`: requests answered so far; seconds of CPU of the whole machine and of this run's processes."""

    done: int
    counters: Counters
    machine_s: float
    ours_s: float


class Window:
    """Give every line of the load process to `look`."""

    def __init__(self, stack: EmbeddedStack, reader: CounterReader) -> None:
        self._stack, self._reader = stack, reader
        self._looks: dict[str, _Look] = {}
        self.cpu_before: Cpu
        """Just before the first request."""

    async def look(self, said: Said) -> None:
        if said.mark == "ready":
            self.cpu_before = Cpu.of(self._stack)
        elif said.mark in ("opens", "closes"):
            ours_s = sum(Cpu.of(self._stack).seconds.values()) + time.process_time()
            self._looks[said.mark] = _Look(said.done, await self._reader.read(), _machine_seconds(), ours_s)

    @property
    def counters(self) -> Counters:
        """What PostgreSQL counted while the window was open."""
        return self._looks["closes"].counters.since(self._looks["opens"].counters)

    @property
    def done(self) -> int:
        """Requests that were answered while the window was open."""
        return self._looks["closes"].done - self._looks["opens"].done

    def busy_cores(self, seconds: float) -> tuple[float, float]:
        """How many cores were busy on average: (of the whole machine, with this run's own processes, without the one
        that makes the load)."""
        opens, closes = self._looks["opens"], self._looks["closes"]
        return (closes.machine_s - opens.machine_s) / seconds, (closes.ours_s - opens.ours_s) / seconds


def _machine_seconds() -> float:
    """CPU seconds of the whole machine since it was started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + sum(getattr(times, name, 0.0) for name in ("nice", "irq", "softirq")))
