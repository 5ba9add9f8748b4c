"""Tenants: the shops that share one Paysaga."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.base import PLATFORM_TENANT
from db.schema.tenant import tenant

Sites = Literal["return_origins", "page_origins"]
"""A list of sites that a tenant has, by its column."""


@dataclass(frozen=True)
class Tenant:
    """A shop. Scheme, host and port, of `return_origins`: the sites that its buyers may be sent back to;
    `page_origins`: those whose pages may call with a client token."""

    id: str
    return_origins: Sequence[str]
    page_origins: Sequence[str]
    created_at: datetime


async def exists(connection: AsyncConnection, tenant_id: str) -> bool:
    """Whether there is a tenant of this id."""
    return await connection.scalar(select(tenant.c.id).where(tenant.c.id == tenant_id)) is not None


async def every(connection: AsyncConnection) -> list[Tenant]:
    """All shops, by id."""
    columns = (tenant.c[name] for name in Tenant.__dataclass_fields__)
    rows = await connection.execute(select(*columns).where(tenant.c.id != PLATFORM_TENANT).order_by(tenant.c.id))
    return [Tenant(**row) for row in rows.mappings()]


async def origins(
    connection: AsyncConnection, tenant_id: str, sites: Sites, *, lock: bool = False
) -> Sequence[str] | None:
    """One of a tenant's lists, under the row's lock if asked for; None: no such tenant."""
    query = select(tenant.c[sites]).where(tenant.c.id == tenant_id)
    found: Sequence[str] | None = await connection.scalar(query.with_for_update() if lock else query)
    return found


async def set_origins(connection: AsyncConnection, tenant_id: str, sites: Sites, origins: Sequence[str]) -> None:
    """Replace one of a tenant's lists."""
    await connection.execute(update(tenant).where(tenant.c.id == tenant_id).values({sites: list(origins)}))


async def by_page_origin(connection: AsyncConnection) -> Mapping[str, frozenset[str]]:
    """Origin → the tenants whose pages it may serve."""
    found: dict[str, set[str]] = defaultdict(set)
    rows = await connection.execute(select(tenant.c.id, tenant.c.page_origins).where(tenant.c.page_origins != []))
    for row in rows:
        for origin in row.page_origins:
            found[origin].add(row.id)
    return {origin: frozenset(tenants) for origin, tenants in found.items()}
