"""Databases to be damaged: a test's own, or one that is as it was after each test."""

import re
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from db.audit.audit import INVARIANTS, Finding, ask_each
from db.core.database import Database
from embedded.stack import EmbeddedStack


@dataclass(frozen=True)
class Copy:
    """A database of a test's own; `names` are the payments in it, for psql's `:'name'`."""

    stack: EmbeddedStack
    name: str
    names: dict[str, str]
    database: Database

    async def damage(self, statements: str) -> None:
        """As the superuser, with every trigger off: what no application can do."""
        await self.stack.postgres.sql(
            f"SET session_replication_role = replica;\n{statements};", database=self.name, **self.names
        )


@dataclass(frozen=True)
class Spoilt:
    """A copy that many tests share: each damages it in a transaction of its own, which is rolled back."""

    engine: AsyncEngine
    names: dict[str, str]

    async def audit(self, damage: str, code: str) -> list[Finding]:
        """What the invariant finds after the damage, which `Copy.damage` describes."""
        asked = [invariant for invariant in INVARIANTS if invariant.code == code]
        statements = re.sub(r":'(\w+)'", lambda found: f"'{self.names[found[1]]}'", damage)
        async with self.engine.connect() as connection:
            await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            await raw.execute(statements)  # several at once, which a prepared statement cannot be
            checked = await ask_each(connection, asked)
            await connection.rollback()
        return [finding for one in checked for finding in one.findings]
