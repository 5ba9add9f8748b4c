"""A courier: takes what is due as places are free, and works on each of it by itself; in every worker process, and
nobody leads.

It is no workflow: its state is rows, and what a killed process had taken is taken by another one when the claim ends.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Generic, Protocol, TypeVar

from domain.errors import Unavailable
from workers.polling import Polling

_AWAY_S = 2.0
_FINISH_S = 5.0

_LOG = logging.getLogger(__name__)


class Claimed(Protocol):
    """Something that this process has for a while."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Claimed)


class Courier(Generic[T]):
    """`name`: of what it works on, in the log. `claim` takes up to so many; `send` works on one and writes what became
    of it. What either raises ends nothing else: the claim ends by itself, and it is taken again."""

    def __init__(
        self,
        name: str,
        claim: Callable[[int], Awaitable[Sequence[T]]],
        send: Callable[[T], Awaitable[None]],
        *,
        at_once: int,
    ) -> None:
        self._name, self._claim, self._send, self._at_once = name, claim, send, at_once
        self._under_way: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()

    async def _run(self) -> None:
        polling = Polling()
        while True:
            wait_s = polling.wait_s
            self._freed.clear()
            claimed: Sequence[T] = ()
            try:
                claimed = await self._claim(self._at_once - len(self._under_way))
            except Unavailable:
                wait_s = _AWAY_S
            except Exception:  # noqa: BLE001 - whatever it is, it must go on
                _LOG.exception("%s", self._name)
                wait_s = _AWAY_S
            for one in claimed:
                polling.found()
                task = asyncio.create_task(self._work(one))
                self._under_way.add(task)
                task.add_done_callback(self._ended)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._freed.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._freed.set()

    async def _work(self, one: T) -> None:
        try:
            await self._send(one)
        except Unavailable:
            _LOG.warning("%s %s: its outcome could not be written, it is taken again", self._name, one.id)
        except Exception:  # noqa: BLE001 - one must not end the others
            _LOG.exception("%s %s", self._name, one.id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block runs, it works. At its end what is under way has a few seconds."""
        task = asyncio.create_task(self._run(), name=self._name)
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if self._under_way:
                _, late = await asyncio.wait(self._under_way, timeout=_FINISH_S)
                for one in late:
                    one.cancel()
