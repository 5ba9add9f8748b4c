"""Histories of workflows: replayed against today's code, and kept where a folder is named for them."""

import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from workers.registry import WORKFLOWS

HAPPY_EVENTS = 8
ALIKE_MAX = 2
FETCHED_MAX = 5
PROCESS = re.compile(r'"[0-9]+@[^"]+"')
"""How a worker names itself and its sticky queue: process id and host."""


def replayer() -> Replayer:
    """As workers run workflows."""
    runner = UnsandboxedWorkflowRunner()
    return Replayer(
        workflows=WORKFLOWS,
        data_converter=pydantic_data_converter,
        workflow_runner=runner,
        build_id="tests",  # without one, the code of every module that is loaded is read to make one
    )


async def replay_all(temporal: Client) -> None:
    """Whatever the tests of this run made of the workflows: crashes, cancels, lost messages; a few of each sequence of
    steps. Raises where a history does not fit the code that made it."""
    await replayer().replay_workflows(_different(temporal))


async def _different(temporal: Client) -> AsyncIterator[WorkflowHistory]:
    """By their steps."""
    seen: Counter[tuple[str, ...]] = Counter()
    async for history in _worth_it(temporal):
        shape = tuple(event_names(history))
        seen[shape] += 1
        if seen[shape] <= ALIKE_MAX:
            record(history)
            yield history


def event_names(history: WorkflowHistory) -> list[str]:
    """What happened, without when and with what."""
    return [EventType.Name(event.event_type) for event in history.events] + steps_of(history)


async def _worth_it(temporal: Client) -> AsyncIterator[WorkflowHistory]:
    """All but the happy ones and the sweeps that found nothing: those are each like the other, and stored. A few of
    each kind, end and length: a run of payouts leaves hundreds that differ in nothing but their ids."""
    seen: Counter[tuple[str, object, int]] = Counter()
    names = ", ".join(f"'{workflow.__temporal_workflow_definition.name}'" for workflow in WORKFLOWS)  # type: ignore[attr-defined]
    async for execution in temporal.list_workflows(f"WorkflowType IN ({names})"):
        alike = (execution.workflow_type, execution.status, execution.history_length)
        seen[alike] += 1
        happy = execution.status is not WorkflowExecutionStatus.RUNNING and execution.history_length <= HAPPY_EVENTS
        if not happy and seen[alike] <= FETCHED_MAX:
            yield await temporal.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()


def record(history: WorkflowHistory) -> None:
    """Keep one history per sequence of steps, where a folder is named for it."""
    folder = os.environ.get("PAYSAGA_RECORD_HISTORIES")
    if not folder:
        return
    steps: list[str] = []
    for step in steps_of(history):
        if not steps or steps[-1] != step:
            steps.append(step)
    if 0 < len(steps) <= 12:
        path = Path(folder) / f"{'.'.join(steps)}.json"
        if not path.exists():
            text = json.dumps(scrubbed(json.loads(history.to_json())), separators=(",", ":"))
            path.write_text(PROCESS.sub('"worker"', text))


def steps_of(history: WorkflowHistory) -> list[str]:
    """Activity types in order, local ones from their markers."""
    steps = []
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            steps.append(event.activity_task_scheduled_event_attributes.activity_type.name)
        elif event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
            data = event.marker_recorded_event_attributes.details.get("data")
            if data is not None and data.payloads:
                steps.append(json.loads(data.payloads[0].data)["activity_type"])
    return steps


def scrubbed(value: Any) -> Any:
    """Without the names of processes and the paths of the machine that made it."""
    if isinstance(value, dict):
        hidden = ("identity", "stackTrace", "binaryChecksum")
        return {name: "" if name in hidden else scrubbed(member) for name, member in value.items()}
    return [scrubbed(item) for item in value] if isinstance(value, list) else value
