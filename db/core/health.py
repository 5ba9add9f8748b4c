"""The check that the database is the one that this version of the code needs."""

from functools import cache
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_MIGRATIONS = Path(__file__).parents[1] / "migrations" / "versions"


async def is_migrated(connection: AsyncConnection) -> bool:
    """True when the newest migration of this code has run."""
    return bool(await connection.scalar(text("SELECT version_num FROM alembic_version")) == newest_migration())


@cache
def newest_migration() -> str:
    """The revision of the newest migration that this code has, by the files' names, which begin with it. Alembic reads
    all of them for it, which takes a process that serves a third of a second of its start."""
    return max(file.name.split("_")[0] for file in _MIGRATIONS.glob("[0-9]*.py"))


async def connections_max(connection: AsyncConnection) -> int:
    """Connections that the server gives to all who are no superusers."""
    reserved = ("superuser_reserved_connections", "reserved_connections")
    subtracted = "".join(f" - coalesce(current_setting('{name}', true), '0')::int" for name in reserved)
    most: int | None = await connection.scalar(text(f"SELECT current_setting('max_connections')::int{subtracted}"))
    assert most is not None, "PostgreSQL has this setting"
    return most
