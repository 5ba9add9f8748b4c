"""The check that the database is the one that this version of the code needs."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_head: str | None = None


async def is_migrated(connection: AsyncConnection) -> bool:
    """True when the newest migration of this code has run."""
    global _head  # noqa: PLW0603 - read from the migration files once per process
    if _head is None:
        _head = _newest()
    return bool(await connection.scalar(text("SELECT version_num FROM alembic_version")) == _head)


async def connections_max(connection: AsyncConnection) -> int:
    """Connections that the server gives to all who are no superusers."""
    reserved = ("superuser_reserved_connections", "reserved_connections")
    subtracted = "".join(f" - coalesce(current_setting('{name}', true), '0')::int" for name in reserved)
    most: int | None = await connection.scalar(text(f"SELECT current_setting('max_connections')::int{subtracted}"))
    assert most is not None, "PostgreSQL has this setting"
    return most


def _newest() -> str | None:
    """The newest migration that this code has. Alembic is imported for it: no process needs it earlier."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from db.core.migrate import CONFIG_PATH

    return ScriptDirectory.from_config(Config(CONFIG_PATH)).get_current_head()
