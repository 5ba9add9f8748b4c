"""What a buyer or a seller has paid and earned, newest first, in stable pages."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import payment, payment_order


async def orders_of(
    connection: AsyncConnection,
    tenant_id: str,
    user_id: str,
    *,
    role: str,
    status: str | None,
    before: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Payment orders of a buyer or seller, by descending id (ids sort by time); `before` is the last id of a page."""
    query = (
        select(payment_order, payment.c.checkout_id, payment.c.buyer_id)
        .join(payment, payment.c.id == payment_order.c.payment_id)
        .where(payment_order.c.tenant_id == tenant_id)
        .where(payment.c.buyer_id == user_id if role == "buyer" else payment_order.c.seller_account == user_id)
        .order_by(payment_order.c.id.desc())
        .limit(limit)
    )
    if status is not None:
        query = query.where(payment_order.c.status == status)
    if before is not None:
        query = query.where(payment_order.c.id < before)
    return [dict(row) for row in (await connection.execute(query)).mappings()]
