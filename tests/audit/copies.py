"""A database of a test's own, to be damaged."""

from dataclasses import dataclass

from db.database import Database
from stack.embedded import EmbeddedStack


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
