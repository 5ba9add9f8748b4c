"""The cost of payments, read from the machine, the database and Temporal itself; nothing here is calculated from
theory.

- CPU: the seconds of every process of a group, its children and those that have ended included.
- Write commits: how far PostgreSQL's transaction ids went; only what writes gets one. Exact.
- WAL: how far the write-ahead log went (`pg_current_wal_insert_lsn`), in bytes. Exact.
- Round trips and all commits: see `bench.statements`.
- History events and billable actions: counted in the histories of some of the payments.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import asyncpg
import psutil  # type: ignore[import-untyped]
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from embedded.errors import StackError

LOCAL_ACTIVITY_MARKER = "core_local_activity"

ACTIONS_ARE = (
    "1 for the start, 1 for all local activities of a workflow task together, 1 for each attempt of an activity,"
    " timer, signal, update and search-attribute upsert"
)


# --- processes ---


@dataclass(frozen=True)
class Processes:
    """The processes of a run by group; `trees` are those whose children count."""

    pids: Mapping[str, int]
    trees: frozenset[str] = frozenset({"postgres"})

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds of each group since its start."""
        found = {name: sum(map(_seconds, self._of(name, pid))) for name, pid in self.pids.items()}
        for name in self.trees & self.pids.keys():
            found[name] += _ended_children_seconds(psutil.Process(self.pids[name]))
        return found

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of each group; what processes of a group share is counted once."""
        found = {}
        for name, pid in self.pids.items():
            used = [info for process in self._of(name, pid) if (info := _memory(process)) is not None]
            shared = [getattr(info, "shared", 0) for info in used]
            found[name] = (sum(info.rss for info in used) - sum(shared) + max(shared, default=0)) / 1e6
        return found

    def _of(self, name: str, pid: int) -> list[psutil.Process]:
        try:
            root = psutil.Process(pid)
        except psutil.Error:
            raise StackError(f"{name} ended under the load: the measurement is void.") from None
        return [root, *root.children(recursive=True)] if name in self.trees else [root]


def _seconds(process: psutil.Process) -> float:
    """The seconds of one process, with its threads."""
    try:
        # The clock of a process by its id, in nanoseconds (clock_getcpuclockid of Linux); /proc counts in hundredths.
        return time.clock_gettime((~process.pid << 3) | 2)
    except OSError:
        pass
    try:
        times = process.cpu_times()
    except psutil.Error:  # it has just ended
        return 0.0
    return float(times.user + times.system)


def _ended_children_seconds(process: psutil.Process) -> float:
    """Those of its children that have ended, which are in the times of whoever waited for them."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0))


def _memory(process: psutil.Process) -> "psutil._pslinux.pmem | None":
    try:
        return process.memory_info()
    except psutil.Error:
        return None


def own_seconds() -> float:
    """CPU seconds of this process."""
    return time.process_time()


def machine_seconds() -> float:
    """CPU seconds of the whole machine since it was started, with those that its host gave to others."""
    times = psutil.cpu_times()
    more = ("nice", "irq", "softirq", "steal")
    return float(times.user + times.system + sum(getattr(times, name, 0.0) for name in more))


# --- PostgreSQL ---


@dataclass(frozen=True)
class Counters:
    """PostgreSQL's own counters; only their differences mean something."""

    writes: int
    wal_bytes: int

    def since(self, before: "Counters") -> "Counters":
        """The difference."""
        return Counters(self.writes - before.writes, self.wal_bytes - before.wal_bytes)


class CounterReader:
    """Reads the counters of the server."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, url: str) -> Self:
        return cls(await asyncpg.connect(url))

    async def close(self) -> None:
        await self._connection.close()

    async def read(self) -> Counters:
        row = await self._connection.fetchrow(
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS writes,"
            " pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes"
        )
        assert row is not None, "a SELECT without FROM has a row"
        return Counters(**dict(row))


# --- Temporal ---


@dataclass(frozen=True)
class Histories:
    """Events and billable actions of some workflows: the usual number (median) and the highest."""

    events: int
    events_max: int
    actions: int
    actions_max: int


async def read_histories(client: Client, workflow_ids: Sequence[str]) -> Histories | None:
    """None where there is no workflow to look at."""
    if not workflow_ids:
        return None
    counted = [await _count(client, workflow_id) for workflow_id in workflow_ids]
    events, actions = sorted(e for e, _ in counted), sorted(a for _, a in counted)
    middle = len(counted) // 2
    return Histories(events[middle], events[-1], actions[middle], actions[-1])


async def _count(client: Client, workflow_id: str) -> tuple[int, int]:
    handle = client.get_workflow_handle(workflow_id)
    await handle.result()  # the answer is a moment ahead of the workflow's end
    history = await handle.fetch_history()
    return len(history.events), billable_actions(history.events)


_ONE_EACH = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
    }
)


def billable_actions(events: Iterable[HistoryEvent]) -> int:
    """As ACTIONS_ARE says."""
    count, tasks_with_local_activities = 0, set()
    for event in events:
        if event.event_type in _ONE_EACH:
            count += 1
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            count += event.activity_task_started_event_attributes.attempt
        elif event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
            marker = event.marker_recorded_event_attributes
            if marker.marker_name == LOCAL_ACTIVITY_MARKER:
                tasks_with_local_activities.add(marker.workflow_task_completed_event_id)
    return count + len(tasks_with_local_activities)
