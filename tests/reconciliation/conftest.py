"""A database of its own for each test: runs look at the whole account."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.database import Database
from stack.embedded import EmbeddedStack
from tests.reconciliation.world import World
from tests.support.deployment import TEMPLATE


@pytest.fixture
async def world(servers: EmbeddedStack) -> AsyncIterator[World]:
    name = f"r{secrets.token_hex(5)}"
    await servers.postgres.create_database(name, template=TEMPLATE)
    database = Database(servers.postgres.url(name, "paysaga"), pool_size=0)
    owner = await asyncpg.create_pool(servers.postgres.url(name), min_size=0, max_size=2)
    made = World(database, owner)
    await made.seller()
    yield made
    await owner.close()
    await database.close()
    await servers.postgres.drop_database(name)
