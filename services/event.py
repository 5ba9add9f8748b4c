"""Events that are out: whether a broker has them all, sending them again, and the sinks that want them."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from db import audit_log
from db.core.database import Connection, Database
from db.event import sink, window
from db.event.sink import SinkState
from db.event.window import Written
from db.schema.base import PLATFORM_TENANT
from domain.errors import Conflict, NotFound, Unavailable
from domain.message import Sink
from domain.model import Frozen
from gateways.brokers.protocol import Broker, BrokerAway, CannotRead
from services.command import Caller

_TIMEOUT_S = 120.0
_SHOWN_MAX = 100
_CLOCKS = timedelta(minutes=5)
"""By which the broker's clock may be behind, and a step's own time ahead of its storing."""


class Missing(Frozen):
    """An event that the broker does not have."""

    id: str
    type: str
    object_id: str


class Comparison(Frozen):
    """A window of the outbox beside a broker. `events`: of the outbox; `waiting`: still to be published; `missing`:
    neither there nor waiting; `repeated`: copies beyond the first. `examples` of those that are missing."""

    events: int = 0
    waiting: int = 0
    missing: int = 0
    repeated: int = 0
    examples: tuple[Missing, ...] = ()


async def verify(database: Database, broker: Broker, since: datetime, until: datetime) -> Comparison:
    """Compare what happened from `since` and before `until` with what the broker has. Events of the time before there
    was a broker are left out. Raises Unavailable; Conflict `broker_inactive`, `broker_unreadable`."""
    since = max(since, await database.read(_active_since))
    stored = await _stored(broker, since - _CLOCKS)
    seen = waiting = repeated = 0
    missing: list[Written] = []
    after = -1
    while rows := await database.run_long(
        lambda c, a=after: window.page(c, Sink.BROKER, since, until, a),  # type: ignore[misc]
        timeout_s=_TIMEOUT_S,
    ):
        after = rows[-1].seq
        seen += len(rows)
        waiting += sum(row.waiting for row in rows)
        repeated += sum(max(0, stored[row.id] - 1) for row in rows)
        missing += [row for row in rows if not row.waiting and row.id not in stored]
    return Comparison(
        events=seen,
        waiting=waiting,
        missing=len(missing),
        repeated=repeated,
        examples=tuple(Missing(id=row.id, type=row.type, object_id=row.object_id) for row in missing[:_SHOWN_MAX]),
    )


async def _active_since(connection: Connection) -> datetime:
    since = await window.active_since(connection, Sink.BROKER)
    if since is None:
        raise Conflict("No broker was ever connected to this deployment.", code="broker_inactive")
    return since


async def _stored(broker: Broker, since: datetime) -> Counter[str]:
    """Ids that the broker has, and how often."""
    found: Counter[str] = Counter()
    try:
        await broker.connect()
        async for event_id in broker.stored(since):
            found[event_id] += 1
    except BrokerAway as error:
        raise Unavailable(f"The broker does not answer: {error}.") from error
    except CannotRead as error:
        raise Conflict("This broker does not keep what is published to it.", code="broker_unreadable") from error
    finally:
        await broker.close()
    return found


async def replay(database: Database, caller: Caller, since: datetime, until: datetime) -> int:
    """Have the relay publish again what happened from `since` and before `until`, under the same ids. Returns how many
    events that is. Raises Conflict `broker_inactive`."""

    async def note(connection: Connection) -> int:
        await _active_since(connection)
        events = await window.send_again(connection, Sink.BROKER, since, until, caller.actor)
        detail = {"since": since.isoformat(), "until": until.isoformat(), "events": events}
        await audit_log.record(connection, PLATFORM_TENANT, caller.actor, "event.replay", "outbox", detail)
        return events

    return await database.run_long(note, timeout_s=_TIMEOUT_S)


async def sinks(database: Database) -> Sequence[SinkState]:
    """Each with what waits for it."""
    return await database.read(sink.every)


async def disable_sink(database: Database, caller: Caller, name: str) -> int:
    """Give a sink up: nothing is noted for it any more, and what waits is forgotten; the next relay that leads it makes
    it active again. Returns how many events waited. Raises NotFound `sink_not_found`; Conflict `sink_in_use` where a
    relay leads it."""

    async def work(connection: Connection) -> int:
        found = {row.name: row for row in await sink.every(connection)}.get(name)
        if found is None:
            raise NotFound(f"There is no sink {name}.", code="sink_not_found")
        if found.led:
            detail = f"A worker hands events to the {name} now: start the workers without it, and wait for a minute."
            raise Conflict(detail, code="sink_in_use")
        waited = await sink.give_up(connection, name)
        await audit_log.record(
            connection, PLATFORM_TENANT, caller.actor, "event.disable_sink", name, {"events": waited}
        )
        return waited

    return await database.run_long(work, timeout_s=_TIMEOUT_S)
