"""The base of everything that is measured: opened once, then asked again and again."""

import secrets
from collections import deque
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from bench.plan import Opening, Plan

CURRENCY = "INR"
AMOUNT = "500.00"
AMOUNT_MINOR = 50_000
TOKEN = "pm_card_visa"  # noqa: S105 - a test card

_WORKFLOWS = 10


class Subject:
    """An async context manager; what is opened lives as long as the block.

    `made` and `workflows` are of the present plan, as LoadResult has them.
    """

    plan: Plan

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self._stack = AsyncExitStack()
        self._sent = 0
        self._run = secrets.token_hex(3)
        self.made = 0
        self.workflows: deque[str] = deque(maxlen=_WORKFLOWS)

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def open(self) -> None:
        """Connect."""

    async def begin(self, plan: Plan) -> None:
        """Turn to a plan."""
        self.plan, self.made = plan, 0
        self.workflows.clear()
        await self.prepare()

    async def prepare(self) -> None:
        """Make what the plan's requests need."""

    async def send(self) -> str:
        """One request; how it ended. A word that starts with `error` is a failure."""
        raise NotImplementedError

    def _next(self) -> str:
        """A name that no other request has."""
        self._sent += 1
        return f"{self.plan.name}-{self._run}-{self._sent}"

    def _seller(self) -> str:
        return self.opening.sellers[self._sent % len(self.opening.sellers)]
