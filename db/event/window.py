"""The events of a window of time: to compare them with what a broker has, and to send them again."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import literal, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.messages import event_sink, outbox, outbox_todo
from domain.message import Sink

_PAGE = 20_000


class Written(NamedTuple):
    """An event as it was written; `waiting`: it is still to be given to the sink."""

    seq: int
    id: str
    type: str
    object_id: str
    waiting: bool


async def page(connection: AsyncConnection, sink: Sink, since: datetime, until: datetime, after: int) -> list[Written]:
    """Those that happened from `since` and before `until`, with numbers above `after`, by number."""
    waits = select(outbox_todo.c.seq).where(outbox_todo.c.sink == int(sink), outbox_todo.c.seq == outbox.c.seq).exists()
    rows = await connection.execute(
        select(outbox.c.seq, outbox.c.id, outbox.c.type, outbox.c.object_id, waits)
        .where(outbox.c.at >= since, outbox.c.at < until, outbox.c.seq > after)
        .order_by(outbox.c.seq)
        .limit(_PAGE)
    )
    return [Written(*row) for row in rows]


async def send_again(connection: AsyncConnection, sink: Sink, since: datetime, until: datetime) -> int:
    """Note them all for the sink, as if they had just been written. Returns how many were not noted already."""
    events = select(literal(int(sink)), outbox.c.seq).where(outbox.c.at >= since, outbox.c.at < until)
    added = await connection.execute(upsert(outbox_todo).from_select(["sink", "seq"], events).on_conflict_do_nothing())
    return added.rowcount


async def active_since(connection: AsyncConnection, sink: Sink) -> datetime | None:
    """Since when what is written is noted for the sink; None: it is not."""
    query = select(event_sink.c.active_since).where(event_sink.c.sink == int(sink), event_sink.c.active)
    found: datetime | None = await connection.scalar(query)
    return found
