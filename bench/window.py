"""The measured window of a load: sampled when the load process says that it begins, opens and closes."""

import time
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

from bench.costs import CounterReader, Counters, Cpu
from bench.plan import LoadEvent
from embedded.stack import EmbeddedStack


@dataclass(frozen=True)
class _Sample:
    """`done`: requests answered so far; seconds of CPU of the whole machine and of this run's processes."""

    done: int
    counters: Counters
    machine_s: float
    ours_s: float


class Window:
    """Give every line of the load process to `sample`."""

    def __init__(self, stack: EmbeddedStack, reader: CounterReader) -> None:
        self._stack, self._reader = stack, reader
        self._samples: dict[str, _Sample] = {}
        self.cpu_before: Cpu
        """Just before the first request."""

    async def sample(self, event: LoadEvent) -> None:
        """Read the counters at an event that begins, opens or closes the window."""
        if event.mark == "ready":
            self.cpu_before = Cpu.of(self._stack)
        elif event.mark in ("opens", "closes"):
            ours_s = sum(Cpu.of(self._stack).seconds.values()) + time.process_time()
            self._samples[event.mark] = _Sample(event.done, await self._reader.read(), _machine_seconds(), ours_s)

    @property
    def counters(self) -> Counters:
        """PostgreSQL's counts while the window was open."""
        return self._samples["closes"].counters.since(self._samples["opens"].counters)

    @property
    def done(self) -> int:
        """Requests that were answered while the window was open."""
        return self._samples["closes"].done - self._samples["opens"].done

    def busy_cores(self, seconds: float) -> tuple[float, float]:
        """The average of busy cores: (of the whole machine, with this run's own processes, without the one
        that makes the load)."""
        opens, closes = self._samples["opens"], self._samples["closes"]
        return (closes.machine_s - opens.machine_s) / seconds, (closes.ours_s - opens.ours_s) / seconds


def _machine_seconds() -> float:
    """CPU seconds of the whole machine since it was started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + sum(getattr(times, name, 0.0) for name in ("nice", "irq", "softirq")))
