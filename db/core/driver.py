"""PostgreSQL's driver without SQLAlchemy: a few connections for the statements that nearly every payment needs."""

from typing import Any

import asyncpg

from db.core.statement import Statement

CONNECTIONS_MAX = 8
"""Of one process: each statement is a few milliseconds."""

LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Raised on a connection that cannot be used any more: the server has gone, or is just telling so."""


class Driver:
    """A pool that opens its connections when they are needed. `settings`: of a session, as of all others."""

    def __init__(self, url: str, *, connect_s: float, timeout_s: float, settings: dict[str, str]) -> None:
        self._url, self._connect_s, self._timeout_s = url, connect_s, timeout_s
        # A plan of its own for each execution costs more than these statements do.
        self._settings = {**settings, "plan_cache_mode": "force_generic_plan"}
        self._pool: asyncpg.Pool | None = None

    async def rows(self, statement: Statement, values: dict[str, Any]) -> list[asyncpg.Record]:
        """The rows of a statement in a transaction of its own. Raises what the driver raises."""
        if self._pool is None:
            self._pool = self._new_pool()
        await self._pool  # opened by the first; it connects to nothing yet
        async with self._pool.acquire(timeout=self._timeout_s) as connection:
            try:
                return await connection.fetch(statement.sql, *statement.arguments(values))
            except LOST:
                connection.terminate()  # nobody else is to get it
                raise

    def _new_pool(self) -> asyncpg.Pool:
        return asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=CONNECTIONS_MAX,
            max_inactive_connection_lifetime=0,
            timeout=self._connect_s,
            command_timeout=self._timeout_s + 1,  # only if the server itself no longer answers
            reset=reset_nothing,
            server_settings=self._settings,
        )

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()


async def reset_nothing(_: Any) -> None:
    """No statement leaves anything behind in its session, so no RESET ALL travels."""
