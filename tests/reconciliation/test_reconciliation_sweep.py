"""What the sweeper does for reconciliation: runs that nobody carries out; what is overdue, while runs hang or fail."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.sweep import Retention, SweepActivities
from db.reconciliation import run as runs
from domain.reconciliation.reconciliation import BY_ITSELF
from domain.sweep import SweepReport
from runtime.workflow_client import WorkflowClient
from tests.reconciliation.scenario import LATER, NOON, Scenario, hours
from tests.reconciliation.test_reconciliation_classes import other


class Workflows:
    """What runs at Temporal, and which runs were started there."""

    def __init__(self, *running: str) -> None:
        self.running, self.started = set(running), list[str]()

    async def is_running(self, workflow_id: str) -> bool:
        return workflow_id in self.running

    async def reconcile(self, row: Mapping[str, Any]) -> None:
        self.started.append(row["id"])


async def swept(scenario: Scenario, workflows: Workflows, after_s: float = -1) -> SweepReport:
    retention = Retention(payloads=timedelta(days=90), keys=timedelta(days=90), events=timedelta(days=90))
    steps = SweepActivities(
        scenario.database, cast(WorkflowClient, workflows), workflows.reconcile, after_s=after_s, retention=retention
    )
    report: SweepReport = await ActivityEnvironment().run(steps.sweep_reconciliations)
    return report


async def tasks(scenario: Scenario) -> list[tuple[str, str, str]]:
    rows = await scenario.sql("SELECT kind, object_id, tenant_id FROM operator_task WHERE closed_at IS NULL")
    return [tuple(row) for row in rows]


async def test_overdue_while_every_run_hangs(scenario: Scenario) -> None:
    """No run ends: who is to decide hears of it all the same, once."""
    await scenario.run(other(), at=NOON)
    await scenario.open()
    (disc,) = await scenario.open_ones()
    assert (disc["class"], await tasks(scenario)) == ("timing", [])
    hanging = Workflows(
        *[f"reconciliation:{row['id']}" for row in await scenario.sql("SELECT id FROM reconciliation_run")]
    )
    assert await swept(scenario, hanging) == SweepReport(tasks=1)
    assert await tasks(scenario) == [("unmatched", disc["id"], disc["tenant_id"])]
    assert await swept(scenario, hanging) == SweepReport()
    (event,) = await scenario.sql("SELECT payload FROM outbox WHERE type = 'discrepancy.overdue'")
    assert disc["id"] in event["payload"]


async def test_nothing_is_overdue_before_its_time(scenario: Scenario) -> None:
    await scenario.run(other(), at=NOON)
    await scenario.sql("UPDATE discrepancy SET due_at = now() + interval '1 hour'")
    assert (await swept(scenario, Workflows(), after_s=3600)).tasks == 0


@pytest.mark.parametrize(
    ("key", "running", "started"),
    [
        (None, "", True),
        (None, "reconciliation:{id}", False),
        ("x-reconcile-2026-03-10/run", "", True),
        ("x-reconcile-2026-03-10/run", "x-reconcile-2026-03-10", False),
        ("x-reconcile-2026-03-10/run", "reconciliation:{id}", False),
    ],
)
async def test_a_run_without_a_workflow(scenario: Scenario, key: str | None, running: str, started: bool) -> None:
    run_id = await scenario.open()
    await scenario.sql("UPDATE reconciliation_run SET key = coalesce($2, key) WHERE id = $1", run_id, key)
    workflows = Workflows(running.format(id=run_id))
    assert (await swept(scenario, workflows)).reconciliations == started
    assert workflows.started == [run_id] * started


async def test_runs_that_have_ended_or_just_begun_are_left_alone(scenario: Scenario) -> None:
    failed, done, fresh = await scenario.open(), (await scenario.run()).run_id, await scenario.open()
    await scenario.database.run(lambda c: runs.fail(c, failed, "why", LATER))
    await scenario.database.run(lambda c: runs.complete(c, done, LATER))
    workflows = Workflows()
    await swept(scenario, workflows, after_s=3600)
    assert workflows.started == []
    await swept(scenario, workflows)
    assert workflows.started == [fresh]


@pytest.mark.parametrize("by", [BY_ITSELF, "kim"])
async def test_a_scheduled_run_that_failed_is_a_persons_task(scenario: Scenario, by: str) -> None:
    """Who asked for a run sees how it ends; for one that ran by itself nobody looks."""
    run_id = await scenario.open()
    await scenario.sql("UPDATE reconciliation_run SET actor = $1", by)
    for _ in range(2):
        await scenario.database.run(lambda c: runs.fail(c, run_id, "line 3: broken", NOON + hours(1)))
    expected = [("reconciliation_failed", run_id, "shop")] if by == BY_ITSELF else []
    assert await tasks(scenario) == expected
