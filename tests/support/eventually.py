"""Waiting for a state, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(probe: Callable[[], Awaitable[T | None]], *, timeout_s: float = 20.0, what: str = "") -> T:
    """The first result of `probe` that is true; fails after `timeout_s`. Waiting for a state, not for a time."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = await probe()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or probe}"
        await asyncio.sleep(0.05)
