"""Operator sweep: TODO docstring."""

import asyncio

from temporalio.client import (
    ScheduleActionExecutionStartWorkflow,
    ScheduleHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from domain.sweep import SweepReport
from embedded.errors import StackError
from runtime.wiring import Runtime
from workers.schedules import schedule_id

_SWEEP_TIMEOUT_S = 30.0
_LOOK_S = 0.2


# --- the sweeper ---


async def sweep_now(runtime: Runtime) -> str:
    """Trigger the sweeper's schedule, and say what that run found."""
    handle = runtime.temporal.get_schedule_handle(schedule_id(runtime.settings.temporal_task_queue, "sweep"))
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
            run = runtime.temporal.get_workflow_handle(workflow_id, run_id=run_id, result_type=SweepReport)
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
