"""Attempts at a refund: answers that cannot be trusted, and asking again."""

from datetime import timedelta

from sqlalchemy import and_, func, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.refund import refund
from domain.model import Failure
from domain.status import RefundStatus


async def unknown(connection: AsyncConnection, refund_id: str, reason: str) -> None:
    """An answer that cannot be trusted: counted, and the status stays."""
    await connection.execute(
        update(refund)
        .where(refund.c.id == refund_id)
        .values(
            unknown_count=refund.c.unknown_count + 1,
            failure=Failure(code="psp_unknown", message=reason).model_dump(),
            updated_at=func.now(),
        )
    )


async def next_attempt(connection: AsyncConnection, refund_id: str, send_for_s: float) -> None:
    """Ask again under a new key, as a person decided: the PSP refused or failed the last request, or never saw it."""
    failed = and_(refund.c.status == RefundStatus.FAILED.value, refund.c.origin.in_(["compensation", "late_charge"]))
    await connection.execute(
        update(refund)
        .where(
            refund.c.id == refund_id,
            # Of a settled payment's failed refund the funds are released: the shop asks for a new one.
            or_(failed, refund.c.status == RefundStatus.NEEDS_ATTENTION.value),
        )
        .values(
            attempt=refund.c.attempt + 1,
            status=RefundStatus.REQUESTED.value,
            reference=None,
            send_until=func.now() + timedelta(seconds=send_for_s),
            updated_at=func.now(),
        )
    )
