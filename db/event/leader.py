"""The leader of a sink: the one process that takes what is to be done for it, in the order in which it was written.

Several readers that share the work break the order of an object's events. So one leads, for as long as a connection of
its own holds an advisory lock; that connection also takes and deletes, so that whoever has lost it can do neither. It
goes past a pooler: a lock belongs to a session.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

import asyncpg

from db.core.driver import LOST
from db.dead_letter import ADD, ADDED_UP, AGAIN
from db.event.envelope import MESSAGE
from domain.dead_letter import Source
from domain.errors import Unavailable
from domain.ids import new_id
from domain.message import Message, Sink

_COUNTED_MAX = 10_000
_TIMEOUT_S = 30.0
_SETTINGS = {
    "timezone": "UTC",
    "statement_timeout": "20s",
    # A leader whose machine has gone is given up within half a minute, and another one takes over.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

_HAS_WORK = "SELECT EXISTS (SELECT FROM outbox_todo WHERE sink = $1)"
_CLAIM = f"""
    SELECT {MESSAGE} FROM (SELECT seq FROM outbox_todo WHERE sink = $1 ORDER BY seq LIMIT $2) AS t
    JOIN outbox o ON o.seq = t.seq ORDER BY t.seq
"""  # noqa: S608 - constants of the code
_DONE = "DELETE FROM outbox_todo WHERE sink = $1 AND seq = ANY($2::bigint[])"
_DEAD = f"""
    WITH given_up AS (DELETE FROM outbox_todo WHERE sink = $1 AND seq = $2 RETURNING seq)
    {ADD}
    SELECT $3, o.tenant_id, '{Source.EVENTS}', o.seq::text, o.object_id, $4, $5, $6
    FROM given_up JOIN outbox o USING (seq)
    {AGAIN} {ADDED_UP}
"""  # noqa: S608 - constants of the code
_ACTIVATE = "UPDATE event_sink SET active = true, active_since = clock_timestamp() WHERE sink = $1 AND NOT active"
_BACKLOG = """
    SELECT (SELECT count(*) FROM (SELECT FROM outbox_todo WHERE sink = $1 LIMIT $2) AS first) AS pending,
           coalesce(extract(epoch FROM clock_timestamp() - (
               SELECT o.at FROM outbox o WHERE o.seq = (SELECT min(seq) FROM outbox_todo WHERE sink = $1)
           )), 0)::float AS oldest_s
"""


class Backlog(NamedTuple):
    """The events that wait for a sink: their number (counted to 10,000), and the age of the oldest in seconds."""

    pending: int
    oldest_s: float


class Leader:
    """A connection that leads a sink, or waits to. Every method raises Unavailable when it is lost, and with it the
    leadership."""

    def __init__(self, connection: asyncpg.Connection, sink: Sink) -> None:
        self._connection, self.sink = connection, sink

    @classmethod
    async def connect(cls, url: str, sink: Sink) -> Self:
        """Not leading yet. Raises Unavailable."""
        settings = {**_SETTINGS, "application_name": f"paysaga-relay-{sink.label}"}
        with _lost_is_unavailable():
            connection = await asyncpg.connect(url, timeout=5, command_timeout=_TIMEOUT_S, server_settings=settings)
        return cls(connection, sink)

    async def leads(self) -> bool:
        """Take the lead, if nobody else has it. Asked again and again: a session that waits for the lock would keep
        old rows from being cleared away for as long."""
        with _lost_is_unavailable():
            query = "SELECT pg_try_advisory_lock(hashtext('paysaga.relay'), $1::integer)"
            leads: bool = await self._connection.fetchval(query, int(self.sink))
        return leads

    async def activate(self) -> None:
        """From now on, what is written is noted for this sink."""
        await self._run(_ACTIVATE, self.sink)

    async def has_work(self) -> bool:
        """Whether an event waits for the sink: asked twice a second and more, where taking any is a large statement."""
        with _lost_is_unavailable():
            waits: bool = await self._connection.fetchval(_HAS_WORK, int(self.sink))
        return waits

    async def claim(self, limit: int) -> list[Message]:
        """The first events that are to be given to the sink, in order. Nothing is locked: nobody else reads them."""
        with _lost_is_unavailable():
            rows = await self._connection.fetch(_CLAIM, int(self.sink), limit)
        return [Message(*row) for row in rows]

    async def done(self, numbers: Sequence[int]) -> None:
        """The sink has these."""
        await self._run(_DONE, self.sink, numbers)

    async def give_up(self, number: int, error_class: str, error: str, attempts: int) -> None:
        """The sink does not take this one: a person decides. Those behind it go on, each carries the whole state."""
        await self._run(_DEAD, self.sink, number, new_id("dl"), error_class, error, attempts)

    async def reached(self) -> None:
        """The sink is there: what waits for it now waits for no reason, as the audit finds."""
        await self._run("UPDATE event_sink SET reached_at = now() WHERE sink = $1", self.sink)

    async def backlog(self) -> Backlog:
        """Also shows that the leadership holds."""
        with _lost_is_unavailable():
            row = await self._connection.fetchrow(_BACKLOG, int(self.sink), _COUNTED_MAX)
        assert row is not None, "it has no condition"
        return Backlog(row["pending"], row["oldest_s"])

    async def dead_letters(self) -> dict[Source, int]:
        """The number of open ones, by source; also shows that the leadership holds."""
        query = "SELECT source, count(*) FROM dead_letter WHERE status = 'OPEN' GROUP BY source"
        with _lost_is_unavailable():
            rows = await self._connection.fetch(query)
        return dict.fromkeys(Source, 0) | {Source(name): number for name, number in rows}

    async def row(self, statement: str, *values: object) -> asyncpg.Record:
        """The one row of a statement of another kind of sink, on the connection that leads."""
        with _lost_is_unavailable():
            found = await self._connection.fetchrow(statement, *values)
        assert found is not None, "it says how much it did"
        return found

    async def _run(self, statement: str, sink: Sink, *values: object) -> None:
        with _lost_is_unavailable():
            await self._connection.execute(statement, int(sink), *values)

    def close(self) -> None:
        """At once: the server gives the lock back."""
        self._connection.terminate()


@contextmanager
def _lost_is_unavailable() -> Iterator[None]:
    try:
        yield
    except (asyncpg.PostgresError, *LOST, OSError, TimeoutError) as error:
        raise Unavailable(f"The relay's connection to the database is lost: {type(error).__name__}.") from error
