"""A dispute's step: its history row, its event, the tasks it answers, and what its workflow is told."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.core import outbox
from db.dispute import find
from db.dispute.record import Dispute
from db.schema.dispute import dispute_evidence, dispute_transition
from domain.dispute import DisputeState
from domain.events import Event, dispute_event_data
from domain.ids import new_id
from domain.status import DISPUTE_ENDED, DisputeStatus


async def record(connection: AsyncConnection, row: Dispute, before: DisputeStatus | None, at: datetime) -> None:
    """The step in its history, and its event."""
    await connection.execute(
        insert(dispute_transition).values(
            tenant_id=row.tenant_id,
            dispute_id=row.id,
            from_status=before.value if before else None,
            to_status=row.status.value,
            at=at,
        )
    )
    event = Event(
        id=new_id("evt"),
        type=f"dispute.{row.status.value.lower()}",
        tenant_id=row.tenant_id,
        object_id=row.id,
        at=at,
        data=dispute_event_data(
            dispute_id=row.id,
            payment_id=row.payment_id,
            amount=row.amount,
            currency=row.currency,
            category=row.category,
            status=row.status,
            evidence_due_at=row.evidence_due_at,
        ),
    )
    await outbox.add(connection, [event])


async def state(connection: AsyncConnection, row: Dispute) -> DisputeState:
    """The facts that the dispute's workflow decides on; `evidence_id`: the oldest that is not submitted."""
    waiting = await connection.scalar(
        select(dispute_evidence.c.id)
        .where(dispute_evidence.c.dispute_id == row.id, dispute_evidence.c.status == "STORED")
        .order_by(dispute_evidence.c.created_at, dispute_evidence.c.id)
        .limit(1)
    )
    return DisputeState(
        status=row.status,
        ended=row.status in DISPUTE_ENDED,
        evidence_id=waiting,
        evidence_due_at=row.evidence_due_at,
    )


async def close_tasks(connection: AsyncConnection, row: Dispute, kinds: Sequence[str], resolution: str) -> None:
    """Those of a payment's last open dispute: a task may speak of several."""
    others = [d for d in await find.of_payment(connection, row.payment_id) if d.id != row.id]
    if all(other.status in DISPUTE_ENDED for other in others):
        for kind in kinds:
            await task.close_tasks(connection, row.payment_id, kind=kind, by="workflow", resolution=resolution)
