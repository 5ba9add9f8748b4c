"""Tasks for a person: opened once per payment and kind while open, closed with a name and a resolution, kept."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log
from db.schema.tenant import operator_task
from domain.ids import new_id

OTHER_QUESTIONS = (
    "review",
    "dispute_evidence_due",
    "dispute_exceeds",
    "dispute_changed",
    "dispute_stuck",
    "refund_came_back",
    "refund_exceeds",
    "refund_at_psp",
    "paid_twice",
    "webhook_dead",
)
"""Kinds that say nothing of why a payment or a refund does not move on, and that no decision about that answers."""


async def open_task(
    connection: AsyncConnection,
    tenant_id: str,
    payment_id: str | None,
    kind: str,
    detail: str,
    *,
    object_id: str | None = None,
) -> None:
    """One open task per payment and kind: a second fact of the kind (another refund that came back) is added to it.
    `object_id`: what it is about where that is no payment (a payout, a discrepancy), once per object and kind."""
    insert = upsert(operator_task).values(
        id=new_id("task"), tenant_id=tenant_id, payment_id=payment_id, object_id=object_id, kind=kind, detail=detail
    )
    if payment_id is None or kind not in (*OTHER_QUESTIONS, "refund_failed"):
        await connection.execute(insert.on_conflict_do_nothing())
        return
    told = func.strpos(operator_task.c.detail, insert.excluded.detail) > 0
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=["payment_id", "kind"],
            index_where=operator_task.c.closed_at.is_(None),
            set_={
                "detail": case(
                    (told, operator_task.c.detail), else_=operator_task.c.detail + "\n" + insert.excluded.detail
                )
            },
        )
    )


async def close_tasks(
    connection: AsyncConnection,
    payment_id: str,
    *,
    by: str,
    resolution: str,
    kind: str | None = None,
    keep: Sequence[str] = (),
) -> None:
    """All open tasks of the payment, or those of one kind, but for the kinds to keep."""
    await connection.execute(
        update(operator_task)
        .where(
            operator_task.c.payment_id == payment_id,
            operator_task.c.closed_at.is_(None),
            *(() if kind is None else (operator_task.c.kind == kind,)),
            operator_task.c.kind.not_in(keep),
        )
        .values(closed_at=func.now(), closed_by=by, resolution=resolution)
    )


async def close_of(connection: AsyncConnection, object_id: str, *, by: str, resolution: str) -> None:
    """All open tasks about an object that is no payment."""
    await connection.execute(
        update(operator_task)
        .where(operator_task.c.object_id == object_id, operator_task.c.closed_at.is_(None))
        .values(closed_at=func.now(), closed_by=by, resolution=resolution)
    )


async def open_tasks(
    connection: AsyncConnection, *, payment_id: str | None = None, object_id: str | None = None
) -> list[dict[str, Any]]:
    """The oldest first: all, those of a payment, or those about another object."""
    query = select(operator_task).where(operator_task.c.closed_at.is_(None)).order_by(operator_task.c.id)
    if payment_id is not None:
        query = query.where(operator_task.c.payment_id == payment_id)
    if object_id is not None:
        query = query.where(operator_task.c.object_id == object_id)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def find(connection: AsyncConnection, task_id: str) -> dict[str, Any] | None:
    """An open or closed one, of any tenant."""
    row = (await connection.execute(select(operator_task).where(operator_task.c.id == task_id))).mappings()
    found = row.one_or_none()
    return None if found is None else dict(found)


async def close_one(connection: AsyncConnection, task_id: str, *, by: str, resolution: str) -> bool:
    """Close what nothing closes by itself, as a person says, with an entry in the audit log. False: it was closed
    already."""
    query = (
        update(operator_task)
        .where(operator_task.c.id == task_id, operator_task.c.closed_at.is_(None))
        .values(closed_at=func.now(), closed_by=by, resolution=resolution)
        .returning(operator_task)
    )
    closed = (await connection.execute(query)).mappings().one_or_none()
    if closed is None:
        return False
    about = {"payment": closed["payment_id"]} if closed["object_id"] is None else {"object": closed["object_id"]}
    detail = {"kind": closed["kind"], **about, "note": resolution}
    await audit_log.record(connection, closed["tenant_id"], by, "task.close", task_id, detail)
    return True
