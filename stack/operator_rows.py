"""What only a person at the terminal asks for, over all tenants: lists of refunds and merchants, and ids of any tenant.

Written with the tables alone, like their neighbours in `db/operator.py`.
"""

from collections.abc import Sequence
from typing import Any

from db.records import Dispute, Refund
from db.tables import dispute, merchant, refund, tenant
from domain.status import RefundStatus

_REFUND_ENDED = (RefundStatus.SUCCEEDED.value, RefundStatus.FAILED.value)


async def list_refunds(connection: Any, *, open_only: bool, limit: int) -> list[Refund]:
    """Newest first. Open: somebody still has to see it through, also a failed one that undoes a charge."""
    query = refund.select().order_by(refund.c.id.desc()).limit(limit)
    if open_only:
        unmade = (refund.c.status == RefundStatus.FAILED.value) & refund.c.origin.in_(["compensation", "late_charge"])
        query = query.where(refund.c.status.not_in(_REFUND_ENDED) | unmade)
    return [Refund(**row) for row in (await connection.execute(query)).mappings()]


async def find_refund(connection: Any, refund_id: str) -> Refund | None:
    row = (await connection.execute(refund.select().where(refund.c.id == refund_id))).mappings().one_or_none()
    return None if row is None else Refund(**row)


async def find_dispute(connection: Any, name: str) -> Dispute | None:
    """By our id, or the PSP's, which its dashboard shows."""
    known = (dispute.c.id == name) | (dispute.c.reference == name)
    row = (await connection.execute(dispute.select().where(known).limit(1))).mappings().one_or_none()
    return None if row is None else Dispute(**row)


async def list_disputes(connection: Any, *, statuses: Sequence[str] | None, limit: int) -> list[Dispute]:
    """The one whose evidence is due first, first; then the newest."""
    query = dispute.select().order_by(dispute.c.evidence_due_at.nulls_last(), dispute.c.seq.desc()).limit(limit)
    if statuses is not None:
        query = query.where(dispute.c.status.in_(statuses))
    return [Dispute(**row) for row in (await connection.execute(query)).mappings()]


async def list_merchants(
    connection: Any, *, tenant_id: str | None, status: str | None, limit: int
) -> list[dict[str, Any]]:
    query = merchant.select().order_by(merchant.c.tenant_id, merchant.c.seller_account).limit(limit)
    if tenant_id is not None:
        query = query.where(merchant.c.tenant_id == tenant_id)
    if status is not None:
        query = query.where(merchant.c.status == status)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def find_merchants(connection: Any, name: str, tenant_id: str | None) -> list[dict[str, Any]]:
    """By our id or the tenant's own; several tenants may have a seller of the same name."""
    query = merchant.select().where((merchant.c.id == name) | (merchant.c.seller_account == name))
    if tenant_id is not None:
        query = query.where(merchant.c.tenant_id == tenant_id)
    rows = await connection.execute(query.order_by(merchant.c.tenant_id))
    return [dict(row) for row in rows.mappings()]


async def is_tenant(connection: Any, tenant_id: str) -> bool:
    return (await connection.execute(tenant.select().where(tenant.c.id == tenant_id))).one_or_none() is not None
