"""Tenants: the shops that share one Paysaga."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.base import PLATFORM_TENANT
from db.schema.tenant import tenant


@dataclass(frozen=True)
class Tenant:
    """A shop. `return_origins`: scheme, host and port of the sites that its buyers may be sent back to."""

    id: str
    return_origins: Sequence[str]
    created_at: datetime


async def exists(connection: AsyncConnection, tenant_id: str) -> bool:
    """Whether there is a tenant of this id."""
    return await connection.scalar(select(tenant.c.id).where(tenant.c.id == tenant_id)) is not None


async def every(connection: AsyncConnection) -> list[Tenant]:
    """All shops, by id."""
    columns = (tenant.c[name] for name in Tenant.__dataclass_fields__)
    rows = await connection.execute(select(*columns).where(tenant.c.id != PLATFORM_TENANT).order_by(tenant.c.id))
    return [Tenant(**row) for row in rows.mappings()]


async def return_origins(connection: AsyncConnection, tenant_id: str, *, lock: bool = False) -> Sequence[str] | None:
    """The sites that a tenant's buyers may be sent back to, under the row's lock if asked for; None: no such tenant."""
    query = select(tenant.c.return_origins).where(tenant.c.id == tenant_id)
    found: Sequence[str] | None = await connection.scalar(query.with_for_update() if lock else query)
    return found


async def set_return_origins(connection: AsyncConnection, tenant_id: str, origins: Sequence[str]) -> None:
    """Replace them."""
    await connection.execute(update(tenant).where(tenant.c.id == tenant_id).values(return_origins=list(origins)))
