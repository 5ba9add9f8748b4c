"""What a person at the terminal looks for, over all tenants."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.dispute.record import Dispute
from db.refund.record import Refund
from db.schema.dispute import dispute
from db.schema.merchant import merchant
from db.schema.payment import payment, payment_order
from db.schema.refund import refund
from db.schema.tenant import api_key, tenant
from domain.status import RefundStatus

_REFUND_ENDED = (RefundStatus.SUCCEEDED.value, RefundStatus.FAILED.value)


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


async def list_refunds(connection: AsyncConnection, *, open_only: bool, limit: int) -> list[Refund]:
    """Newest first. Open: somebody still has to see it through, also a failed one that undoes a charge."""
    query = select(refund).order_by(refund.c.id.desc()).limit(limit)
    if open_only:
        unmade = (refund.c.status == RefundStatus.FAILED.value) & refund.c.origin.in_(["compensation", "late_charge"])
        query = query.where(refund.c.status.not_in(_REFUND_ENDED) | unmade)
    return [Refund(**row) for row in (await connection.execute(query)).mappings()]


async def find_refund(connection: AsyncConnection, refund_id: str) -> Refund | None:
    row = (await connection.execute(select(refund).where(refund.c.id == refund_id))).mappings().one_or_none()
    return None if row is None else Refund(**row)


async def find_dispute(connection: AsyncConnection, name: str) -> Dispute | None:
    """By our id, or the PSP's, which its dashboard shows."""
    known = (dispute.c.id == name) | (dispute.c.reference == name)
    row = (await connection.execute(select(dispute).where(known).limit(1))).mappings().one_or_none()
    return None if row is None else Dispute(**row)


async def list_disputes(connection: AsyncConnection, *, statuses: Sequence[str] | None, limit: int) -> list[Dispute]:
    """The one whose evidence is due first, first; then the newest."""
    query = select(dispute).order_by(dispute.c.evidence_due_at.nulls_last(), dispute.c.seq.desc()).limit(limit)
    if statuses is not None:
        query = query.where(dispute.c.status.in_(statuses))
    return [Dispute(**row) for row in (await connection.execute(query)).mappings()]


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
