"""The pace of a process: how many payments it works on at once, as long as all of them go on well.

The signal is the time that storing and starting a payment takes. It has no PSP in it, whose time is its own, and it
grows as soon as PostgreSQL, Temporal or this process have more to do than they can; the event loop's delay does not.
"""

from statistics import median

_BEGIN = 4
_SAMPLES = 5
"""Payments whose median is one measurement: a single one may have met a checkpoint or a collection of garbage."""

_ALONE, _SHARED = 4.0, 2.0
"""Times the least that it ever took: so long it may take where one tenant has the process for itself, and where another
one would wait for it."""

_DOWN, _UP = 0.75, 0.1
_LEAST_GROWS = 1.1


class Pace:
    """The limit that adapts itself: one more while there is demand and payments start as fast as they can, a quarter
    less once they do not. `shared` and `wanted` are told by whoever lets requests in: whether there are several
    tenants, and whether somebody waited."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._samples_s: list[float] = []
        self._least_s = 0.0
        self.limit = float(min(_BEGIN, most))
        self.shared = self.wanted = False

    def started(self, took_s: float) -> None:
        """A payment was stored and started within `took_s`."""
        self._samples_s.append(took_s)
        if len(self._samples_s) < _SAMPLES:
            return
        typical_s = median(self._samples_s)
        self._samples_s.clear()
        self._least_s = min(self._least_s or typical_s, typical_s)
        if typical_s > self._least_s * (_SHARED if self.shared else _ALONE):
            if self.limit <= 1:
                self._least_s *= _LEAST_GROWS  # not because of us: this is what it takes now
            self.limit = max(1.0, self.limit * _DOWN)
        elif self.wanted:
            self.limit = min(float(self._most), self.limit + max(1.0, self.limit * _UP))
            self.wanted = False


class Fixed:
    """A limit that does not adapt itself."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.shared = self.wanted = False
