"""Snapshots: much is read as it was at one moment, while others go on writing."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.database import Database

T = TypeVar("T")


async def in_snapshot(database: Database, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do `work` in one transaction that sees nothing of what is committed meanwhile, and writes nothing."""

    async def whole(connection: AsyncConnection) -> T:
        # The first statement of the transaction, or PostgreSQL refuses it.
        await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return await work(connection)

    return await database.run(whole)
