"""The sweeper, asked to look now."""

import asyncio

from temporalio.client import ScheduleActionExecutionStartWorkflow, ScheduleHandle
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Conflict, Unavailable
from domain.sweep import SweepReport
from runtime.runs import schedule_id
from runtime.wiring import Runtime

_SWEEP_TIMEOUT_S = 30.0
_LOOK_S = 0.2


async def sweep_now(runtime: Runtime) -> SweepReport | None:
    """Trigger the sweeper's schedule; what that run found, None if it takes longer than 30 s.

    Raises Conflict `sweep_not_scheduled`; Unavailable.
    """
    handle = runtime.temporal.get_schedule_handle(schedule_id(runtime.settings.temporal_task_queue, "sweep"))
    try:
        known = await _actions(handle)
        await handle.trigger()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise Unavailable("Temporal does not answer.") from error
        detail = "There is no sweep schedule yet: a worker creates it when it starts."
        raise Conflict(detail, code="sweep_not_scheduled") from error
    try:
        async with asyncio.timeout(_SWEEP_TIMEOUT_S):
            workflow_id, run_id = await _next_action(handle, known)
            run = runtime.temporal.get_workflow_handle(workflow_id, run_id=run_id, result_type=SweepReport)
            report: SweepReport = await run.result()
            return report
    except TimeoutError:
        return None


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
