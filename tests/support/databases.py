"""Databases of the tests' own, made and dropped by one statement each, since there are hundreds of them."""

import asyncpg

from embedded.postgres import Postgres

TEMPLATE = "paysaga_template"
"""A migrated database that tests copy."""


async def copy_database(postgres: Postgres, name: str, *, template: str = TEMPLATE) -> None:
    """Create a database as a copy of `template`, to which nobody may be connected."""
    await _as_superuser(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log')


async def drop_database(postgres: Postgres, name: str) -> None:
    """Drop a database with its connections."""
    await _as_superuser(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _as_superuser(postgres: Postgres, statement: str) -> None:
    connection = await asyncpg.connect(postgres.url("postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
