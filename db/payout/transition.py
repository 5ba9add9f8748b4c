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
from domain.decisions import offered_for_payout, to_be_decided
from domain.model import Failure
from domain.payout import PayoutCall, PayoutState
from domain.psp import PayoutResult, TransferOutcome
from domain.status import PAYOUT_ENDED, PAYOUT_GIVEN_BACK, PAYOUT_TRANSITIONS, PayoutStatus
from domain.unknown import waiting_for

UNCLEAR = "payout_unclear"
"""A call was made, its key has expired, and the PSP shows nothing of it."""
MISMATCH = "payout_amount_mismatch"
"""The PSP made it of another amount or in another currency than was asked for."""
NOT_RETURNED = "payout_not_returned"
"""The PSP refuses to take back what lies on the seller's account there."""
LATE = "payout_late"
"""The bank should have had it days ago."""
UNCHECKED = "payout_unchecked"
"""It was paid, and the PSP did not say whether the bank has returned it."""
STUCK = "payout_stuck"
"""No step has moved it on."""
UNANSWERED = "payout_unanswered"
"""The PSP gives no answer that can be trusted; it is asked again by itself."""


def state_of(row: Payout) -> PayoutState:
    """The payout's state as its workflow is told."""
    offered = offered_for_payout(call_of(row)) if row.status is PayoutStatus.NEEDS_ATTENTION else ()
    return PayoutState(status=row.status, cancel_requested=row.cancel_requested, late=late(row), offered=offered)


def call_of(row: Payout) -> PayoutCall:
    """The call that the payout waits for; one that needs attention, the call about which it does."""
    if row.ends_as is not None:
        return PayoutCall.REVERSAL
    return PayoutCall.TRANSFER if row.transfer_reference is None else PayoutCall.PAYOUT


def why(failure: Failure | None) -> str:
    """Why a person is asked, in words."""
    return failure.message if failure else "nothing is found of it at the PSP, and its key has expired"


def unclear(failure: Failure | None) -> str:
    """The kind of task about a call of which the PSP shows nothing, or something else than was asked for."""
    return MISMATCH if failure is not None and failure.code == "amount_mismatch" else UNCLEAR


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
    elif status not in PAYOUT_GIVEN_BACK | {PayoutStatus.RETURNING, PayoutStatus.NEEDS_ATTENTION}:
        values["failure"] = None  # why a person was asked
    changed = await _changed(connection, row, status=status.value, **values)
    await payouts.record(connection, changed, row.status, reason, at)
    if status in PAYOUT_ENDED or row.status is PayoutStatus.NEEDS_ATTENTION:
        await task.close_of(connection, row.id, by="workflow", resolution=f"the payout is {status}")
    return state_of(changed)


async def change(connection: AsyncConnection, row: Payout, **values: Any) -> PayoutState:
    return state_of(await _changed(connection, row, **values))


async def _changed(connection: AsyncConnection, row: Payout, **values: Any) -> Payout:
    changed = await connection.execute(
        update(payout).where(payout.c.id == row.id).values(updated_at=func.now(), **values).returning(payout)
    )
    return Payout(**changed.mappings().one())


async def unknown(connection: AsyncConnection, row: Payout, **values: Any) -> PayoutState:
    """Count an answer that cannot be trusted, once for each look."""
    next_check_at = values.get("next_check_at")
    if next_check_at is not None and next_check_at == row.next_check_at:
        return state_of(row)  # the same step once more, which names the same next look: its answer is counted
    return await change(connection, row, unknown_count=payout.c.unknown_count + 1, **values)


async def needs_attention(
    connection: AsyncConnection, row: Payout, call: PayoutCall, kind: str, failure: Failure | None, at: datetime
) -> PayoutState:
    detail = f"The {call} of {row.id}: {why(failure).rstrip('.')}. {to_be_decided(offered_for_payout(call))}"
    await task.open_task(connection, row.tenant_id, None, kind, detail, object_id=row.id)
    state = await move(
        connection,
        row,
        PayoutStatus.NEEDS_ATTENTION,
        f"{call}: {why(failure)}",
        at,
        failure=failure,
        next_check_at=None,
    )
    return state.model_copy(update={"why": why(failure)})


async def note_call(
    connection: AsyncConnection,
    row: Payout,
    call: PayoutCall,
    outcome: str,
    reference: str | None,
    failure: Failure | None,
) -> None:
    if outcome != TransferOutcome.UNKNOWN and row.unknown_count:
        said = f"the PSP has answered: {outcome}"
        await task.close_of(connection, row.id, by="workflow", resolution=said, kind=UNANSWERED)
    last = await payouts.last_call(connection, row.id, call)
    assert last is not None, "a call is written before it is made"
    await connection.execute(
        update(payout_call)
        .where(payout_call.c.key == last.key)
        .values(outcome=outcome, reference=reference, failure=failure.model_dump() if failure else None)
    )


async def unanswered(
    connection: AsyncConnection, row: Payout, call: PayoutCall, reason: str, next_check_at: datetime | None
) -> PayoutState:
    """Count an answer to a call that cannot be trusted, with its reason, and when the PSP is asked again."""
    if next_check_at is not None and next_check_at == row.next_check_at:
        return state_of(row)  # the same step once more
    message = waiting_for(reason, row.unknown_count + 1)
    failure = Failure(code="psp_unknown", message=message, psp_code=reason or None)
    await note_call(connection, row, call, TransferOutcome.UNKNOWN.value, None, failure)
    return await unknown(connection, row, **({} if next_check_at is None else {"next_check_at": next_check_at}))


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
