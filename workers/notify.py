"""Notifications to people, sent by every worker process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import Counter

from db.notification.sending import Claimed
from domain.notification import ChannelName, NotificationStatus
from gateways.notify.channel import Channel
from runtime.wiring import Runtime
from services import notification_sending as sending
from services.notify.words import Words
from workers.courier import Courier

_AT_ONCE = 16

_NOTIFICATIONS = Counter(
    "paysaga_notifications_total", "Attempts at notifications to people, by their outcome", ["channel", "outcome"]
)
_OUTCOMES = {NotificationStatus.PENDING: "retried", None: "lapsed"}


@asynccontextmanager
async def notifying(runtime: Runtime, channels: dict[ChannelName, Channel]) -> AsyncIterator[None]:
    """While the block runs, this process sends notifications over these channels. At its end what is under way has a
    few seconds, and they are closed."""
    database, words = runtime.database, Words(runtime.settings.templates)

    async def claim(limit: int) -> list[Claimed]:
        return await sending.claim(database, channels, limit)

    async def send(one: Claimed) -> None:
        status = await sending.send(database, runtime.keyring, words, channels, one)
        outcome = _OUTCOMES.get(status) or str(status).lower()
        _NOTIFICATIONS.labels(one.channel.value, outcome).inc()

    async with AsyncExitStack() as stack:
        for channel in set(channels.values()):
            stack.push_async_callback(channel.close)
        if channels:
            await stack.enter_async_context(Courier("notification", claim, send, at_once=_AT_ONCE).running())
        yield
