"""The steps that a payout's row takes: its status, what goes with it, and the webhooks that are thereby read."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.payout import payout as payouts
from db.payout.record import Payout
from db.schema.messages import webhook_inbox
from db.schema.payout import payout, payout_call, payout_transition
from domain.model import Failure
from domain.payout import PayoutCall, PayoutState
from domain.psp import PayoutResult
from domain.status import PAYOUT_ENDED, PAYOUT_TRANSITIONS, PayoutStatus

UNCLEAR = "payout_unclear"
"""A call was made, its key has expired, and the PSP shows nothing of it."""
NOT_RETURNED = "payout_not_returned"
"""The PSP refuses to take back what lies on the seller's account there."""
LATE = "payout_late"
"""The bank should have had it days ago."""
UNCHECKED = "payout_unchecked"
"""It was paid, and the PSP did not say whether the bank has returned it."""
STUCK = "payout_stuck"


def state_of(row: Payout) -> PayoutState:
    """The payout's state as its workflow is told."""
    return PayoutState(status=row.status, cancel_requested=row.cancel_requested, late=late(row))


def late(row: Payout) -> bool:
    """True while a person is asked about a payout that the PSP has by name, and that may still arrive."""
    return row.status is PayoutStatus.NEEDS_ATTENTION and row.ends_as is None and row.reference is not None


async def move(
    connection: AsyncConnection,
    row: Payout,
    status: PayoutStatus,
    reason: str,
    at: datetime,
    *,
    failure: Failure | None = None,
    **values: Any,
) -> PayoutState:
    assert (row.status.value, status.value) in PAYOUT_TRANSITIONS, f"{row.id}: {row.status} cannot become {status}"
    if failure is not None:
        values["failure"] = failure.model_dump()
    elif status in (PayoutStatus.IN_TRANSIT, PayoutStatus.PAID):
        values["failure"] = None  # why a person was asked
    await change(connection, row, status=status.value, **values)
    changed = await payouts.get(connection, row.id)
    await payouts.record(connection, changed, row.status, reason, at)
    if status in PAYOUT_ENDED or row.status is PayoutStatus.NEEDS_ATTENTION:
        await task.close_of(connection, row.id, by="workflow", resolution=f"the payout is {status}")
    return state_of(changed)


async def change(connection: AsyncConnection, row: Payout, **values: Any) -> PayoutState:
    changed = await connection.execute(
        update(payout).where(payout.c.id == row.id).values(updated_at=func.now(), **values).returning(payout)
    )
    return state_of(Payout(**changed.mappings().one()))


async def unknown(connection: AsyncConnection, row: Payout, **values: Any) -> PayoutState:
    """Count an answer that cannot be trusted, once for each look."""
    next_check_at = values.get("next_check_at")
    if next_check_at is not None and next_check_at == row.next_check_at:
        return state_of(row)  # the same step once more, which names the same next look: its answer is counted
    return await change(connection, row, unknown_count=payout.c.unknown_count + 1, **values)


async def needs_attention(
    connection: AsyncConnection, row: Payout, call: PayoutCall, kind: str, failure: Failure | None, at: datetime
) -> PayoutState:
    why = failure.message if failure else "nothing is found of it at the PSP, and its key has expired"
    await task.open_task(connection, row.tenant_id, None, kind, f"The {call} of {row.id}: {why}", object_id=row.id)
    return await move(
        connection, row, PayoutStatus.NEEDS_ATTENTION, f"{call}: {why}", at, failure=failure, next_check_at=None
    )


async def note_call(
    connection: AsyncConnection,
    row: Payout,
    call: PayoutCall,
    outcome: str,
    reference: str | None,
    failure: Failure | None,
) -> None:
    last = await payouts.last_call(connection, row.id, call)
    assert last is not None, "a call is written before it is made"
    await connection.execute(
        update(payout_call)
        .where(payout_call.c.key == last.key)
        .values(outcome=outcome, reference=reference, failure=failure.model_dump() if failure else None)
    )


async def webhooks_read(connection: AsyncConnection, row: Payout, result: PayoutResult) -> None:
    """Mark the webhooks that the PSP had sent about this payout before it was asked as read."""
    if result.asked_at is not None:
        before = webhook_inbox.c.received_at < result.asked_at
        await webhooks_done(connection, row, f"the PSP was asked: {result.outcome}", before)


async def webhooks_done(connection: AsyncConnection, row: Payout, note: str, *which: ColumnElement[bool]) -> None:
    await connection.execute(
        update(webhook_inbox)
        .where(webhook_inbox.c.payout_id == row.id, webhook_inbox.c.status == "RECEIVED", *which)
        .values(status="PROCESSED", note=note, processed_at=func.now())
    )


async def since(connection: AsyncConnection, row: Payout, status: PayoutStatus) -> datetime:
    """The time at which it became this for the last time."""
    steps = (payout_transition.c.payout_id == row.id, payout_transition.c.to_status == status.value)
    since: datetime = (await connection.execute(select(func.max(payout_transition.c.at)).where(*steps))).scalar_one()
    return since
