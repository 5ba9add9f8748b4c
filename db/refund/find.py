"""Refunds by id, of a payment, and those that are unfinished."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.refund.record import Refund
from db.schema.payment import payment as payment_table
from db.schema.refund import refund
from domain.status import TERMINAL, RefundStatus


async def get(connection: AsyncConnection, refund_id: str) -> Refund:
    row = (await connection.execute(select(refund).where(refund.c.id == refund_id))).mappings().one()
    return Refund(**row)


async def in_tenant(connection: AsyncConnection, tenant_id: str, refund_id: str) -> Refund | None:
    """Of this tenant, by our id or the PSP's, or None."""
    row = await connection.execute(_named(refund_id).where(refund.c.tenant_id == tenant_id))
    found = row.mappings().first()
    return None if found is None else Refund(**found)


async def anywhere(connection: AsyncConnection, refund_id: str) -> Refund | None:
    """Of any tenant, for a person at a terminal."""
    row = (await connection.execute(_named(refund_id))).mappings().first()
    return None if row is None else Refund(**row)


def _named(name: str) -> Select[Any]:
    return (
        select(refund)
        .where(or_(refund.c.id == name, refund.c.reference == name))
        .order_by((refund.c.id == name).desc())
    )


async def of_payment(connection: AsyncConnection, payment_id: str) -> Sequence[Refund]:
    rows = await connection.execute(select(refund).where(refund.c.payment_id == payment_id).order_by(refund.c.seq))
    return [Refund(**row) for row in rows.mappings()]


async def unmade(connection: AsyncConnection, payment_id: str) -> Sequence[Refund]:
    """Those that somebody or something still has to see through."""
    return [row for row in await of_payment(connection, payment_id) if not row.ended]


def ended() -> ColumnElement[bool]:
    """`Refund.ended`: nothing more is to be done about it."""
    return or_(
        refund.c.status == RefundStatus.SUCCEEDED.value,
        and_(refund.c.status == RefundStatus.FAILED.value, refund.c.origin.in_(["request", "psp"])),
    )


async def made(connection: AsyncConnection, payment_id: str) -> int:
    """The sum that the PSP has given back to the buyer of a settled payment, in minor units: refunds of ours once they
    have succeeded, those of the dashboard as soon as the PSP tells of them."""
    told = (RefundStatus.PENDING.value, RefundStatus.SUCCEEDED.value)
    total = await connection.scalar(
        select(func.sum(refund.c.amount)).where(
            refund.c.payment_id == payment_id,
            or_(
                and_(refund.c.origin == "request", refund.c.status == RefundStatus.SUCCEEDED.value),
                and_(refund.c.origin == "psp", refund.c.status.in_(told)),
            ),
        )
    )
    return int(total or 0)


async def unfinished(connection: AsyncConnection, older_than_s: float, after_id: str, limit: int) -> list[Refund]:
    """Refunds that are not done, and that the payment's own workflow does not care for."""
    due = func.now() - timedelta(seconds=older_than_s)
    rows = await connection.execute(
        select(refund)
        .join(payment_table, payment_table.c.id == refund.c.payment_id)
        .where(
            ~ended(),
            refund.c.updated_at < due,
            # Part of undoing a charge, it is the payment's own workflow's as long as that lives.
            or_(
                payment_table.c.status.in_([status.value for status in TERMINAL]),
                refund.c.origin.in_(["request", "psp"]),
            ),
            refund.c.id > after_id,
        )
        .order_by(refund.c.id)
        .limit(limit)
    )
    return [Refund(**row) for row in rows.mappings()]
