"""Workflows of ours that get nowhere: their task fails again and again, or they have ended badly several times."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.client import WorkflowExecution as Listed
from temporalio.client import WorkflowExecutionStatus as Status
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from runtime.search_attributes import TENANT

_PROBLEMS = SearchAttributeKey.for_keyword_list("TemporalReportedProblems")
"""Set by the server on a workflow whose task failed several times in a row (five; here two: `embedded.temporal`), until
one succeeds."""
_FAILS = f"{_PROBLEMS.name} IN ('category=WorkflowTaskFailed')"

_ENDS_MAX = 3
"""Bad ends after which a workflow is told of: after one or two the sweeper starts it again, and that is all."""
_ENDS_SINCE = timedelta(days=1)
_LOOKED_AT_MAX = 2_000
_EVENTS = 20

_BAD: Mapping[Status, str] = {
    Status.FAILED: "failed",
    Status.TERMINATED: "terminated",
    Status.TIMED_OUT: "timed_out",
}
"""Bad end → the error class of its dead letter."""


class Trouble(NamedTuple):
    """`tenant_id`: None for what is of no tenant, a schedule's. `error` names types alone: what an error says is
    encrypted in Temporal, and is read in its UI. `since`: when it began, or last ended badly. `failing`: it runs, and
    its task fails at each try."""

    id: str
    tenant_id: str | None
    error_class: str
    error: str
    attempts: int
    since: datetime
    failing: bool


def is_failing(workflow: WorkflowExecutionDescription) -> bool:
    """Whether its task has failed, or was lost, and is tried again. The attempts alone do not say it: a message that
    comes during one lets the server count from one again."""
    attempt = workflow.raw_description.pending_workflow_task.attempt
    return attempt > 1 or workflow.typed_search_attributes.get(_PROBLEMS) is not None


async def find(client: Client, task_queue: str) -> list[Trouble]:
    """Raises what the client raises when the server does not answer."""
    ours = f"TaskQueue = '{task_queue}' AND "
    found = [one async for one in _failing(client, ours)]
    return found + [one async for one in _ended_badly(client, ours)]


async def _failing(client: Client, ours: str) -> AsyncIterator[Trouble]:
    """Those whose task fails at each try, by what Temporal marks: an error in the code, or what the history holds,
    stops them, and no message reaches them."""
    try:
        marked = [one async for one in client.list_workflows(f"{ours}ExecutionStatus = 'Running' AND {_FAILS}")]
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return  # a server older than the mark
    for one in marked:
        found = await client.get_workflow_handle(one.id).describe()
        if found.status is Status.RUNNING and is_failing(found):
            attempts = found.raw_description.pending_workflow_task.attempt
            why = f"its task fails at each try: {await _last_failure(client, found)}"
            yield Trouble(one.id, _tenant(one), "task_failing", why, attempts, found.start_time, failing=True)


async def _ended_badly(client: Client, ours: str) -> AsyncIterator[Trouble]:
    """Those that ended badly several times within a day, and have not ended well since. The sweeper starts them again
    and again, so that most of them run."""
    since = datetime.now(UTC) - _ENDS_SINCE
    query = (
        f"{ours}ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut') AND CloseTime > '{since:%Y-%m-%dT%H:%M:%SZ}'"
    )
    ends: dict[str, list[Listed]] = defaultdict(list)
    async for one in client.list_workflows(query, limit=_LOOKED_AT_MAX):
        ends[one.id].append(one)
    for workflow_id, runs in ends.items():
        if len(runs) < _ENDS_MAX:
            continue
        now = await client.get_workflow_handle(workflow_id).describe()
        if now.status is not Status.COMPLETED:
            last = max(runs, key=lambda run: run.close_time or since)
            assert last.status is not None, "it was asked for"
            why = f"it has ended badly {len(runs)} times: {await _last_failure(client, last)}"
            yield Trouble(
                workflow_id, _tenant(last), _BAD[last.status], why, len(runs), last.close_time or since, failing=False
            )


def _tenant(one: Listed) -> str | None:
    return one.typed_search_attributes.get(TENANT)


async def _last_failure(client: Client, one: Listed) -> str:
    """The last failure in a run's history, by its types."""
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=one.id, run_id=one.run_id),
        maximum_page_size=_EVENTS,
    )
    history = (await client.workflow_service.get_workflow_execution_history_reverse(request)).history
    return next((said for event in history.events if (said := _said(event))), "no failure is in its last events")


def _said(event: HistoryEvent) -> str:
    kind = event.WhichOneof("attributes")
    match kind:
        case "workflow_task_failed_event_attributes":
            return _types(event.workflow_task_failed_event_attributes.failure)
        case "workflow_execution_failed_event_attributes":
            return _types(event.workflow_execution_failed_event_attributes.failure)
        case "workflow_execution_terminated_event_attributes":
            return "terminated by a person or the server"
        case "workflow_execution_timed_out_event_attributes":
            return "timed out"
    return ""


def _types(failure: Failure) -> str:
    """Such as `activity settle, IntegrityError`."""
    names = []
    while True:
        if failure.HasField("activity_failure_info"):
            names.append(f"activity {failure.activity_failure_info.activity_type.name}")
        if failure.HasField("application_failure_info"):
            names.append(failure.application_failure_info.type)
        if not failure.HasField("cause"):
            return ", ".join(name for name in names if name) or "an error without a type"
        failure = failure.cause
