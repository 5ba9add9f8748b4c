"""Idempotency keys at the PSP that are dead (see `domain/unknown.py`): since when."""

from datetime import timedelta

from sqlalchemy import Table, func, update
from sqlalchemy.ext.asyncio import AsyncConnection


async def dead_for(connection: AsyncConnection, table: Table, row_id: str) -> timedelta:
    """The time since when the key of a row of `charge` or `refund` is known to be dead; the first call writes that
    down."""
    since = func.coalesce(table.c.dead_since, func.clock_timestamp())
    found = await connection.execute(
        update(table)
        .where(table.c.id == row_id)
        .values(dead_since=since)
        .returning(func.clock_timestamp() - table.c.dead_since)
    )
    waited: timedelta = found.scalar_one()
    return waited
