"""The events of a window of time: to compare them with what a broker has, and to send them again."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Text, case, cast, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import dead_letter
from db.schema.messages import event_sink, outbox, outbox_todo
from domain.dead_letter import LetterStatus, Source
from domain.message import Sink

_PAGE = 20_000
_SHOWN_BYTES_MAX = 64 * 1024


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


async def send_again(connection: AsyncConnection, sink: Sink, since: datetime, until: datetime, actor: str) -> int:
    """Note them all for the sink, as if they had just been written; those that it had refused are no dead letters any
    more. Returns how many were not noted already."""
    within = (outbox.c.at >= since, outbox.c.at < until)
    numbers = select(cast(outbox.c.seq, Text)).where(*within)
    await dead_letter.end(connection, Source.EVENTS, numbers, LetterStatus.REPLAYED, actor)
    events = select(literal(int(sink)), outbox.c.seq).where(*within)
    added = await connection.execute(upsert(outbox_todo).from_select(["sink", "seq"], events).on_conflict_do_nothing())
    return added.rowcount


async def send_one_again(connection: AsyncConnection, sink: Sink, number: int) -> bool:
    """Note one event for the sink. False: it is not kept any more."""
    event = select(literal(int(sink)), outbox.c.seq).where(outbox.c.seq == number)
    await connection.execute(upsert(outbox_todo).from_select(["sink", "seq"], event).on_conflict_do_nothing())
    return await connection.scalar(select(outbox.c.seq).where(outbox.c.seq == number)) is not None


async def kept(connection: AsyncConnection, number: int) -> dict[str, Any] | None:
    """An event for people to look at; one that is very large without its data. None: it is not kept any more."""
    size = func.octet_length(cast(outbox.c.payload, Text))
    query = select(
        outbox.c.id.label("event_id"),
        outbox.c.type,
        outbox.c.object_id,
        outbox.c.at.label("occurred_at"),
        size.label("bytes"),
        case((size <= _SHOWN_BYTES_MAX, outbox.c.payload)).label("data"),
    ).where(outbox.c.seq == number)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else {**row, "occurred_at": row["occurred_at"].isoformat()}


async def activate(connection: AsyncConnection, sink: Sink) -> None:
    """From now on, what is written is noted for the sink."""
    inactive = (event_sink.c.sink == int(sink), ~event_sink.c.active)
    await connection.execute(update(event_sink).where(*inactive).values(active=True, active_since=func.now()))


async def active_since(connection: AsyncConnection, sink: Sink) -> datetime | None:
    """Since when what is written is noted for the sink; None: it is not."""
    query = select(event_sink.c.active_since).where(event_sink.c.sink == int(sink), event_sink.c.active)
    found: datetime | None = await connection.scalar(query)
    return found
