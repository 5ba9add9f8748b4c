"""What runs by itself: every schedule, brought to what the settings say whenever a worker starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowHandle,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from config.settings import Settings
from domain.ids import reconciliation_workflow_id
from domain.payout import PAYOUT_RUN_WORKFLOW, RELEASE_WORKFLOW, PayoutPace, PayoutRunInput, PayoutRunReport
from domain.reconciliation.reconciliation import (
    RECONCILIATION_WORKFLOW,
    Occasion,
    ReconciliationInput,
    ReconciliationReport,
)
from domain.seal import SEAL_WORKFLOW
from domain.sweep import SWEEP_WORKFLOW

_CATCH_UP = timedelta(days=10)
"""How late a run is still made after an outage; older dates are for a person."""


@dataclass(frozen=True)
class Job:
    """`name` ends the schedule's id; `argument` is its workflow's input."""

    name: str
    workflow: str
    summary: str
    spec: ScheduleSpec
    policy: SchedulePolicy
    argument: object = None


def jobs(settings: Settings) -> list[Job]:
    return [
        Job(
            name="sweep",
            workflow=SWEEP_WORKFLOW,
            summary="looks for payments without a workflow and webhooks without a reader",
            **_every(settings.sweep_every_s),
        ),
        Job(
            name="seal",
            workflow=SEAL_WORKFLOW,
            summary="seals what was posted to the ledger since the last time",
            **_every(settings.seal_every_s),
        ),
        Job(
            name="release",
            workflow=RELEASE_WORKFLOW,
            summary="pending becomes available",
            **_every(settings.release_every_s),
        ),
        Job(
            name="payout-run",
            workflow=PAYOUT_RUN_WORKFLOW,
            summary="pays every seller who is due",
            argument=payout_run_input(settings),
            **_daily(settings, settings.payout_run_at),
        ),
        *_reconciliations(settings),
    ]


def payout_run_input(settings: Settings) -> PayoutRunInput:
    pace = PayoutPace(
        page=settings.payout_page, rate_per_s=settings.payout_rate_per_s, unsent_max=settings.payout_unsent_max
    )
    return PayoutRunInput(zone=settings.business_zone, pace=pace)


def _reconciliations(settings: Settings) -> list[Job]:
    """Each window is one of its own: what was missed is made up for, and a nightly run covers the whole day again."""
    every = timedelta(seconds=settings.reconcile_every_s)
    one_by_one = SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ALL, catchup_window=_CATCH_UP)
    recent = reconciliation_input(settings, occasion=Occasion.RECENT, apply=settings.reconcile_apply)
    return [
        Job(
            name="reconcile",
            workflow=RECONCILIATION_WORKFLOW,
            summary="matches what the PSP lists of the last hours",
            argument=recent,
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
            policy=one_by_one,
        ),
        Job(
            name="reconcile-day",
            workflow=RECONCILIATION_WORKFLOW,
            summary="matches what the PSP lists of the day before",
            argument=recent.model_copy(update={"occasion": Occasion.DAY}),
            spec=_daily(settings, settings.reconcile_at)["spec"],
            policy=one_by_one,
        ),
    ]


def reconciliation_input(settings: Settings, **fields: Any) -> ReconciliationInput:
    """What starts a reconciliation, scheduled or asked for; `fields`: what is special about it."""
    return ReconciliationInput(
        recent_s=settings.reconcile_every_s,
        zone=settings.business_zone,
        margin_s=settings.reconcile_margin_s,
        verify_s=settings.reconcile_verify_s,
        task_queue=settings.temporal_task_queue,
        **fields,
    )


async def start_reconciliation(client: Client, inp: ReconciliationInput) -> WorkflowHandle[Any, ReconciliationReport]:
    """Carry out a run that is stored (`db.reconciliation.open_run`); starting it again is following it."""
    assert inp.run_id is not None, "it is stored first"
    handle: WorkflowHandle[Any, ReconciliationReport] = await client.start_workflow(
        RECONCILIATION_WORKFLOW,
        inp,
        id=reconciliation_workflow_id(inp.run_id),
        task_queue=inp.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"{inp.subject} lines from the {inp.source}, by {inp.by}",
        result_type=ReconciliationReport,
    )
    return handle


async def carry_out(client: Client, settings: Settings, row: Mapping[str, Any]) -> None:
    """Start the workflow of a stored run, from its row."""
    same = {name: row[name] for name in ("tenant_id", "psp", "subject", "source", "apply")}
    inp = reconciliation_input(settings, run_id=row["id"], by=row["actor"], **same)
    await start_reconciliation(client, inp)


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
        static_summary=f"pays every seller who is due on {business_date}, by {by}",
        result_type=PayoutRunReport,
    )
    return handle


def _every(seconds: float) -> dict[str, Any]:
    """One at a time; what was missed is not made up for, since each run looks at everything."""
    every = timedelta(seconds=seconds)
    return {
        "spec": ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)], jitter=every / 10),
        "policy": SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every),
    }


def _daily(settings: Settings, at: str) -> dict[str, Any]:
    """For a business date, one after the other and none left out; a run that failed is looked at before the next one
    begins."""
    hour, minute = (int(part) for part in at.split(":"))
    moment = ScheduleCalendarSpec(hour=[ScheduleRange(hour)], minute=[ScheduleRange(minute)])
    return {
        "spec": ScheduleSpec(calendars=[moment], time_zone_name=settings.business_zone),
        "policy": SchedulePolicy(
            overlap=ScheduleOverlapPolicy.BUFFER_ALL, catchup_window=_CATCH_UP, pause_on_failure=True
        ),
    }


def schedule_id(task_queue: str, name: str) -> str:
    return f"{task_queue}-{name}"


async def ensure_schedules(client: Client, settings: Settings) -> None:
    """Create the schedules, or bring them to what the settings say; an operator's pause and note are kept."""
    for job in jobs(settings):
        await _ensure(client, settings.temporal_task_queue, job)


async def _ensure(client: Client, task_queue: str, job: Job) -> None:
    name = schedule_id(task_queue, job.name)
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            job.workflow,
            args=[] if job.argument is None else [job.argument],
            id=name,
            task_queue=task_queue,
            static_summary=job.summary,
        ),
        spec=job.spec,
        policy=job.policy,
    )
    try:
        await client.create_schedule(name, schedule)
    except ScheduleAlreadyRunningError:

        def update(current: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule.state = current.description.schedule.state
            return ScheduleUpdate(schedule=schedule)

        try:
            await client.get_schedule_handle(name).update(update)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
