"""What operators do from a terminal: steer a payment, hand out API keys, have the sweeper look now.

Each is written to the audit log with the name of whoever did it. A payment is steered through its workflow, which is
the one that writes to it; these commands only tell it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from temporalio.client import (
    ScheduleActionExecutionStartWorkflow,
    ScheduleHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from config.settings import Settings
from db import api_key, operator, payment, progress, refund, task
from db.database import Database
from db.records import Payment, Refund
from domain.errors import Conflict, Unavailable
from domain.ids import late_charge_workflow_id, payment_workflow_id, refund_workflow_id
from domain.payment import CancelRequest, CancelStep, Decision, Nudge, Resolution, SweepReport
from domain.status import RefundStatus
from stack.errors import StackError
from workers.schedules import schedule_id
from workers.services import Services, SettingMissing, open_services

_DECISION_TIMEOUT_S = 20.0
_SWEEP_TIMEOUT_S = 30.0
_LOOK_S = 0.2


@asynccontextmanager
async def services_of(settings: Settings) -> AsyncIterator[Services]:
    """Database and Temporal of a Paysaga. Raises StackError with one sentence when one of them is not there."""
    try:
        async with open_services(settings, application="paysaga-cli") as services:
            yield services
    except SettingMissing as error:
        raise StackError(str(error)) from error
    except Unavailable as error:
        raise StackError(f"{error.detail} Is the stack running?") from error
    except (RPCError, RuntimeError) as error:
        raise StackError("Temporal does not answer: is the stack running? See PAYSAGA_TEMPORAL_ADDRESS.") from error


@asynccontextmanager
async def database_of(settings: Settings, *, timeout_s: float = 3.0) -> AsyncIterator[Database]:
    """The database alone, for what has to work while Temporal is down. `timeout_s` bounds each statement."""
    if settings.database_url is None:
        raise StackError("No stack runs here, and PAYSAGA_DATABASE_URL is not set: start one with `make run`.")
    url = settings.database_url.get_secret_value()
    database = Database(url, pool_size=0, timeout_s=timeout_s, application="paysaga-cli")
    try:
        yield database
    except Unavailable as error:
        raise StackError("The database does not answer: is the stack running? See PAYSAGA_DATABASE_URL.") from error
    finally:
        await database.close()


async def find_payment(database: Database, name: str) -> Payment:
    """By our ids or the client's own. Raises StackError where there is none, or more than one tenant has it."""
    found = await database.read(lambda c: operator.find_payments(c, name)) if name.isprintable() else []
    if not found:
        raise StackError(f"There is no payment {name}.")
    if len({tenant for _, tenant in found}) > 1:
        ids = ", ".join(f"{payment_id} ({tenant})" for payment_id, tenant in found)
        raise StackError(f"{name} is the name of several tenants' payments: {ids}. Use the payment's own id.")
    row = await database.read(lambda c: payment.get(c, found[0][0]))
    if row is None:
        raise StackError(f"There is no payment {name}.")
    return row


# --- payments ---


async def nudge_payment(services: Services, name: str) -> str:
    """Have the workflow ask the PSP now. One that is missing is started again from the rows."""
    row = await find_payment(services.database, name)
    if not row.open:
        raise StackError(f"{row.id} is {row.status}: there is nothing to look at any more.")
    running = await services.starter.is_running(payment_workflow_id(row.id))
    # In its first task a signal would make the workflow run twice.
    if running and not progress.listens(row):
        return f"{row.id} is {row.status}: it is on its way, and needs no nudge."
    await services.starter.tell(row, Nudge(reason="operator"))
    if running:
        return f"{row.id} was {row.status}: the PSP is asked now."
    return f"{row.id} is {row.status} and had no workflow: it was started again and goes on from its rows."


async def cancel_payment(services: Services, name: str, by: str) -> str:
    """Cancel wins until the settlement commits. Raises StackError when it is too late."""
    found = await find_payment(services.database, name)
    step = CancelStep(payment_id=found.id, by=by, at=datetime.now(UTC))

    async def mark(connection: Any) -> Payment:
        row = await progress.request_cancel(connection, step)
        if row.open:
            await task.audit(connection, row.tenant_id, by, "payment.cancel", row.id, {"status": row.status.value})
        return row

    try:
        row = await services.database.run(mark)
    except Conflict as error:
        raise StackError(f"{found.id} cannot be cancelled: {error.detail}") from error
    if not row.open:
        return f"{row.id} is {row.status} already."
    if progress.listens(row):  # otherwise its next step reads the mark on the row
        await services.starter.tell(row, CancelRequest(by=by))
    return f"{row.id} was {row.status}: it is being cancelled, and refunded if it was charged."


async def resolve_payment(services: Services, name: str, resolution: Resolution) -> str:
    """Hand a person's decision to the workflow that waits for it. Raises StackError with the reason if it refuses."""
    if resolution.decision is Decision.REFERENCE and not resolution.reference:
        raise StackError("The decision `reference` needs the PSP's object: --reference pi_…")
    row = await find_payment(services.database, name)
    workflow_id = await _decider(services, row)
    otherwise = f"{row.id} is {row.status} and no workflow waits for a decision about it: see `paysaga payments show`."
    answer = await hand_over(services, workflow_id, resolution, about=row.id, otherwise=otherwise)
    return f"{row.id}: {answer}."


async def _decider(services: Services, row: Payment) -> str:
    """The workflow that waits for the decision. Of a payment that has ended, what is left to decide is a refund: of its
    late charge, or one that came back or that the PSP does not know."""
    if row.open:
        return payment_workflow_id(row.id)
    unmade = await services.database.read(lambda c: refund.unmade(c, row.id))
    waiting = [r for r in unmade if r.status in (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)]
    if len(waiting) > 1:
        ids = ", ".join(r.id for r in waiting)
        raise StackError(f"{row.id} has several refunds to decide about: {ids}. Use `paysaga refunds resolve`.")
    return await refund_carer(services, waiting[0]) if waiting else late_charge_workflow_id(row.charge.id)


async def refund_carer(services: Services, row: Refund) -> str:
    """The workflow that sees to a refund of a payment that has ended: its own, or that of the late charge it undoes."""
    own, late = refund_workflow_id(row.id), late_charge_workflow_id(row.charge_id)
    if row.undoes_charge and not await services.starter.is_running(own):
        return late if await services.starter.is_running(late) else own
    return own


async def hand_over(services: Services, workflow_id: str, resolution: Resolution, *, about: str, otherwise: str) -> str:
    """Tell the workflow what was decided; its answer. Raises StackError with its reason if it refuses, `otherwise` if
    it does not run."""
    try:
        async with asyncio.timeout(_DECISION_TIMEOUT_S):
            return await services.starter.resolve(workflow_id, resolution)
    except WorkflowUpdateFailedError as error:
        raise StackError(f"{about}: {getattr(error.cause, 'message', error.cause)}") from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise StackError(otherwise) from error
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        why = f"no worker has acted on the decision within {_DECISION_TIMEOUT_S:.0f} s. Is one running? See its log"
        raise StackError(f"{about}: {why}.") from error


# --- API keys ---


async def create_key(database: Database, tenant: str, name: str, scopes: frozenset[str], by: str) -> tuple[str, str]:
    """(id, secret). The secret is nowhere else: it is stored as its hash alone."""
    secret = api_key.new_secret()

    async def work(connection: Any) -> str:
        key_id = await api_key.create(connection, tenant, name, secret, scopes or api_key.SCOPES)
        detail = {"name": name, "scopes": sorted(scopes or api_key.SCOPES)}
        await task.audit(connection, tenant, by, "api_key.create", key_id, detail)
        return key_id

    try:
        return await database.run(work), secret
    except ValueError as error:
        raise StackError(f"{error}. There are: {', '.join(sorted(api_key.SCOPES))}.") from error


async def revoke_key(database: Database, key_id: str, by: str) -> str:
    """Processes that have just seen it accept it for some seconds more."""

    async def work(connection: Any) -> bool | None:
        tenant = await operator.tenant_of_key(connection, key_id)
        if tenant is None:
            return None
        revoked = await api_key.revoke(connection, key_id)
        if revoked:
            await task.audit(connection, tenant, by, "api_key.revoke", key_id, {})
        return revoked

    revoked = await database.run(work)
    if revoked is None:
        raise StackError(f"There is no API key {key_id}: `paysaga keys list` shows them.")
    return f"{key_id} is revoked." if revoked else f"{key_id} was revoked already."


# --- the sweeper ---


async def sweep_now(services: Services) -> str:
    """Trigger the sweeper's schedule, and say what that run found."""
    handle = services.temporal.get_schedule_handle(schedule_id(services.settings.temporal_task_queue, "sweep"))
    try:
        known = await _actions(handle)
        await handle.trigger()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise StackError("There is no sweep schedule yet: a worker creates it when it starts.") from error
    try:
        async with asyncio.timeout(_SWEEP_TIMEOUT_S):
            workflow_id, run_id = await _next_action(handle, known)
            run = services.temporal.get_workflow_handle(workflow_id, run_id=run_id, result_type=SweepReport)
            report = await run.result()
    except TimeoutError:
        return "The sweep was asked for, and has not ended yet: see the Temporal UI."
    return (
        f"Swept: {report.restarted} started again, {report.nudged} nudged, "
        f"{report.late_charges} late charges, {report.refunds} refunds, {report.disputes} disputes, "
        f"{report.payouts} payouts, {report.reconciliations} reconciliations, {report.tasks} tasks opened."
    )


async def _next_action(handle: ScheduleHandle, known: set[tuple[str, str]]) -> tuple[str, str]:
    while True:
        new = await _actions(handle) - known
        if new:
            return new.pop()
        await asyncio.sleep(_LOOK_S)


async def _actions(handle: ScheduleHandle) -> set[tuple[str, str]]:
    """(workflow id, run id) of the schedule's latest runs."""
    info = (await handle.describe()).info
    started = [done.action for done in info.recent_actions]
    return {
        (action.workflow_id, action.first_execution_run_id)
        for action in started
        if isinstance(action, ScheduleActionExecutionStartWorkflow)
    }
