"""Heartbeats of an activity that waits for somebody else's server."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeVar

from temporalio import activity

A = TypeVar("A")
S = TypeVar("S")
R = TypeVar("R")

EVERY_S = 3.0


def heartbeating(method: Callable[[A, S], Awaitable[R]]) -> Callable[[A, S], Awaitable[R]]:
    """Beats while the activity runs, so that another worker soon takes over from a dead one. Local ones need none."""

    @wraps(method)
    async def beat_around(self: A, step: S) -> R:
        if activity.info().is_local:
            return await method(self, step)
        beating = asyncio.create_task(_beat())
        try:
            return await method(self, step)
        finally:
            beating.cancel()

    return beat_around


async def _beat() -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        activity.heartbeat()
