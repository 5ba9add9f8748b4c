"""Tenants: the shops that share one Paysaga."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.tenant import tenant


async def exists(connection: AsyncConnection, tenant_id: str) -> bool:
    """Whether there is a tenant of this id."""
    return await connection.scalar(select(tenant.c.id).where(tenant.c.id == tenant_id)) is not None
