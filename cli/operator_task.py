"""Operator task: TODO docstring."""

from datetime import UTC, datetime
from typing import Any

from cli.hints import CLOSED_BY_HAND, hint
from cli.refusals import refusals
from db import task
from db.core.database import Database
from db.payment import payment
from db.payout import payout
from db.reconciliation import discrepancy as reconciliation_discrepancy
from db.refund.find import unmade
from domain.card_data import require_text
from domain.reconciliation.reconciliation import TASK_KIND
from domain.status import PayoutStatus, Status
from embedded.errors import StackError

# --- tasks ---


async def close_task(database: Database, task_id: str, by: str, note: str) -> str:
    """Close what nothing closes by itself: a person has seen to it, and says how."""
    found = await database.read(lambda c: task.find(c, task_id)) if task_id.isprintable() else None
    if found is None:
        raise StackError(f"There is no task {task_id}: `paysaga tasks` lists what is open.")
    if found["closed_at"] is not None:
        return f"{task_id} was closed already, by {found['closed_by']}: {found['resolution']}."
    if found["kind"] not in CLOSED_BY_HAND and not await _left_behind(database, found):
        raise StackError(f"A task {found['kind']} is closed by what it asks for: {hint(found)}.")
    with refusals(task_id):
        require_text(note)
        closed = await database.run(lambda c: task.close_one(c, task_id, by=by, resolution=note))
    return f"{task_id} ({found['kind']}) is closed." if closed else f"{task_id} was closed already."


async def _left_behind(database: Database, found: dict[str, Any]) -> bool:
    """A question that answered itself: the refund was made after all, or the payment is not stuck any more."""
    if found["kind"].startswith("payout_"):
        return await _payout_goes_on(database, found["object_id"])
    if found["kind"] == TASK_KIND:
        return await _settled(database, found["object_id"])
    if found["payment_id"] is None:
        return True
    if found["kind"] == "refund_failed":
        return not await database.read(lambda c: unmade(c, found["payment_id"]))
    row = await database.read(lambda c: payment.get(c, found["payment_id"]))
    return found["kind"] == "stuck" and row is not None and row.status is not Status.EXECUTING


async def _settled(database: Database, discrepancy_id: str) -> bool:
    row = await database.read(lambda c: reconciliation_discrepancy.find(c, None, discrepancy_id))
    return row is None or not row.open


async def _payout_goes_on(database: Database, payout_id: str) -> bool:
    """It needs nobody any more, and somebody looks at it again."""
    row = await database.read(lambda c: payout.find(c, None, payout_id))
    if row is None or row.ended:
        return True
    looked_at = row.next_check_at is not None and row.next_check_at > datetime.now(UTC)
    return row.status is not PayoutStatus.NEEDS_ATTENTION and looked_at
