"""The replay gate: today's workflows against yesterday's histories, and against every history of this run.

A step that was renamed, removed, added or moved breaks payments that are under way; it breaks here first. When a change
is meant (behind `workflow.patched`), the histories stay and new ones are added:
`PAYSAGA_RECORD_HISTORIES=tests/replay/histories make test`.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from workers.worker import WORKFLOWS

HISTORIES = Path(__file__).parent / "histories"
STORED = sorted(HISTORIES.glob("*.json"))


HAPPY_EVENTS = 8
PROCESS = re.compile(r'"[0-9]+@[^"]+"')
"""How a worker names itself and its sticky queue: process id and host."""


def replayer() -> Replayer:
    return Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_stored_histories_replay(path: Path) -> None:
    history = WorkflowHistory.from_json(f"stored-{path.stem}", path.read_text())
    await replayer().replay_workflow(history)


def test_every_path_is_stored() -> None:
    """The gate is as good as its histories: these steps must be in one of them."""
    seen = {step for path in STORED for step in path.stem.split(".")}
    assert {
        "charge_once", "charge_until_known", "check_charge", "void_charge", "settle", "rest", "begin_compensation",
        "refund_until_known", "check_refund", "book_refund", "hold", "close", "await_confirmation",
        "close_unconfirmed", "request_cancel", "record_resolution", "begin_late_charge", "sweep_payments",
    } <= seen  # fmt: skip


async def test_every_history_of_this_run_replays(paysaga: Deployment) -> None:
    """Whatever the tests before made of the workflows: crashes, cancels, lost messages."""
    shop = await paysaga.shop("replay")
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)).json()["status"] == "CANCELLED"

    async def listed() -> list[WorkflowHistory]:  # Temporal lists a workflow a moment after it has ended
        return [history async for history in ended(paysaga)]

    for history in await eventually(listed, what="a history to replay"):
        await replayer().replay_workflow(history)
        record(history)


async def ended(paysaga: Deployment) -> AsyncIterator[WorkflowHistory]:
    """All but the happy ones and the sweeps that found nothing: those are each like the other, and stored."""
    names = ", ".join(f"'{workflow.__temporal_workflow_definition.name}'" for workflow in WORKFLOWS)  # type: ignore[attr-defined]
    async for execution in paysaga.temporal.list_workflows(f"WorkflowType IN ({names})"):
        if execution.status is WorkflowExecutionStatus.RUNNING or execution.history_length > HAPPY_EVENTS:
            yield await paysaga.temporal.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()


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
