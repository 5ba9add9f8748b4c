"""Dead letters: work that was tried until there was no try left, and that waits for a person."""

from datetime import datetime
from enum import StrEnum

from domain.model import Frozen


class Source(StrEnum):
    """The part of Paysaga that gave something up; `ref_id` of its letters is named here."""

    EVENTS = "events"
    """The broker refuses an event: its number in the outbox."""
    WEBHOOK_DELIVERIES = "webhook_deliveries"
    """A shop's endpoint has failed at every attempt: the delivery."""
    NOTIFICATIONS = "notifications"
    """A person was not told, or nobody knows: the notification."""
    WEBHOOKS = "webhooks"
    """Nobody could use a PSP's event: its row in the inbox."""
    WORKFLOWS = "workflows"
    """A workflow gets nowhere, or has ended badly again and again: its id in Temporal."""


class LetterStatus(StrEnum):
    OPEN = "OPEN"
    REPLAYED = "REPLAYED"
    """It was tried again, or went on by itself. A new failure is a new letter."""
    DISCARDED = "DISCARDED"


class DeadLetter(Frozen):
    """`ref_id`: what its source calls it; `object_id`: what it is about. `attempts`: how often it was tried.
    `ended_at`, `actor`, `reason`: when, by whom and why it was replayed or discarded."""

    id: str
    tenant_id: str
    source: Source
    ref_id: str
    object_id: str | None
    error_class: str
    error: str
    attempts: int
    first_at: datetime
    last_at: datetime
    status: LetterStatus
    ended_at: datetime | None
    actor: str | None
    reason: str | None


class Count(Frozen):
    """Letters of one source and error class that are open."""

    source: Source
    error_class: str
    open: int
    oldest_at: datetime
