"""The migrations: they make what db.schema says, and can be taken back."""

import pytest
from alembic.util import CommandError

from db.core.health import newest_migration
from db.core.migrate import grant_login, migrate
from embedded.stack import EmbeddedStack


async def test_up_down_and_up_again(servers: EmbeddedStack) -> None:
    await servers.postgres.create_database("migrations")
    url = servers.postgres.url("migrations")
    await migrate(url)
    stored = await servers.postgres.sql("SELECT version_num FROM alembic_version", database="migrations")
    assert stored == newest_migration()
    await migrate(url, action="check")  # raises where the models and the schema differ
    await migrate(url, action="downgrade", revision="base")
    left = await servers.postgres.sql(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'",
        database="migrations",
    )
    assert left.strip().endswith("0")
    await migrate(url)
    with pytest.raises(CommandError):
        await migrate(url, action="downgrade", revision="nonsense")


async def test_the_owner_is_no_login_for_the_application(servers: EmbeddedStack) -> None:
    url = servers.postgres.url("migrations")
    with pytest.raises(ValueError, match="login of its own"):
        await grant_login(url, url)
