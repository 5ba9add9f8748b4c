"""The newest events of a tenant, for whoever watches them."""

# ruff: noqa: S608 - what is put into the statement are constants of the code

from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.messages import outbox
from db.webhook_endpoint.body import BODY

_PAGE = 1_000


class Seen(NamedTuple):
    """An event as a webhook has it."""

    seq: int
    id: str
    type: str
    object_id: str
    body: str


_AFTER = text(f"""
    SELECT o.seq, o.id, o.type, o.object_id, {BODY} AS body FROM outbox o
    WHERE o.tenant_id = :tenant AND o.seq > :after ORDER BY o.seq LIMIT {_PAGE}
""")


async def last(connection: AsyncConnection) -> int:
    """The highest number so far."""
    return await connection.scalar(select(func.max(outbox.c.seq))) or 0


async def after(connection: AsyncConnection, tenant_id: str, number: int) -> list[Seen]:
    """A tenant's events above a number. Numbers commit out of order: a lower one may come later."""
    rows = await connection.execute(_AFTER, {"tenant": tenant_id, "after": number})
    return [Seen(*row) for row in rows]
