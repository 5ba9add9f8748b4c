"""The sinks of events: whether each is active, what waits for it, and giving one up."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.messages import event_sink, outbox_todo


class SinkState(NamedTuple):
    """`active_since` None: nothing is noted for it. `led`: a relay has reached it within the last minute. `pending`:
    counted to 10,000; `oldest_at`: when the first of them was written."""

    name: str
    active_since: datetime | None
    reached_at: datetime | None
    led: bool
    pending: int
    oldest_at: datetime | None


_EVERY = text("""
    SELECT s.name, CASE WHEN s.active THEN s.active_since END, s.reached_at,
        coalesce(s.reached_at > now() - interval '1 minute', false),
        (SELECT count(*) FROM (SELECT FROM outbox_todo t WHERE t.sink = s.sink LIMIT 10000) AS first),
        (SELECT o.at FROM outbox o WHERE o.seq = (SELECT min(t.seq) FROM outbox_todo t WHERE t.sink = s.sink))
    FROM event_sink s ORDER BY s.sink
""")


async def every(connection: AsyncConnection) -> Sequence[SinkState]:
    return [SinkState(*row) for row in await connection.execute(_EVERY)]


async def give_up(connection: AsyncConnection, name: str) -> int:
    """Note nothing for it any more, and forget what waits for it: the events stay in the outbox. Returns how many that
    were."""
    gone = update(event_sink).where(event_sink.c.name == name).values(active=False).returning(event_sink.c.sink)
    number = (await connection.execute(gone)).scalar_one()
    return (await connection.execute(delete(outbox_todo).where(outbox_todo.c.sink == number))).rowcount
