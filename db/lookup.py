"""What a person at the terminal looks for, over all tenants."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.merchant import merchant
from db.schema.tenant import api_key, tenant


async def list_keys(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every API key without its secret, which nobody has but its owner."""
    columns = ("id", "tenant_id", "name", "scopes", "created_at", "revoked_at")
    rows = await connection.execute(
        select(*(api_key.c[name] for name in columns)).order_by(api_key.c.tenant_id, api_key.c.id)
    )
    return [dict(row) for row in rows.mappings()]


async def tenant_of_key(connection: AsyncConnection, key_id: str) -> str | None:
    return await connection.scalar(select(api_key.c.tenant_id).where(api_key.c.id == key_id))


async def list_merchants(
    connection: AsyncConnection, *, tenant_id: str | None, status: str | None, limit: int
) -> list[dict[str, Any]]:
    query = select(merchant).order_by(merchant.c.tenant_id, merchant.c.seller_account).limit(limit)
    if tenant_id is not None:
        query = query.where(merchant.c.tenant_id == tenant_id)
    if status is not None:
        query = query.where(merchant.c.status == status)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def find_merchants(connection: AsyncConnection, name: str, tenant_id: str | None) -> list[dict[str, Any]]:
    """By our id or the tenant's own; several tenants may have a seller of the same name."""
    query = select(merchant).where((merchant.c.id == name) | (merchant.c.seller_account == name))
    if tenant_id is not None:
        query = query.where(merchant.c.tenant_id == tenant_id)
    rows = await connection.execute(query.order_by(merchant.c.tenant_id))
    return [dict(row) for row in rows.mappings()]


async def is_tenant(connection: AsyncConnection, tenant_id: str) -> bool:
    return (await connection.execute(select(tenant).where(tenant.c.id == tenant_id))).one_or_none() is not None
