"""Histories of workflows: replayed against today's code, and kept where a folder is named for them."""

import asyncio
import hashlib
import json
import os
import re
import sys
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import Replayer

from config.settings import Settings
from runtime.temporal import connect
from runtime.wiring import keyring_of
from workers.registry import WORKFLOWS
from workers.worker import _runner

_FETCHED_AT_ONCE = 16

PROCESS = re.compile(r'"[0-9]+@[^"]+"')
"""How a worker names itself and its sticky queue: process id and host."""


def replayer(converter: DataConverter, *, strict: bool = False) -> Replayer:
    """As workers run workflows; or as those of the tests without a cache do, in Temporal's strict sandbox."""
    return Replayer(
        workflows=WORKFLOWS,
        data_converter=converter,
        workflow_runner=_runner(strict=strict),
        build_id="tests",  # without one, the code of every module that is loaded is read to make one
    )


async def replay_all(temporal: Client, seen: Path, part: int = 0, parts: int = 1) -> None:
    """Whatever the tests of this run made of the workflows: crashes, cancels, lost messages; every sequence of events
    there is. Raises where a history does not fit the code that made it. `part` of `parts`: of those whose id falls to
    it, so that several processes share the work; in the folder `seen` each leaves word of what it replays."""
    await replayer(temporal.data_converter, strict=True).replay_workflows(_different(temporal, seen, part, parts))


async def _different(temporal: Client, seen: Path, part: int, parts: int) -> AsyncIterator[WorkflowHistory]:
    """By what happened in them."""
    names = ", ".join(f"'{workflow.__temporal_workflow_definition.name}'" for workflow in WORKFLOWS)  # type: ignore[attr-defined]
    found = [execution async for execution in temporal.list_workflows(f"WorkflowType IN ({names})")]
    ours = [execution for execution in found if zlib.crc32(execution.id.encode()) % parts == part]
    for at in range(0, len(ours), _FETCHED_AT_ONCE):
        some = ours[at : at + _FETCHED_AT_ONCE]
        handles = [temporal.get_workflow_handle(one.id, run_id=one.run_id) for one in some]
        histories = await asyncio.gather(*(handle.fetch_history() for handle in handles))
        for execution, history in zip(some, histories, strict=True):
            if _is_first(seen, (str(execution.workflow_type), *event_names(history))):
                await record(history, temporal.data_converter)
                yield history


def _is_first(seen: Path, happened: Iterable[str]) -> bool:
    """Whether neither this process nor another has come upon the same."""
    try:
        (seen / hashlib.sha256("\0".join(happened).encode()).hexdigest()).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def event_names(history: WorkflowHistory) -> list[str]:
    """What happened, without when and with what."""
    signals = [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    ]
    return [EventType.Name(event.event_type) for event in history.events] + signals + steps_of(history)


async def record(history: WorkflowHistory, converter: DataConverter) -> None:
    """Keep one history per sequence of steps, decrypted, where a folder is named for it."""
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
            plain = await decrypted(history, converter)
            text = json.dumps(scrubbed(json.loads(plain.to_json())), separators=(",", ":"))
            path.write_text(PROCESS.sub('"worker"', text))


async def decrypted(history: WorkflowHistory, converter: DataConverter) -> WorkflowHistory:
    """The same as people read it."""
    assert converter.payload_codec is not None, "of our own client"
    copies = []
    for event in history.events:
        copy = HistoryEvent()
        copy.CopyFrom(event)
        for payload in payloads_of(copy):
            (plain,) = await converter.payload_codec.decode([payload])
            payload.CopyFrom(plain)
        copies.append(copy)
    return WorkflowHistory(history.workflow_id, copies)


def payloads_of(message: Message) -> Iterator[Payload]:
    """Every payload in a message, wherever it lies."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if isinstance(value, Message):
            parts: Iterable[Any] = [value]
        else:  # a map or a list
            parts = value.values() if hasattr(value, "values") else value
        for part in parts:
            if isinstance(part, Message):
                yield from payloads_of(part)


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


async def _main(part: int, parts: int, seen: Path) -> None:
    settings = Settings()
    await replay_all(await connect(settings, keyring_of(settings)), seen, part, parts)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
    os._exit(0)  # the interpreter's own end may come before that of the SDK's threads, which then bring it down
