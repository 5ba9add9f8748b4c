"""Months: the large tables that only grow are partitioned by the month that a row's number tells of.

The numbers of a month begin at `YYMM` followed by twelve digits. Its partition is made months ahead; the month begins
when the sequences are moved on to it, a minute or so after midnight (UTC), and until then rows go on into the month
before. So there is always a partition for the next row, whatever the sweeper does.

The sequences of `ledger_transaction` and of the partitioned tables move together, while nobody is between two numbers
of them. The postings of a transaction are therefore of its own month, and `OF_TRANSACTION` finds them in one partition.
`ledger_transaction` itself is one table: its unique key on what is booked is of all months.

What is done here is done by functions of the database (migration 0022), since the application may not change tables."""

from datetime import timedelta

from sqlalchemy import ColumnElement, FromClause, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

SIZE = 1_000_000_000_000
"""Numbers of a month."""

AHEAD = 3
"""Months that have their partitions already."""

OF_TRANSACTION = f"""
    p.transaction_id = t.id AND p.seq >= t.seq - t.seq % {SIZE} AND p.seq < t.seq - t.seq % {SIZE} + {SIZE}
"""
"""Postings `p` of a transaction `t`. For looking up a few: where all are joined, the ids alone are the better plan."""


def of_transaction(posting: FromClause, transaction: FromClause) -> ColumnElement[bool]:
    """The same as `OF_TRANSACTION`."""
    first = transaction.c.seq - transaction.c.seq % SIZE
    return and_(posting.c.transaction_id == transaction.c.id, posting.c.seq >= first, posting.c.seq < first + SIZE)


def span(numbers: list[int]) -> tuple[int, int]:
    """(the first number of the months of all these, the first one after them)."""
    return min(numbers) // SIZE * SIZE, (max(numbers) // SIZE + 1) * SIZE


async def make_one(connection: AsyncConnection) -> str | None:
    """Make the next partition that is missing; None: none is. Raises LockTimeout while somebody uses the table for
    something longer."""
    made: str | None = await connection.scalar(select(func.month_make(func.now(), AHEAD)))
    return made


async def begin(connection: AsyncConnection) -> int | None:
    """Begin this month's numbers; None: they have begun, or a partition is missing. Raises LockTimeout."""
    begun: int | None = await connection.scalar(select(func.month_begin(func.now())))
    return begun


async def drop_oldest_events(connection: AsyncConnection, older_than: timedelta) -> str | None:
    """Drop the outbox's oldest month, if it ended so long ago and no sink waits for an event of it; None: it is kept.
    Raises LockTimeout."""
    dropped: str | None = await connection.scalar(select(func.month_drop_outbox(older_than)))
    return dropped
