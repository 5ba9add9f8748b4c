"""Payments, refunds, disputes and payouts without progress, which the sweeper looks for."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.core.database import clock
from db.payment import payment as payments
from db.payout.payout import unanswered_since
from db.payout.transition import STUCK as PAYOUT_STUCK
from db.payout.transition import UNANSWERED as PAYOUT_UNANSWERED
from db.schema.dispute import dispute
from db.schema.payment import payment
from db.schema.payout import payout
from db.schema.refund import refund
from db.schema.tenant import operator_task
from domain.psp import ChargeOutcome
from domain.status import DISPUTE_ENDED, PAYOUT_ENDED, TERMINAL, RefundStatus, Status
from domain.unknown import TASK_KIND, waiting_for


async def without_progress(connection: AsyncConnection, *, after_s: float, after_id: str, limit: int) -> list[str]:
    """Open payments whose next look is overdue by `after_s`; by id, a page at a time.

    A workflow that lives writes down when it looks next, so one that waits for days is not asked about at each sweep.
    """
    due = func.now() - timedelta(seconds=after_s)
    rows = await connection.execute(
        select(payment.c.id)
        .where(
            payment.c.status.not_in([status.value for status in TERMINAL]),
            func.coalesce(payment.c.next_check_at, payment.c.updated_at) < due,
            payment.c.id > after_id,
        )
        .order_by(payment.c.id)
        .limit(limit)
    )
    return list(rows.scalars())


async def open_tasks_for_stuck(connection: AsyncConnection, *, after_s: float) -> int:
    """A task for a person where a payment is past its deadline or its next look, or EXECUTING, for longer than any step
    lasts; and where a refund has not been made, or a dispute or payout not been looked at, for that long."""
    due = func.now() - timedelta(seconds=after_s)
    stuck = await connection.execute(
        select(payment.c.id, payment.c.tenant_id, payment.c.status).where(
            payment.c.status.not_in([status.value for status in TERMINAL]),
            or_(
                payment.c.deadline_at < due,
                payment.c.next_check_at < due,
                and_(payment.c.status == Status.EXECUTING.value, payment.c.updated_at < due),
            ),
            ~_attended(payment.c.id),
        )
    )
    rows = stuck.all()
    for row in rows:
        kind, detail = await _held_up_by(connection, row.id)
        await task.open_task(connection, row.tenant_id, row.id, kind, detail)
    opened = len(rows) + await _unmade_refunds(connection, due)
    return opened + await _stuck_disputes(connection, due) + await _stuck_payouts(connection, due)


async def _held_up_by(connection: AsyncConnection, payment_id: str) -> tuple[str, str]:
    """Kind and detail of the task about a payment without progress: the PSP does not answer it, or nobody asks."""
    row = await payments.get(connection, payment_id)
    assert row is not None, "it was read just now"
    answer = row.charge.last_answer or {}
    is_asked = row.next_check_at is not None and row.next_check_at > await clock(connection)
    if is_asked and answer.get("outcome") == ChargeOutcome.UNKNOWN:
        return TASK_KIND, waiting_for(answer.get("reason"), row.charge.unknown_count, row.next_check_at)
    return "stuck", f"{row.status} and no step has moved it on"


async def _unmade_refunds(connection: AsyncConnection, due: ColumnElement[datetime]) -> int:
    """Tell a person of refunds that the PSP gives no answer about; a task that is open already is brought up to date.
    Returns how many were opened."""
    told = exists().where(
        operator_task.c.payment_id == refund.c.payment_id,
        operator_task.c.closed_at.is_(None),
        operator_task.c.kind == TASK_KIND,
    )
    unmade = await connection.execute(
        select(
            refund.c.tenant_id,
            refund.c.payment_id,
            refund.c.id,
            refund.c.failure,
            refund.c.next_check_at,
            told.label("told"),
        ).where(
            refund.c.status == RefundStatus.REQUESTED.value,
            refund.c.created_at < due,
            ~_attended(refund.c.payment_id, but=TASK_KIND),
        )
    )
    rows = unmade.all()
    for row in rows:
        again = f", the next by {row.next_check_at:%Y-%m-%d %H:%M:%S} UTC" if row.next_check_at else ""
        why = row.failure["message"] + again if row.failure else "not asked for yet"
        await task.open_task(connection, row.tenant_id, row.payment_id, TASK_KIND, f"Refund {row.id}: {why}")
    return sum(not row.told for row in rows)


def _attended(payment_id: ColumnElement[str], *, but: str = "") -> ColumnElement[bool]:
    """Tell whether a person was told of what holds up this payment, or its refund; tasks of the kind `but` aside."""
    return exists().where(
        operator_task.c.payment_id == payment_id,
        operator_task.c.closed_at.is_(None),
        operator_task.c.kind.not_in((*task.OTHER_QUESTIONS, but)),
    )


async def _stuck_disputes(connection: AsyncConnection, due: ColumnElement[datetime]) -> int:
    told = exists().where(
        operator_task.c.payment_id == dispute.c.payment_id,
        operator_task.c.kind == "dispute_stuck",
        operator_task.c.closed_at.is_(None),
    )
    stuck = await connection.execute(
        select(dispute.c.tenant_id, dispute.c.payment_id, dispute.c.id, dispute.c.status).where(
            dispute.c.status.not_in([status.value for status in DISPUTE_ENDED]), dispute.c.next_check_at < due, ~told
        )
    )
    rows = stuck.all()
    for row in rows:
        detail = f"Dispute {row.id} is {row.status} and nobody looks at it"
        await task.open_task(connection, row.tenant_id, row.payment_id, "dispute_stuck", detail)
    return len(rows)


async def _stuck_payouts(connection: AsyncConnection, due: ColumnElement[datetime]) -> int:
    told = exists().where(operator_task.c.object_id == payout.c.id, operator_task.c.closed_at.is_(None))
    stuck = await connection.execute(
        select(payout.c.tenant_id, payout.c.id, payout.c.status).where(
            payout.c.status.not_in(sorted(PAYOUT_ENDED)), payout.c.next_check_at < due, ~told
        )
    )
    rows = stuck.all()
    for row in rows:
        detail = f"Payout {row.id} is {row.status} and no step has moved it on"
        await task.open_task(connection, row.tenant_id, None, PAYOUT_STUCK, detail, object_id=row.id)
    return len(rows) + await _unanswered_payouts(connection, due)


async def _unanswered_payouts(connection: AsyncConnection, due: ColumnElement[datetime]) -> int:
    """Tell a person of payouts that the PSP gives no answer about; a task that is open already is brought up to date.
    Returns how many were opened."""
    opened = 0
    for row, call in await unanswered_since(connection, due):
        following = f", the next by {row.next_check_at:%Y-%m-%d %H:%M:%S} UTC" if row.next_check_at else ""
        why = call.failure.message if call.failure else "there is no answer"
        detail = f"The {call.call} of {row.id}: {why}{following}"
        if not await task.tell_again(connection, row.id, PAYOUT_UNANSWERED, detail):
            await task.open_task(connection, row.tenant_id, None, PAYOUT_UNANSWERED, detail, object_id=row.id)
            opened += 1
    return opened
