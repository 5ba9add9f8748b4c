"""The check that the database is the one that this version of the code needs."""

from functools import cache
from pathlib import Path

import asyncpg

from db.core.database import Database
from db.core.statement import Statement

_MIGRATIONS = Path(__file__).parents[1] / "migrations" / "versions"


_VERSION = Statement("SELECT version_num FROM alembic_version")

_CONNECTIONS = Statement(
    """
    SELECT current_setting('max_connections')::int
         - coalesce(current_setting('superuser_reserved_connections', true), '0')::int
         - coalesce(current_setting('reserved_connections', true), '0')::int AS most
    """
)


async def is_migrated(database: Database) -> bool:
    """True when the newest migration of this code has run; False also of a database in which none has."""
    try:
        found = await database.one(_VERSION)
    except asyncpg.UndefinedTableError:
        return False
    return found is not None and found["version_num"] == newest_migration()


@cache
def newest_migration() -> str:
    """The revision of the newest migration that this code has, by the files' names, which begin with it. Alembic reads
    all of them for it, which takes a process that serves 0.09 s and 7 MB."""
    return max(file.name.split("_")[0] for file in _MIGRATIONS.glob("[0-9]*.py"))


async def connections_max(database: Database) -> int:
    """Connections that the server gives to all who are no superusers."""
    found = await database.one(_CONNECTIONS)
    assert found is not None, "PostgreSQL has these settings"
    most: int = found["most"]
    return most
