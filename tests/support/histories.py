"""Histories of workflows: replayed against today's code, and kept where a folder is named for them."""

import asyncio
import json
import os
import re
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from config.settings import Settings
from runtime.temporal import connect
from workers.registry import WORKFLOWS
from workers.worker import _runner

PROCESS = re.compile(r'"[0-9]+@[^"]+"')
"""How a worker names itself and its sticky queue: process id and host."""


def replayer(*, strict: bool = False) -> Replayer:
    """As workers run workflows; or as those of the tests without a cache do, in Temporal's strict sandbox."""
    return Replayer(
        workflows=WORKFLOWS,
        data_converter=pydantic_data_converter,
        workflow_runner=_runner(strict=strict),
        build_id="tests",  # without one, the code of every module that is loaded is read to make one
    )


async def replay_all(temporal: Client, part: int = 0, parts: int = 1) -> None:
    """Whatever the tests of this run made of the workflows: crashes, cancels, lost messages; every sequence of events
    there is. Raises where a history does not fit the code that made it. `part` of `parts`: of those whose id falls to
    it, so that several processes share the work."""
    await replayer(strict=True).replay_workflows(_different(temporal, part, parts))


async def _different(temporal: Client, part: int, parts: int) -> AsyncIterator[WorkflowHistory]:
    """By what happened in them."""
    seen: set[tuple[str, ...]] = set()
    names = ", ".join(f"'{workflow.__temporal_workflow_definition.name}'" for workflow in WORKFLOWS)  # type: ignore[attr-defined]
    async for execution in temporal.list_workflows(f"WorkflowType IN ({names})"):
        if zlib.crc32(execution.id.encode()) % parts != part:
            continue
        history = await temporal.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        shape = (execution.workflow_type, *event_names(history))
        if shape not in seen:
            seen.add(shape)
            record(history)
            yield history


def event_names(history: WorkflowHistory) -> list[str]:
    """What happened, without when and with what."""
    signals = [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    ]
    return [EventType.Name(event.event_type) for event in history.events] + signals + steps_of(history)


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


async def _main(part: int, parts: int) -> None:
    await replay_all(await connect(Settings()), part, parts)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
    os._exit(0)  # the interpreter's own end may come before that of the SDK's threads, which then bring it down
