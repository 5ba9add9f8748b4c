"""The measured window of a load: sampled when the load process says that it is ready, opens and closes."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.costs import CounterReader, Counters, Processes, machine_seconds, own_seconds
from bench.plan import LoadEvent


@dataclass(frozen=True)
class _Sample:
    """Seconds of CPU of the whole machine and of this run's processes."""

    machine_s: float
    ours_s: float


class Window:
    """Give every line of the load process to `sample`."""

    def __init__(self, processes: Processes, reader: CounterReader) -> None:
        self._processes, self._reader = processes, reader
        self._samples: dict[str, _Sample] = {}
        self.cpu_before: Mapping[str, float] = {}
        """Just before the first request, as is `counters_before`."""
        self.counters_before: Counters

    async def sample(self, event: LoadEvent) -> None:
        """Read the counters at an event that begins, opens or closes the window."""
        if event.mark == "ready":
            self.counters_before = await self._reader.read()
            self.cpu_before = self._processes.cpu_s()
        elif event.mark in ("opens", "closes"):
            ours_s = sum(self._processes.cpu_s().values()) + own_seconds()
            self._samples[event.mark] = _Sample(machine_seconds(), ours_s)

    def busy_cores(self, seconds: float) -> tuple[float, float]:
        """The average of busy cores: of the whole machine, and of what is not of this run."""
        opens, closes = self._samples["opens"], self._samples["closes"]
        busy = (closes.machine_s - opens.machine_s) / seconds
        return busy, max(0.0, busy - (closes.ours_s - opens.ours_s) / seconds)
