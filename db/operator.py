"""What a person at the terminal looks for: payments and API keys of every tenant."""

from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import api_key, payment, payment_order


async def find_payments(connection: AsyncConnection, name: str) -> list[tuple[str, str]]:
    """(payment id, tenant) of what is called so, newest first: our `pay_…` or `po_…`, a payment_order_id or a
    checkout_id. The client's own names may occur in several tenants, and once per failed try."""
    query = (
        select(payment.c.id, payment.c.tenant_id)
        .join(payment_order, payment_order.c.payment_id == payment.c.id)
        .where(
            or_(
                payment.c.id == name,
                payment.c.checkout_id == name,
                payment_order.c.id == name,
                payment_order.c.payment_order_id == name,
            )
        )
        .group_by(payment.c.id, payment.c.tenant_id)
        .order_by(payment.c.id.desc())
    )
    return [(row.id, row.tenant_id) for row in await connection.execute(query)]


async def list_payments(
    connection: AsyncConnection, *, status: str | None, tenant_id: str | None, limit: int
) -> list[dict[str, Any]]:
    """Newest first (ids sort by time), with the first failure."""
    failure = (
        select(payment_order.c.failure["code"].as_string())
        .where(payment_order.c.payment_id == payment.c.id, payment_order.c.failure.is_not(None))
        .order_by(payment_order.c.position)
        .limit(1)
        .scalar_subquery()
    )
    columns = ("id", "tenant_id", "status", "amount", "currency", "checkout_id", "created_at")
    query = (
        select(*(payment.c[name] for name in columns), failure.label("failure"))
        .order_by(payment.c.id.desc())
        .limit(limit)
    )
    if status is not None:
        query = query.where(payment.c.status == status)
    if tenant_id is not None:
        query = query.where(payment.c.tenant_id == tenant_id)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def list_keys(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every API key without its secret, which nobody has but its owner."""
    columns = ("id", "tenant_id", "name", "scopes", "created_at", "revoked_at")
    rows = await connection.execute(
        select(*(api_key.c[name] for name in columns)).order_by(api_key.c.tenant_id, api_key.c.id)
    )
    return [dict(row) for row in rows.mappings()]


async def tenant_of_key(connection: AsyncConnection, key_id: str) -> str | None:
    return await connection.scalar(select(api_key.c.tenant_id).where(api_key.c.id == key_id))
