"""A database that is empty when a test begins: runs look at the whole account."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.core.database import Database
from embedded.stack import EmbeddedStack
from tests.reconciliation.scenario import Scenario
from tests.support.deployment import TEMPLATE

MIGRATED = {"alembic_version": "false", "tenant": "id <> 'platform'"}
"""What migrations put into tables stays."""


@pytest.fixture(scope="session")
async def books(servers: EmbeddedStack) -> AsyncIterator[tuple[Database, "asyncpg.Pool[asyncpg.Record]"]]:
    """One for all: a new one for each takes as long as the test."""
    name = f"reconciliation{secrets.token_hex(3)}"
    await servers.postgres.create_database(name, template=TEMPLATE)
    database = Database(servers.postgres.url(name, "paysaga"), pool_size=4)
    owner = await asyncpg.create_pool(servers.postgres.url(name), min_size=0, max_size=2)
    yield database, owner
    await owner.close()
    await database.close()


@pytest.fixture
async def scenario(books: tuple[Database, "asyncpg.Pool[asyncpg.Record]"]) -> Scenario:
    database, owner = books
    await empty(owner)
    made = Scenario(database, owner)
    await made.seller()
    return made


async def empty(owner: "asyncpg.Pool[asyncpg.Record]") -> None:
    """What only the superuser can do: past the triggers by which nothing is ever deleted."""
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    async with owner.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for (table,) in tables:
            await connection.execute(f'DELETE FROM "{table}" WHERE {MIGRATED.get(table, "true")}')
