"""The cost of payments, read from the machine, the database and Temporal itself; nothing here is calculated from
theory.

- CPU: the seconds of every process of a group, its children and those that have ended included.
- Write transactions: how far PostgreSQL's transaction ids went; only what writes gets one. Exact.
- All transactions: `pg_stat_database.xact_commit`. A statement outside a transaction is one too. Connections publish
  it about once a second, so it is read while the load is steady: a few percent are noise.
- WAL: how far the write-ahead log went, in bytes. Exact.
- History events and billable actions: counted in the histories of some of the payments.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import asyncpg
import psutil  # type: ignore[import-untyped]
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from domain.ids import payment_workflow_id
from embedded.errors import StackError
from embedded.stack import DATABASE, EmbeddedStack

GROUPS = ("api", "worker", "temporal", "postgres", "sandbox")
LOCAL_ACTIVITY_MARKER = "core_local_activity"

ACTIONS_ARE = (
    "1 for the start, 1 for all local activities of a workflow task together, 1 for each attempt of an activity,"
    " timer, signal, update and search-attribute upsert"
)


# --- CPU ---


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of each group of processes since they were started."""

    pids: Mapping[str, int]
    seconds: Mapping[str, float]

    @classmethod
    def of(cls, stack: EmbeddedStack) -> Self:
        pids = {name: stack.pid_of(name) for name in GROUPS}
        return cls(pids, {name: _tree_seconds(pid) for name, pid in pids.items()})

    def since(self, before: "Cpu") -> dict[str, float]:
        """Raises StackError if a process was started anew in between: nothing that was measured then means much."""
        for name, pid in self.pids.items():
            if before.pids[name] != pid:
                raise StackError(f"{name} died under the load and was started again: the measurement is void.")
        return {name: seconds - before.seconds[name] for name, seconds in self.seconds.items()}


def _tree_seconds(pid: int) -> float:
    """A process with its descendants: those that have ended are in the times of whoever waited for them."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        total += times.user + times.system
        total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


# --- PostgreSQL ---


@dataclass(frozen=True)
class Counters:
    """PostgreSQL's own counters; only their differences mean something."""

    transactions: int
    writes: int
    wal_bytes: int

    def since(self, before: "Counters") -> "Counters":
        return Counters(
            self.transactions - before.transactions, self.writes - before.writes, self.wal_bytes - before.wal_bytes
        )


class CounterReader:
    """Reads the counters from another database, so that reading them is not counted."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, stack: EmbeddedStack) -> Self:
        return cls(await asyncpg.connect(stack.postgres.url("postgres")))

    async def close(self) -> None:
        await self._connection.close()

    async def read(self) -> Counters:
        row = await self._connection.fetchrow(
            "SELECT xact_commit AS transactions, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS writes,"
            " pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes"
            " FROM pg_stat_database WHERE datname = $1",
            DATABASE,
        )
        assert row is not None, "the database is there"
        return Counters(**dict(row))


# --- Temporal ---


@dataclass(frozen=True)
class Histories:
    """Events and billable actions of some payments' workflows: the usual number (median) and the highest."""

    looked_at: int
    events: int
    events_max: int
    actions: int
    actions_max: int


async def read_histories(client: Client, payment_ids: Sequence[str]) -> Histories | None:
    """None where there is no payment to look at."""
    if not payment_ids:
        return None
    counted = [await _count(client, payment_id) for payment_id in payment_ids]
    events, actions = sorted(e for e, _ in counted), sorted(a for _, a in counted)
    middle = len(counted) // 2
    return Histories(len(counted), events[middle], events[-1], actions[middle], actions[-1])


async def _count(client: Client, payment_id: str) -> tuple[int, int]:
    handle = client.get_workflow_handle(payment_workflow_id(payment_id))
    await handle.result()  # the payment's answer is a moment ahead of its workflow's end
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


def per(amounts: Mapping[str, float], count: int) -> dict[str, Any]:
    """Each amount shared out over `count`."""
    return {name: amount / count for name, amount in amounts.items()} if count else {}
