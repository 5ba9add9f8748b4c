"""Tasks for persons: closing what nothing closes by itself."""

from dataclasses import dataclass
from datetime import UTC, datetime

from db import audit_log, task
from db.core.database import Connection, Database
from db.hot import read
from db.payout import payout
from db.reconciliation import discrepancy
from db.refund import find as refunds
from db.task import Task
from domain.errors import Conflict, NotFound
from domain.limits import Note
from domain.reconciliation.reconciliation import TASK_KIND
from domain.status import PayoutStatus, Status
from services.command import Caller, check


@dataclass(frozen=True)
class Closed:
    """`now` False: it was closed before, as `task` says."""

    task: Task
    now: bool


class ClosedByItsAnswer(Conflict):
    """`task_not_closable`: the task is closed by what it asks for."""

    def __init__(self, task: Task) -> None:
        super().__init__(f"A task {task.kind} is closed by what it asks for.", code="task_not_closable")
        self.task = task


async def close(database: Database, caller: Caller, task_id: str, note: str) -> Closed:
    """Close a task that a person has seen to; `note` says how.

    Raises NotFound `task_not_found`; ClosedByItsAnswer; Unprocessable `field_invalid`, `text_invalid`,
    `card_data_forbidden`.
    """
    found = await database.read(lambda c: task.find(c, task_id)) if task_id.isprintable() else None
    if found is None:
        raise NotFound(f"There is no task {task_id}.", code="task_not_found")
    if found.closed_at is not None:
        return Closed(found, now=False)
    if found.kind not in task.CLOSED_BY_HAND and not await _has_answered_itself(database, found):
        raise ClosedByItsAnswer(found)
    check(Note, note, "note")

    async def work(connection: Connection) -> Task | None:
        closed = await task.close_one(connection, task_id, by=caller.actor, resolution=note)
        if closed is not None:
            about = {"payment": closed.payment_id} if closed.object_id is None else {"object": closed.object_id}
            detail = {"kind": closed.kind, **about, "note": note}
            await audit_log.record(connection, closed.tenant_id, caller.actor, "task.close", task_id, detail)
        return closed

    closed = await database.run(work)
    if closed is not None:
        return Closed(closed, now=True)
    meanwhile = await database.read(lambda c: task.find(c, task_id))
    return Closed(meanwhile or found, now=False)


async def _has_answered_itself(database: Database, found: Task) -> bool:
    """The refund was made after all, the payment is not stuck any more, or the like."""
    if found.kind.startswith("payout_"):
        return found.object_id is None or await _payout_goes_on(database, found.object_id)
    if found.kind == TASK_KIND:
        return found.object_id is None or await _discrepancy_is_settled(database, found.object_id)
    payment_id = found.payment_id
    if payment_id is None:
        return True
    if found.kind == "refund_failed":
        return not await database.read(lambda c: refunds.unmade(c, payment_id))
    row = await read.payment(database, payment_id)
    return found.kind == "stuck" and row is not None and row.status is not Status.EXECUTING


async def _discrepancy_is_settled(database: Database, discrepancy_id: str) -> bool:
    row = await database.read(lambda c: discrepancy.find(c, None, discrepancy_id))
    return row is None or not row.open


async def _payout_goes_on(database: Database, payout_id: str) -> bool:
    """It needs nobody any more, and somebody looks at it again."""
    row = await database.read(lambda c: payout.find(c, None, payout_id))
    if row is None or row.ended:
        return True
    looked_at = row.next_check_at is not None and row.next_check_at > datetime.now(UTC)
    return row.status is not PayoutStatus.NEEDS_ATTENTION and looked_at
