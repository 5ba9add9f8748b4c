"""A broker, as the relay sees it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from domain.message import Message


class BrokerAway(Exception):
    """The broker does not answer, or takes nothing at present (its disk is full). That is no attempt at an event: the
    relay waits, and publishes the same events again."""


class CannotRead(Exception):
    """This kind of broker does not keep what was published to it, so nothing can be compared."""


class Broker(Protocol):
    """One connection. It never reconnects by itself: what it had not sent would be published after newer events."""

    async def connect(self) -> None:
        """Connect, and see to the place where events are kept. Raises BrokerAway."""

    async def publish(self, batch: Sequence[Message]) -> Mapping[int, str]:
        """Publish events in this order, and wait until they are stored. Returns those that the broker refuses for
        what they are, by number, and why. Raises BrokerAway: which of them are stored is not known."""

    def stored(self, since: datetime) -> AsyncIterator[str]:
        """The ids of events that were stored since then, one as often as it is there, up to now. Raises BrokerAway,
        CannotRead."""

    async def close(self) -> None:
        """Give the connection up, with all that was not sent; `connect` opens another one. Never raises."""
