"""Disputes by id, of a payment, and in lists."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import share
from db.dispute.record import Dispute
from db.schema.dispute import dispute
from domain.status import DISPUTE_ENDED


async def get(connection: AsyncConnection, dispute_id: str) -> Dispute:
    row = (await connection.execute(select(dispute).where(dispute.c.id == dispute_id))).mappings().one()
    return Dispute(**row)


async def named(connection: AsyncConnection, psp: str, reference: str) -> str:
    """Our id of a dispute that we know, by the PSP's own."""
    query = select(dispute.c.id).where(dispute.c.psp == psp, dispute.c.reference == reference)
    found: str = (await connection.execute(query)).scalar_one()
    return found


async def find(connection: AsyncConnection, tenant_id: str | None, name: str) -> Dispute | None:
    """Of this tenant (None: of any), by our id or the PSP's own, which its dashboard shows; or None."""
    query = select(dispute).where(or_(dispute.c.id == name, dispute.c.reference == name))
    if tenant_id is not None:
        query = query.where(dispute.c.tenant_id == tenant_id)
    row = await connection.execute(query.order_by((dispute.c.id == name).desc(), dispute.c.seq).limit(1))
    found = row.mappings().one_or_none()
    return None if found is None else Dispute(**found)


async def of_payment(connection: AsyncConnection, payment_id: str) -> Sequence[Dispute]:
    rows = await connection.execute(select(dispute).where(dispute.c.payment_id == payment_id).order_by(dispute.c.seq))
    return [Dispute(**row) for row in rows.mappings()]


async def page(
    connection: AsyncConnection,
    tenant_id: str | None,
    *,
    seller_account: str | None = None,
    status: str | None,
    before: int | None,
    limit: int,
) -> list[Dispute]:
    """Newest first, all or those that a seller has a share of; `before` is the sequence number that a page ended
    with."""
    query = select(dispute).order_by(dispute.c.seq.desc()).limit(limit)
    if tenant_id is not None:
        query = query.where(dispute.c.tenant_id == tenant_id)
    if seller_account is not None:
        query = query.where(share.of_dispute(seller_account).is_not(None))
    if status is not None:
        query = query.where(dispute.c.status == status)
    if before is not None:
        query = query.where(dispute.c.seq < before)
    return [Dispute(**row) for row in (await connection.execute(query)).mappings()]


async def by_deadline(connection: AsyncConnection, *, open_only: bool, limit: int) -> list[Dispute]:
    """Of all tenants: the one whose evidence is due first, first; then the newest."""
    query = select(dispute).order_by(dispute.c.evidence_due_at.nulls_last(), dispute.c.seq.desc()).limit(limit)
    if open_only:
        query = query.where(dispute.c.status.not_in([status.value for status in DISPUTE_ENDED]))
    return [Dispute(**row) for row in (await connection.execute(query)).mappings()]


async def unfinished(connection: AsyncConnection, older_than_s: float, after_id: str, limit: int) -> list[Dispute]:
    """Disputes that are not decided and whose next look is overdue: their workflow was lost."""
    due = func.now() - timedelta(seconds=older_than_s)
    rows = await connection.execute(
        select(dispute)
        .where(
            dispute.c.status.not_in([status.value for status in DISPUTE_ENDED]),
            func.coalesce(dispute.c.next_check_at, dispute.c.updated_at) < due,
            dispute.c.id > after_id,
        )
        .order_by(dispute.c.id)
        .limit(limit)
    )
    return [Dispute(**row) for row in rows.mappings()]
