"""Attempts at a refund: answers that cannot be trusted, and asking again."""

from datetime import timedelta

from sqlalchemy import and_, func, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import dead_key
from db.refund.event import announce
from db.refund.record import Refund
from db.schema.refund import refund
from domain.model import Failure
from domain.status import RefundStatus
from domain.unknown import waiting_for


async def unknown(connection: AsyncConnection, refund_id: str, reason: str, *, tries: int, again_s: float) -> None:
    """An answer that cannot be trusted: counted, and the status stays. `again_s`: seconds until it is asked for
    again."""
    await connection.execute(
        update(refund)
        .where(refund.c.id == refund_id)
        .values(
            unknown_count=func.greatest(refund.c.unknown_count + 1, tries),
            failure=Failure(code="psp_unknown", message=waiting_for(reason, tries), psp_code=reason).model_dump(),
            next_check_at=func.clock_timestamp() + timedelta(seconds=again_s),
            updated_at=func.now(),
        )
    )


async def dead_for(connection: AsyncConnection, refund_id: str) -> timedelta:
    """The time since when the key of the refund's attempt is known to be dead; the first call writes that down."""
    return await dead_key.dead_for(connection, refund, refund_id)


async def next_attempt(connection: AsyncConnection, refund_id: str, send_for_s: float) -> None:
    """Ask again under a new key, as a person decided: the PSP refused or failed the last request, or never saw it.
    Nothing happens where the refund is not there any more."""
    failed = and_(refund.c.status == RefundStatus.FAILED.value, refund.c.origin.in_(["compensation", "late_charge"]))
    again = await connection.execute(
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
            dead_since=None,
            next_check_at=None,
            send_until=func.now() + timedelta(seconds=send_for_s),
            updated_at=func.now(),
        )
        .returning(refund)
    )
    row = again.mappings().one_or_none()
    if row is not None:
        await announce(connection, Refund(**row), row["updated_at"])
