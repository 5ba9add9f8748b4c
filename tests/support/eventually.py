"""Waiting for a state, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(probe: Callable[[], Awaitable[T | None]], *, timeout_s: float = 60.0, what: str = "") -> T:
    """The first result of `probe` that is true; fails after `timeout_s`. Waiting for a state, not for a time."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.02
    while True:
        result = await probe()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or probe}"
        await asyncio.sleep(pause_s)
        pause_s = min(1.5 * pause_s, 0.25)  # whoever looks all the time slows down what it waits for
