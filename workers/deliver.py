"""Delivery of webhooks to shops: every worker process takes what is due, and nobody leads.

It is no workflow: its state is rows, and what a killed process had taken is taken by another one half a minute later.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prometheus_client import Counter, Histogram

from db.webhook_endpoint.sending import Claimed
from domain.errors import Unavailable
from gateways.shop.sender import Sender
from runtime.wiring import Runtime
from services import webhook_delivery
from workers.polling import Polling

_AT_ONCE = 64
_AWAY_S = 2.0
_FINISH_S = 5.0

_LOG = logging.getLogger(__name__)
_DELIVERIES = Counter(
    "paysaga_webhook_deliveries_total", "Attempts at webhooks to shops, by their outcome", ["outcome"]
)
_TOOK = Histogram(
    "paysaga_webhook_delivery_seconds",
    "Of an attempt at a webhook to a shop, whatever came of it",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)


@asynccontextmanager
async def delivering(runtime: Runtime) -> AsyncIterator[None]:
    """While the block runs, this process delivers webhooks. At its end what is under way has a few seconds."""
    sender = Sender(loopback=runtime.settings.webhooks_to_loopback)
    courier = _Courier(runtime, sender)
    task = asyncio.create_task(courier.run(), name="webhooks")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await courier.finish()
        await sender.close()


class _Courier:
    def __init__(self, runtime: Runtime, sender: Sender) -> None:
        self._database, self._keyring, self._sender = runtime.database, runtime.keyring, sender
        self._under_way: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()

    async def run(self) -> None:
        """Take what is due as places are free; until cancelled."""
        polling = Polling()
        while True:
            wait_s = polling.wait_s
            self._freed.clear()
            try:
                claimed = await webhook_delivery.claim(self._database, _AT_ONCE - len(self._under_way))
            except Unavailable:
                claimed, wait_s = [], _AWAY_S
            except Exception:  # noqa: BLE001 - whatever it is, webhooks must go out again
                _LOG.exception("webhooks")
                claimed, wait_s = [], _AWAY_S
            for one in claimed:
                polling.found()
                task = asyncio.create_task(self._deliver(one))
                self._under_way.add(task)
                task.add_done_callback(self._ended)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._freed.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._freed.set()

    async def _deliver(self, one: Claimed) -> None:
        try:
            with _TOOK.time():
                outcome = await webhook_delivery.deliver(self._database, self._keyring, self._sender, one)
            _DELIVERIES.labels(outcome.value).inc()
        except Unavailable:
            _LOG.warning("webhook %s: its outcome could not be written, it is sent again", one.id)
        except Exception:  # noqa: BLE001 - one delivery must not end the others
            _LOG.exception("webhook %s", one.id)

    async def finish(self) -> None:
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=_FINISH_S)
            for task in late:
                task.cancel()
