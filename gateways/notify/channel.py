"""A channel to people, as the sender of notifications sees it."""

from datetime import datetime
from typing import Protocol

from domain.notification import Answer, Outgoing


class Channel(Protocol):
    """Takes one message at a time, several at once. Never raises for what the other side does."""

    async def send(self, message: Outgoing, begun_before: datetime | None) -> Answer:
        """Send a message, and say what became of it. `begun_before`: an earlier attempt began then that may have sent
        it. A channel that would show a person two messages only looks for it and sends nothing."""

    async def close(self) -> None:
        """Give up what is open."""
