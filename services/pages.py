"""A long list, read page by page: no more of it is in memory than what is being written."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

PAGE = 500
"""Rows that are read at once."""


async def pages(
    read: Callable[[int | None, int], Awaitable[Sequence[T]]],
    position: Callable[[T], int],
    *,
    after: int | None = None,
    limit: int | None = None,
) -> AsyncIterator[Sequence[T]]:
    """All rows behind the position `after`, or `limit` of them. `read(after, n)` reads the next n."""
    left = limit
    while left is None or left > 0:
        wanted = PAGE if left is None else min(PAGE, left)
        rows = await read(after, wanted)
        if rows:
            yield rows
        if len(rows) < wanted:
            return
        after = position(rows[-1])
        left = left - len(rows) if left is not None else None
