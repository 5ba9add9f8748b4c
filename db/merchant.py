"""Merchants: the sellers that orders are credited to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.merchant import merchant
from db.schema.payment import risk_rule_set
from domain.errors import Conflict, NotFound
from domain.ids import new_id


async def create(connection: AsyncConnection, tenant_id: str, values: dict[str, Any]) -> dict[str, Any]:
    """Raises Conflict `merchant_exists`."""
    inserted = (
        (
            await connection.execute(
                upsert(merchant)
                .values(id=new_id("mer"), tenant_id=tenant_id, **values)
                .on_conflict_do_nothing(index_elements=["tenant_id", "seller_account"])
                .returning(merchant)
            )
        )
        .mappings()
        .one_or_none()
    )
    if inserted is None:
        raise Conflict(f"{values['seller_account']} exists already.", code="merchant_exists")
    return dict(inserted)


async def change(
    connection: AsyncConnection, tenant_id: str, seller_account: str, values: dict[str, Any]
) -> dict[str, Any]:
    """Raises NotFound; Conflict `merchant_closed`, since a closed merchant is not opened again."""
    current = (
        (
            await connection.execute(
                select(merchant)
                .where(merchant.c.tenant_id == tenant_id, merchant.c.seller_account == seller_account)
                .with_for_update()
            )
        )
        .mappings()
        .one_or_none()
    )
    if current is None:
        raise NotFound("There is no such merchant.", code="merchant_not_found")
    if current["status"] == "CLOSED" and values.get("status", "CLOSED") != "CLOSED":
        raise Conflict("A closed merchant stays closed.", code="merchant_closed")
    changed = await connection.execute(
        update(merchant)
        .where(merchant.c.id == current["id"])
        .values(updated_at=func.now(), **values)
        .returning(merchant)
    )
    return dict(changed.mappings().one())


async def get(connection: AsyncConnection, tenant_id: str, seller_account: str) -> dict[str, Any]:
    """By our id or the seller_account. Raises NotFound."""
    column = merchant.c.id if seller_account.startswith("mer_") else merchant.c.seller_account
    row = (
        (await connection.execute(select(merchant).where(merchant.c.tenant_id == tenant_id, column == seller_account)))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound("There is no such merchant.", code="merchant_not_found")
    return dict(row)


async def of_accounts(
    connection: AsyncConnection, tenant_id: str, accounts: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """seller_account → its row, with the version of the tenant's risk rules (`risk_version`, None where it has none):
    a payment is stored after one question about both."""
    latest = select(func.max(risk_rule_set.c.version)).where(risk_rule_set.c.tenant_id == tenant_id).scalar_subquery()
    rows = await connection.execute(
        select(merchant, latest.label("risk_version")).where(
            merchant.c.tenant_id == tenant_id, merchant.c.seller_account.in_(accounts)
        )
    )
    return {row["seller_account"]: dict(row) for row in rows.mappings()}


async def page(connection: AsyncConnection, tenant_id: str, *, after: str | None, limit: int) -> list[dict[str, Any]]:
    query = select(merchant).where(merchant.c.tenant_id == tenant_id).order_by(merchant.c.id).limit(limit)
    if after is not None:
        query = query.where(merchant.c.id > after)
    return [dict(row) for row in (await connection.execute(query)).mappings()]
