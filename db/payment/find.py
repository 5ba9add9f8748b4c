"""Payments by their names and in lists, and what became of one."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.payment.record import Transition
from db.schema.payment import payment, payment_order, payment_order_transition
from domain.status import Status

# --- by name ---


async def in_tenant(connection: AsyncConnection, tenant_id: str, name: str) -> tuple[str, str | None] | None:
    """(payment id, order id if one was named), for our ids or the client's payment_order_id (its latest)."""
    if name.startswith("pay_"):
        found = await connection.scalar(
            select(payment.c.id).where(payment.c.id == name, payment.c.tenant_id == tenant_id)
        )
        return None if found is None else (found, None)
    order = (
        await connection.execute(
            select(payment_order.c.payment_id, payment_order.c.id)
            .where(
                payment_order.c.tenant_id == tenant_id,
                or_(payment_order.c.id == name, payment_order.c.payment_order_id == name),
            )
            .order_by(payment_order.c.seq.desc())
            .limit(1)
        )
    ).one_or_none()
    return None if order is None else (order.payment_id, order.id)


async def anywhere(connection: AsyncConnection, name: str) -> list[tuple[str, str]]:
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
        .order_by(payment.c.created_at.desc(), payment.c.id.desc())
    )
    return [(row.id, row.tenant_id) for row in await connection.execute(query)]


async def live_checkout(connection: AsyncConnection, tenant_id: str, checkout_id: str) -> str | None:
    """The payment of this checkout that is not FAILED or CANCELLED."""
    return await connection.scalar(
        select(payment.c.id).where(
            payment.c.tenant_id == tenant_id,
            payment.c.checkout_id == checkout_id,
            payment.c.status.not_in([Status.FAILED.value, Status.CANCELLED.value]),
        )
    )


# --- in lists ---


@dataclass(frozen=True)
class Listed:
    """A line of a list of payments; `failure`: the code of its first failure."""

    id: str
    tenant_id: str
    status: Status
    amount: int
    currency: str
    checkout_id: str | None
    created_at: datetime
    failure: str | None


async def newest(
    connection: AsyncConnection, *, status: Status | None, tenant_id: str | None, limit: int
) -> list[Listed]:
    """Newest first, of all tenants or one."""
    failure = (
        select(payment_order.c.failure["code"].as_string())
        .where(payment_order.c.payment_id == payment.c.id, payment_order.c.failure.is_not(None))
        .order_by(payment_order.c.position)
        .limit(1)
        .scalar_subquery()
    )
    columns = ("id", "tenant_id", "status", "amount", "currency", "checkout_id", "created_at")
    query = select(*(payment.c[name] for name in columns), failure.label("failure"))
    if status is not None:
        query = query.where(payment.c.status == status.value)
    if tenant_id is not None:
        query = query.where(payment.c.tenant_id == tenant_id)
    # Ids sort by the millisecond, and have an index; within a millisecond the moment decides.
    latest = query.order_by(payment.c.id.desc()).limit(limit).subquery()
    rows = await connection.execute(select(latest).order_by(latest.c.created_at.desc(), latest.c.id.desc()))
    return [Listed(**{**row, "status": Status(row["status"])}) for row in rows.mappings()]


async def transitions(connection: AsyncConnection, payment_id: str) -> list[Transition]:
    """Every step of the payment's orders, in the order in which they were taken."""
    rows = await connection.execute(
        select(payment_order_transition)
        .where(payment_order_transition.c.payment_id == payment_id)
        .order_by(payment_order_transition.c.seq)
    )
    return [Transition.model_validate(dict(row)) for row in rows.mappings()]
