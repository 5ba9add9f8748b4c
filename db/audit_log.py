"""The audit log: one append-only row per action of a person or of an API key."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.tenant import api_key, audit_log


async def record(
    connection: AsyncConnection, tenant_id: str, actor: str, action: str, object_id: str, detail: dict[str, Any]
) -> None:
    """Write who did what, in the transaction that does it. `actor`: a person's name, or an API key's id, whose name is
    added to the detail as `key`."""
    name = await connection.scalar(select(api_key.c.name).where(api_key.c.id == actor))
    named = detail if name is None else {**detail, "key": name}
    values = {"tenant_id": tenant_id, "actor": actor, "action": action, "object_id": object_id, "detail": named}
    await connection.execute(audit_log.insert().values(values))
