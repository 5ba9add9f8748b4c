"""The sources of dead letters: for each, what a letter was to bring, and how it is tried again.

A new source is a name in `domain.dead_letter.Source`, an entry in `HANDLERS`, and a call of `db.dead_letter.add` in the
transaction that gives something up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db import dead_letter, task, webhook
from db.core.database import Connection
from db.event import window
from db.notification import notification
from db.webhook_endpoint import delivery, endpoint
from domain.dead_letter import DeadLetter, LetterStatus, Source
from domain.errors import Conflict
from domain.message import Sink
from services import workflow
from services.webhook_endpoint import require_enabled

if TYPE_CHECKING:
    from runtime.wiring import Runtime

Payload = Mapping[str, Any]


async def _nothing(*_: object) -> None:
    """There is nothing to do."""


@dataclass(frozen=True)
class Handler:
    """`payload`: what the letter was to bring, without secrets or anything of a person's; None: it is not kept any
    more. `replay`: have it tried again under the same id, in the transaction that ends the letter, for the actor.
    `ended`: what follows from a replay or a discarding, in the same transaction. `afterwards`: what a replay does once
    that is committed; twice is as once."""

    payload: Callable[[Connection, DeadLetter], Awaitable[Payload | None]]
    replay: Callable[[Connection, DeadLetter, str], Awaitable[None]]
    ended: Callable[[Connection, DeadLetter, str], Awaitable[None]] = _nothing
    afterwards: Callable[[Runtime, DeadLetter, str], Awaitable[None]] = _nothing


# --- events that the broker refuses ---


async def _event(connection: Connection, letter: DeadLetter) -> Payload | None:
    return await window.kept(connection, int(letter.ref_id))


async def _publish(connection: Connection, letter: DeadLetter, _: str) -> None:
    if not await window.send_one_again(connection, Sink.BROKER, int(letter.ref_id)):
        raise _gone()


def _gone() -> Conflict:
    return Conflict("The event is older than events are kept.", code="event_gone")


# --- deliveries to shops ---


async def _delivery(connection: Connection, letter: DeadLetter) -> Payload | None:
    row = await delivery.find(connection, letter.ref_id, letter.tenant_id)
    about = {"endpoint_id": row.endpoint_id, "event_id": row.event_id, "type": row.type}
    if row.seq is None:
        return about
    event = await window.kept(connection, row.seq)
    return None if event is None else {**event, **about}


async def _deliver(connection: Connection, letter: DeadLetter, actor: str) -> None:
    row = await delivery.find(connection, letter.ref_id, letter.tenant_id)
    require_enabled(await endpoint.find(connection, row.endpoint_id, letter.tenant_id, lock=True))
    if row.seq is not None and await window.kept(connection, row.seq) is None:
        raise _gone()
    await delivery.resend(connection, row.id, actor)


# --- notifications to people ---


async def _notification(connection: Connection, letter: DeadLetter) -> Payload | None:
    """Without an address, which no row has."""
    row = await notification.find(connection, letter.ref_id, letter.tenant_id)
    return row.model_dump(mode="json", exclude={"tenant_id", "id", "next_attempt_at"}, exclude_none=True)


async def _tell(connection: Connection, letter: DeadLetter, _: str) -> None:
    """Raises Conflict `notification_not_failed`."""
    if not await notification.replay(connection, letter.ref_id):
        raise Conflict("It is being sent, or was.", code="notification_not_failed")


# --- a PSP's events ---


async def _inbox_event(connection: Connection, letter: DeadLetter) -> Payload | None:
    """Without the PSP's own words, which may tell of a buyer."""
    event = await webhook.get(connection, letter.ref_id)
    return event.model_dump(mode="json", exclude={"tenant_id", "status", "note", "attempts"}, exclude_none=True)


async def _take_in_again(connection: Connection, letter: DeadLetter, actor: str) -> None:
    await webhook.revive(connection, letter.ref_id, f"replayed by {actor}")


async def _answer_task(connection: Connection, letter: DeadLetter, actor: str) -> None:
    """The task about these letters, where this was the last one about the object."""
    about = dead_letter.Wanted(source=Source.WEBHOOKS, object_id=letter.object_id)
    if letter.object_id is None or await dead_letter.counts(connection, letter.tenant_id, about):
        return
    event = await webhook.get(connection, letter.ref_id)
    close = task.close_of if event.payment_id is None else task.close_tasks
    await close(connection, letter.object_id, by=actor, resolution=f"{letter.id} was ended", kind=webhook.DEAD_TASK)


# --- workflows ---


async def _workflow(_: Connection, letter: DeadLetter) -> Payload | None:
    """Its input is in Temporal, encrypted, and what it works on is in the rows."""
    return {"workflow_id": letter.ref_id}


async def _start_again(runtime: Runtime, letter: DeadLetter, actor: str) -> None:
    await workflow.take_up(runtime, actor, letter.ref_id)


HANDLERS: Mapping[Source, Handler] = {
    Source.EVENTS: Handler(_event, _publish),
    Source.WEBHOOK_DELIVERIES: Handler(_delivery, _deliver),
    Source.NOTIFICATIONS: Handler(_notification, _tell),
    Source.WEBHOOKS: Handler(_inbox_event, _take_in_again, _answer_task),
    Source.WORKFLOWS: Handler(_workflow, _nothing, afterwards=_start_again),
}


def handler_of(letter: DeadLetter) -> Handler:
    return HANDLERS[letter.source]


def require_open(letter: DeadLetter) -> None:
    """Raises Conflict `dead_letter_closed`, with who ended it and when."""
    if letter.status is not LetterStatus.OPEN:
        raise Conflict(
            f"It was {letter.status} by {letter.actor}.",
            code="dead_letter_closed",
            ended_by=letter.actor,
            ended_at=letter.ended_at.isoformat() if letter.ended_at else None,
        )
