"""A database that is empty when a test begins: runs look at the whole account."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.core.database import Database
from embedded.stack import EmbeddedStack
from tests.reconciliation.scenario import Scenario
from tests.support.databases import copy_database

_EMPTY = """
    DO $$
    DECLARE name text;
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOR name IN SELECT tablename FROM pg_tables
                    WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'tenant') LOOP
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
        DELETE FROM tenant WHERE id <> 'platform';
    END
    $$
"""
"""What migrations put into tables stays. Only the superuser can do it: past the triggers by which nothing is ever
deleted."""


@pytest.fixture(scope="session")
async def books(servers: EmbeddedStack) -> AsyncIterator[tuple[Database, "asyncpg.Pool[asyncpg.Record]"]]:
    """One for all: a new one for each takes as long as the test."""
    name = f"reconciliation{secrets.token_hex(3)}"
    await copy_database(servers.postgres, name)
    database = Database(servers.postgres.url(name, "paysaga"), pool_size=4)
    owner = await asyncpg.create_pool(servers.postgres.url(name), min_size=0, max_size=2)
    yield database, owner
    await owner.close()
    await database.close()


@pytest.fixture
async def scenario(books: tuple[Database, "asyncpg.Pool[asyncpg.Record]"]) -> Scenario:
    database, owner = books
    await owner.execute(_EMPTY)
    made = Scenario(database, owner)
    await made.seller()
    return made
