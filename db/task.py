"""Tasks for a person: opened once per payment and kind while open, closed with a name and a resolution, kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.tenant import operator_task
from domain.ids import new_id
from domain.unknown import TASK_KIND

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
    "workflow_failing",
)
"""Kinds that say nothing of why a payment or a refund does not move on, and that no decision about that answers."""


CLOSED_BY_HAND = frozenset(
    {
        "refund_came_back",
        "refund_exceeds",
        "refund_at_psp",
        "dispute_changed",
        "payout_unchecked",
        "payout_not_made",
        "reconciliation_failed",
        "paid_twice",
        "webhook_dead",
    }
)
"""Kinds that a person closes, who says what was done."""


@dataclass(frozen=True)
class Task:
    """A question to a person. `object_id`: what it is about where that is no payment; `closed_at` None: it is open."""

    id: str
    tenant_id: str
    payment_id: str | None
    object_id: str | None
    kind: str
    detail: str
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    resolution: str | None


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
    if payment_id is None or kind not in (*OTHER_QUESTIONS, "refund_failed", TASK_KIND):
        await connection.execute(insert.on_conflict_do_nothing())
        return
    old, new = operator_task.c.detail, insert.excluded.detail
    # What is waited for is told as it stands now.
    told = new if kind == TASK_KIND else case((func.strpos(old, new) > 0, old), else_=old + "\n" + new)
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=["payment_id", "kind"],
            index_where=operator_task.c.closed_at.is_(None),
            set_={"detail": told},
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


async def close_of(
    connection: AsyncConnection, object_id: str, *, by: str, resolution: str, kind: str | None = None
) -> None:
    """All open tasks about an object that is no payment, or those of one kind."""
    await connection.execute(
        update(operator_task)
        .where(
            operator_task.c.object_id == object_id,
            operator_task.c.closed_at.is_(None),
            *(() if kind is None else (operator_task.c.kind == kind,)),
        )
        .values(closed_at=func.now(), closed_by=by, resolution=resolution)
    )


async def tell_again(connection: AsyncConnection, object_id: str, kind: str, detail: str) -> bool:
    """Bring the open task of this kind about an object up to date. False: there is none."""
    changed = await connection.execute(
        update(operator_task)
        .where(
            operator_task.c.object_id == object_id, operator_task.c.kind == kind, operator_task.c.closed_at.is_(None)
        )
        .values(detail=detail)
    )
    return changed.rowcount > 0


async def open_tasks(
    connection: AsyncConnection, *, payment_id: str | None = None, object_id: str | None = None
) -> list[Task]:
    """The oldest first: all, those of a payment, or those about another object."""
    query = (
        select(operator_task)
        .where(operator_task.c.closed_at.is_(None))
        .order_by(operator_task.c.opened_at, operator_task.c.id)
    )
    if payment_id is not None:
        query = query.where(operator_task.c.payment_id == payment_id)
    if object_id is not None:
        query = query.where(operator_task.c.object_id == object_id)
    return [Task(**row) for row in (await connection.execute(query)).mappings()]


async def open_of_kind(connection: AsyncConnection, kind: str) -> list[Task]:
    """All that are open."""
    query = select(operator_task).where(operator_task.c.kind == kind, operator_task.c.closed_at.is_(None))
    return [Task(**row) for row in (await connection.execute(query)).mappings()]


async def find(connection: AsyncConnection, task_id: str) -> Task | None:
    """An open or closed one, of any tenant."""
    rows = await connection.execute(select(operator_task).where(operator_task.c.id == task_id))
    found = rows.mappings().one_or_none()
    return None if found is None else Task(**found)


async def close_one(connection: AsyncConnection, task_id: str, *, by: str, resolution: str) -> Task | None:
    """Close a task, as a person says. None: it was closed already."""
    query = (
        update(operator_task)
        .where(operator_task.c.id == task_id, operator_task.c.closed_at.is_(None))
        .values(closed_at=func.now(), closed_by=by, resolution=resolution)
        .returning(operator_task)
    )
    closed = (await connection.execute(query)).mappings().one_or_none()
    return None if closed is None else Task(**closed)
