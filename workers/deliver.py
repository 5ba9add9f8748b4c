"""Delivery of webhooks to shops, in every worker process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter, Histogram

from db.webhook_endpoint.sending import Claimed
from gateways.shop.sender import Sender
from runtime.wiring import Runtime
from services import webhook_delivery
from workers.courier import Courier

_AT_ONCE = 64

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
    database, sender = runtime.database, Sender(loopback=runtime.settings.webhooks_to_loopback)

    async def claim(limit: int) -> list[Claimed]:
        return await webhook_delivery.claim(database, limit)

    async def deliver(one: Claimed) -> None:
        with _TOOK.time():
            outcome = await webhook_delivery.deliver(database, runtime.keyring, sender, one)
        _DELIVERIES.labels(outcome.value).inc()

    try:
        async with Courier("webhook", claim, deliver, at_once=_AT_ONCE).running():
            yield
    finally:
        await sender.close()
