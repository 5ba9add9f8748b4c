"""Runs: starting a payout run or a reconciliation beside their schedules."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from config.settings import Settings
from domain.ids import reconciliation_workflow_id
from domain.payout import PAYOUT_RUN_WORKFLOW, PayoutPace, PayoutRunInput, PayoutRunReport
from domain.reconciliation.reconciliation import RECONCILIATION_WORKFLOW, ReconciliationInput, ReconciliationReport
from runtime.priority import of_tenant


def payout_run_input(settings: Settings) -> PayoutRunInput:
    """The input of a payout run, scheduled or asked for."""
    pace = PayoutPace(
        page=settings.payout_page, rate_per_s=settings.payout_rate_per_s, unsent_max=settings.payout_unsent_max
    )
    return PayoutRunInput(zone=settings.business_zone, pace=pace)


def reconciliation_input(settings: Settings, **fields: Any) -> ReconciliationInput:
    """The input of a reconciliation, scheduled or asked for; `fields`: what is special about it."""
    return ReconciliationInput(
        recent_s=settings.reconcile_every_s,
        zone=settings.business_zone,
        margin_s=settings.reconcile_margin_s,
        verify_s=settings.reconcile_verify_s,
        task_queue=settings.temporal_task_queue,
        **fields,
    )


async def start_reconciliation(client: Client, inp: ReconciliationInput) -> WorkflowHandle[Any, ReconciliationReport]:
    """Start the workflow of a run that is stored (`db.reconciliation.run.open_run`); again is following it."""
    assert inp.run_id is not None, "it is stored first"
    handle: WorkflowHandle[Any, ReconciliationReport] = await client.start_workflow(
        RECONCILIATION_WORKFLOW,
        inp,
        id=reconciliation_workflow_id(inp.run_id),
        task_queue=inp.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        priority=of_tenant(inp.tenant_id, after_payments=True),
        static_summary=f"{inp.subject} lines from the {inp.source}, by {inp.by}",
        result_type=ReconciliationReport,
    )
    return handle


async def start_stored_reconciliation(
    client: Client, settings: Settings, row: Mapping[str, Any]
) -> WorkflowHandle[Any, ReconciliationReport]:
    """Start the workflow of a stored run, from its row."""
    same = {name: row[name] for name in ("tenant_id", "psp", "subject", "source", "apply")}
    inp = reconciliation_input(settings, run_id=row["id"], by=row["actor"], **same)
    return await start_reconciliation(client, inp)


async def start_payout_run(
    client: Client, settings: Settings, business_date: date, by: str
) -> WorkflowHandle[Any, PayoutRunReport]:
    """Run the payouts of a date now, beside the schedule. While it runs, starting it again is following it."""
    handle: WorkflowHandle[Any, PayoutRunReport] = await client.start_workflow(
        PAYOUT_RUN_WORKFLOW,
        payout_run_input(settings).model_copy(update={"business_date": business_date, "by": by}),
        # Of this Paysaga: another one in the namespace has runs of its own.
        id=f"payout_run:{settings.temporal_task_queue}:{business_date}",
        task_queue=settings.temporal_task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        priority=of_tenant(None, after_payments=True),
        static_summary=f"pays every seller who is due on {business_date}, by {by}",
        result_type=PayoutRunReport,
    )
    return handle


def schedule_id(task_queue: str, name: str) -> str:
    """The id of a schedule in Temporal: several Paysagas may share a namespace."""
    return f"{task_queue}-{name}"
