"""An event on its way out, the sinks that events go to, and what became of it there."""

from enum import IntEnum
from typing import NamedTuple


class Sink(IntEnum):
    """A place that is given every event, in order per object and at least once. The numbers are in the database."""

    BROKER = 1
    FANOUT = 2
    """Webhooks and notifications, which follow an event here."""

    @property
    def label(self) -> str:
        """Its name in the database, in metrics and at the terminal."""
        return self.name.lower()


class Message(NamedTuple):
    """An event of the outbox; `body` is its CloudEvent, as structured JSON."""

    seq: int
    id: str
    tenant_id: str
    type: str
    object_id: str
    body: str
