"""Looking for work again and again: often while there is some, and seldom once there was none for a while."""

import asyncio
from collections.abc import Awaitable, Callable

from db.event.leader import Leader
from workers.relay_metrics import SinkMetrics

BATCH = 500
"""Events that a sink is given at once."""

_BUSY_S = 0.1
_IDLE_S = 0.5
_IDLE_AFTER_S = 5.0
_TOLD_EVERY_S = 5.0


class Polling:
    """The wait between two looks. Bound to one event loop."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._had_some_s = self._clock() - _IDLE_AFTER_S

    def found(self) -> None:
        """There was something to do."""
        self._had_some_s = self._clock()

    @property
    def wait_s(self) -> float:
        return _BUSY_S if self._clock() - self._had_some_s < _IDLE_AFTER_S else _IDLE_S


async def _nothing() -> None:
    """There is no more to tell."""


async def drain(
    leader: Leader,
    metrics: SinkMetrics,
    take: Callable[[], Awaitable[int]],
    tell: Callable[[], Awaitable[None]] = _nothing,
    *,
    rate_per_s: float,
) -> None:
    """Have `take` work on the events that wait for a sink and on those that come, up to `BATCH` at a call; it returns
    how many there were. A backlog, of which each call takes as many as it may, is worked off at `rate_per_s`: without
    a rest between two calls it would take the processors from payments. Tells every few seconds how many are left, as
    does `tell` of anything else. Ends by what they or the leader raise."""
    clock, polling = asyncio.get_running_loop().time, Polling()
    told_s = clock() - _TOLD_EVERY_S
    while True:
        began_s = clock()
        events = await take()
        if events:
            metrics.published(events)
            polling.found()
        if clock() - told_s >= _TOLD_EVERY_S:
            told_s = clock()
            await leader.reached()
            metrics.tell(await leader.backlog())
            await tell()
        rest_s = polling.wait_s if events < BATCH else began_s + BATCH / rate_per_s - clock()
        await asyncio.sleep(max(0.0, rest_s))
