"""Workflows that get nowhere: found, told of as dead letters, and started again from their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import audit_log, dead_letter, task
from db.core.database import Connection, Database
from db.dead_letter import NewLetter
from db.dispute import find as disputes
from db.hot import read
from db.payment import payment
from db.payout import payout
from db.reconciliation import run as reconciliation
from db.refund import find as refunds
from db.schema.base import PLATFORM_TENANT
from domain.dead_letter import LetterStatus, Source
from domain.errors import Conflict, NotFound
from domain.ids import is_ours
from domain.status import DISPUTE_ENDED
from services.command import Caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.troubles import Trouble
    from runtime.wiring import Runtime
    from runtime.workflow_client import WorkflowClient

FAILING = "workflow_failing"
_LENGTH_MAX = 200
_SWEEPER = "sweeper"


async def watch(database: Database, workflow_client: WorkflowClient) -> int:
    """Tell of each workflow that gets nowhere: a dead letter, and a task where it runs and its task keeps failing. End
    those of workflows that go on. Returns how many fail. Raises Unavailable."""
    found = await workflow_client.troubles()
    failing = {row.id: row for row in found if row.failing}

    async def write(connection: Connection) -> None:
        for row in await task.open_of_kind(connection, FAILING):
            if row.object_id not in failing:
                await task.close_one(connection, row.id, by=_SWEEPER, resolution="its workflow goes on")
        for workflow in failing.values():
            await _tell(connection, workflow)
        await _bury(connection, found)

    await database.run(write)
    return len(failing)


async def _tell(connection: Connection, workflow: Trouble) -> None:
    """A payment's own is shown with the payment; that of another database's payment is not ours."""
    noun, _, name = workflow.id.partition(":")
    payment_id = name if noun == "payment" else None
    if payment_id is not None and await payment.get(connection, payment_id) is None:
        return
    detail = f"The task of {workflow.id} fails at each try, so nothing moves it on and no message reaches it"
    tenant_id = workflow.tenant_id or PLATFORM_TENANT
    await task.open_task(connection, tenant_id, payment_id, FAILING, detail, object_id=workflow.id)


async def _bury(connection: Connection, found: Sequence[Trouble]) -> None:
    """A letter for each, and an end of those that are in no trouble any more. What has ended badly matters while its
    rows say that there is more to do."""
    dead = [row for row in found if await _matters(connection, row)]
    ids = {row.id for row in dead}
    over = [one.ref_id for one in await dead_letter.open_of(connection, Source.WORKFLOWS) if one.ref_id not in ids]
    await dead_letter.end(
        connection, Source.WORKFLOWS, over, LetterStatus.REPLAYED, _SWEEPER, "its workflow goes on, or has ended"
    )
    for row in dead:
        name = row.id.partition(":")[2]
        about = (row.tenant_id or PLATFORM_TENANT, Source.WORKFLOWS, row.id, name if is_ours(name) else None)
        letter = NewLetter(*about, row.error_class, row.error, row.attempts)
        await dead_letter.tell(connection, letter, row.since, goes_on=row.failing)


async def _matters(connection: Connection, row: Trouble) -> bool:
    noun, _, name = row.id.partition(":")
    match noun:
        case "payment":
            owner = await payment.get(connection, name)
            return owner is not None and (row.failing or owner.open)
        case "refund":
            refund = await refunds.anywhere(connection, name)
            return refund is not None and (row.failing or not refund.ended)
        case "dispute":
            dispute = await disputes.find(connection, None, name)
            return dispute is not None and (row.failing or dispute.status not in DISPUTE_ENDED)
        case "payout":
            out = await payout.find(connection, None, name)
            return out is not None and (row.failing or not out.ended)
        case "reconciliation":
            run = await reconciliation.find(connection, None, name)
            return run is not None and (row.failing or run["status"] not in ("COMPLETED", "FAILED"))
    # A schedule's next run does what this one has not; what a late charge has left is found by the sweeper.
    return row.failing


async def refuse_failing(workflow_client: WorkflowClient, workflow_id: str) -> None:
    """Raises Conflict `workflow_failing` where a message would reach nobody; Unavailable."""
    if await workflow_client.is_failing(workflow_id):
        detail = f"The task of {workflow_id} keeps failing, so nothing reaches it: it has to be started again."
        raise Conflict(detail, code=FAILING)


@dataclass(frozen=True)
class Restarted:
    """`started`: False where the sweeper or a schedule starts it."""

    workflow_id: str
    started: bool


async def restart(runtime: Runtime, caller: Caller, workflow_id: str) -> Restarted:
    """End a workflow whose task keeps failing, and start it again from its rows, which say how far it has come: what it
    has sent to the PSP is asked for under the same keys.

    Raises NotFound `workflow_not_found`; Conflict `workflow_not_failing`; Unavailable.
    """
    client = runtime.workflow_client
    known = len(workflow_id) <= _LENGTH_MAX and workflow_id.isprintable() and bool(workflow_id)
    if not known or not await client.is_running(workflow_id):
        raise NotFound("No workflow of this id runs.", code="workflow_not_found")
    if not await client.is_failing(workflow_id):
        raise Conflict(f"{workflow_id} runs, and its task does not fail.", code="workflow_not_failing")

    async def record(connection: Connection) -> None:
        await audit_log.record(connection, PLATFORM_TENANT, caller.actor, "workflow.restart", workflow_id, {})

    await runtime.database.run(record)
    started = await _begin_anew(runtime, caller.actor, workflow_id)

    async def close(connection: Connection) -> None:
        await dead_letter.end(connection, Source.WORKFLOWS, [workflow_id], LetterStatus.REPLAYED, caller.actor)

    await runtime.database.run(close)
    return Restarted(workflow_id, started)


async def take_up(runtime: Runtime, actor: str, workflow_id: str) -> None:
    """Start a workflow from its rows, in the place of one whose task keeps failing; one that goes on is left alone.
    Twice is as once. Raises Unavailable."""
    client = runtime.workflow_client
    if not await client.is_running(workflow_id):
        await _start(runtime, workflow_id)
    elif await client.is_failing(workflow_id):
        await _begin_anew(runtime, actor, workflow_id)


async def _begin_anew(runtime: Runtime, actor: str, workflow_id: str) -> bool:
    """True if it was started; else the sweeper or a schedule starts it."""
    await runtime.workflow_client.terminate(workflow_id, "restarted: the audit log says by whom")  # in plain there
    started = await _start(runtime, workflow_id)

    async def close(connection: Connection) -> None:
        for row in await task.open_of_kind(connection, FAILING):
            if row.object_id == workflow_id:
                await task.close_one(connection, row.id, by=actor, resolution="restarted")

    await runtime.database.run(close)
    return started


async def _start(runtime: Runtime, workflow_id: str) -> bool:
    """True if its noun has rows to start from. The sweeper finds what a late charge has left, and schedules go on."""
    client, database = runtime.workflow_client, runtime.database
    noun, _, name = workflow_id.partition(":")
    if noun == "payment":
        row = await read.payment(database, name)
        if row is not None and row.open:
            return await client.start_payment(client.input_of(row), row.checkout_id, again=True)
    if noun == "payout" and (out := await database.read(lambda c: payout.find(c, None, name))) is not None:
        await client.start_payout(out)
        return True
    if noun == "reconciliation" and (run := await database.read(lambda c: reconciliation.find(c, None, name))):
        from runtime.runs import start_stored_reconciliation  # a page that lists letters starts without Temporal's SDK

        await start_stored_reconciliation(runtime.temporal, runtime.settings, run)
        return True
    about = await database.read(lambda c: _of_payment(c, noun, name))
    owner = await read.payment(database, about) if about is not None else None
    if owner is None:
        return False
    await (client.start_refund(owner, name) if noun == "refund" else client.start_dispute(owner, name))
    return True


async def _of_payment(connection: Connection, noun: str, name: str) -> str | None:
    """The payment that a refund or dispute belongs to."""
    if noun == "refund":
        refund = await refunds.anywhere(connection, name)
        return refund.payment_id if refund is not None else None
    if noun == "dispute":
        dispute = await disputes.find(connection, None, name)
        return dispute.payment_id if dispute is not None else None
    return None
