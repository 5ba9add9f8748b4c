"""Waiting for an outcome: told by this process's own worker, found by looking where another process works on it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_FIRST_S = 0.25
_LOOK_MAX_S = 2.0


async def wait_until(
    read: Callable[[], Awaitable[T]], done: Callable[[T], bool], *, changed: asyncio.Event, wait_s: float
) -> T:
    """The row as `read` finds it once it is `done`, or when `wait_s` is over.

    `changed` is the notifier's (`CompletionNotifier.watch`); it is cleared here. Without an announcement the row is
    read after 0.25 s, and then ever more rarely, at most 2 s apart.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    gap = _LOOK_FIRST_S
    while True:
        left = deadline - loop.time()
        if left > 0 and not changed.is_set():
            try:
                async with asyncio.timeout(min(gap, left)):
                    await changed.wait()
            except TimeoutError:
                gap = min(gap * 2, _LOOK_MAX_S)
        changed.clear()
        row = await read()
        if done(row) or loop.time() >= deadline:
            return row
