"""Payments by their names, and what became of one."""

from collections.abc import Collection

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.payment.record import Transition
from db.schema.payment import charge, payment, payment_order, payment_order_transition
from domain.status import Status


async def in_tenant(connection: AsyncConnection, tenant_id: str, name: str) -> tuple[str, str | None] | None:
    """(payment id, order id if one was named), for our ids, the client's payment_order_id (its latest), its
    checkout_id (the latest payment of it) or the PSP's id of the charge: the first of them that there is."""
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
    if order is not None:
        return order.payment_id, order.id
    own = payment.c.tenant_id == tenant_id
    at_psp = select(charge.c.payment_id).where(charge.c.reference == name)
    for called in (payment.c.checkout_id == name, payment.c.id.in_(at_psp)):
        latest = select(payment.c.id).where(own, called).order_by(payment.c.created_at.desc(), payment.c.id.desc())
        if (found := await connection.scalar(latest.limit(1))) is not None:
            return found, None
    return None


async def anywhere(connection: AsyncConnection, name: str) -> list[tuple[str, str]]:
    """(payment id, tenant) of what is called so, newest first: our `pay_…` or `po_…`, a payment_order_id, a
    checkout_id or the PSP's id of the charge. The client's own names may occur in several
    tenants, and once per failed try."""
    query = (
        select(payment.c.id, payment.c.tenant_id)
        .join(payment_order, payment_order.c.payment_id == payment.c.id)
        .where(
            or_(
                payment.c.id == name,
                payment.c.checkout_id == name,
                payment_order.c.id == name,
                payment_order.c.payment_order_id == name,
                payment.c.id.in_(select(charge.c.payment_id).where(charge.c.reference == name)),
            )
        )
        .group_by(payment.c.id, payment.c.tenant_id)
        .order_by(payment.c.created_at.desc(), payment.c.id.desc())
    )
    return [(row.id, row.tenant_id) for row in await connection.execute(query)]


async def order_names(connection: AsyncConnection, order_ids: Collection[str]) -> dict[str, str]:
    """Our order ids → the client's."""
    named = select(payment_order.c.id, payment_order.c.payment_order_id).where(payment_order.c.id.in_(order_ids))
    return {row.id: row.payment_order_id for row in await connection.execute(named)}


async def live_checkout(connection: AsyncConnection, tenant_id: str, checkout_id: str) -> str | None:
    """The payment of this checkout that is not FAILED or CANCELLED."""
    return await connection.scalar(
        select(payment.c.id).where(
            payment.c.tenant_id == tenant_id,
            payment.c.checkout_id == checkout_id,
            payment.c.status.not_in([Status.FAILED.value, Status.CANCELLED.value]),
        )
    )


async def transitions(connection: AsyncConnection, payment_id: str) -> list[Transition]:
    """Every step of the payment's orders, in the order in which they were taken."""
    rows = await connection.execute(
        select(payment_order_transition)
        .where(payment_order_transition.c.payment_id == payment_id)
        .order_by(payment_order_transition.c.seq)
    )
    return [Transition.model_validate(dict(row)) for row in rows.mappings()]
