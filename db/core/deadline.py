"""The deadline of a request: work that nobody waits for any more is not begun. What has begun is finished."""

import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from domain.errors import Unavailable


class Deadline:
    """`ends_s`: on the monotonic clock; `gone`: whether the client has closed its connection; `refused` is told of each
    refusal, by its code."""

    def __init__(self, ends_s: float, gone: Callable[[], Awaitable[bool]], refused: Callable[[str], None]) -> None:
        self._ends_s, self._gone, self._refused = ends_s, gone, refused
        self._begun = False

    async def check(self) -> None:
        """Raises Unavailable `deadline_passed`, `client_gone`, unless the work has begun."""
        if self._begun:
            return
        if time.monotonic() >= self._ends_s:
            self._refused("deadline_passed")
            raise Unavailable("It was not begun within the request's time; nothing was stored.", code="deadline_passed")
        if await self._gone():
            self._refused("client_gone")
            raise Unavailable("The client has left; nothing was stored.", code="client_gone")

    async def begin(self) -> None:
        """As `check`; from here on the work goes on whatever happens to the client."""
        await self.check()
        self._begun = True


deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)
"""Of the request that is being served; None: a terminal's command, or a step of a workflow. It accompanies the request
as its client's address does (`db.audit_log`)."""


async def check() -> None:
    """Before work that only reads, or prepares. Raises Unavailable `deadline_passed`, `client_gone`."""
    if (found := deadline.get()) is not None:
        await found.check()


async def begin() -> None:
    """First in the transaction that stores what a request asks for: waiting for a connection may have taken long.
    Raises Unavailable `deadline_passed`, `client_gone`."""
    if (found := deadline.get()) is not None:
        await found.begin()
