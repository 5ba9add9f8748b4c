"""The completion notifier: an activity that committed a change tells whoever waits in the same process for it.

It says only that there is something to read; the database has the truth. A payment that another process works on is
not announced here, so whoever waits also looks by itself now and then.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.under_way import UnderWay


class CompletionNotifier:
    """One per process, shared by its API and its worker; both run in one event loop."""

    def __init__(self, under_way: UnderWay) -> None:
        self._under_way = under_way
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, payment_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at each announcement while the block runs; the watcher clears it."""
        event = asyncio.Event()
        watchers = self._waiting.setdefault(payment_id, set())
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers:
                self._waiting.pop(payment_id, None)

    def announce(self, payment_id: str) -> None:
        if payment_id not in self._waiting:
            self._under_way.end(payment_id)  # its request was answered before
        for event in self._waiting.get(payment_id, ()):
            event.set()
