"""What runs by itself: every schedule, brought to what the settings say whenever a worker starts."""

from dataclasses import dataclass
from datetime import timedelta
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
)
from temporalio.service import RPCError, RPCStatusCode

from config.settings import Settings
from domain.payment import SWEEP_WORKFLOW
from domain.payout import PAYOUT_RUN_WORKFLOW, RELEASE_WORKFLOW, PayoutPace, PayoutRunInput
from domain.seal import SEAL_WORKFLOW

_CATCH_UP = timedelta(hours=12)
"""How late a daily run is still made after an outage; older dates are for a person to backfill."""


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
    ]


def payout_run_input(settings: Settings) -> PayoutRunInput:
    pace = PayoutPace(
        page=settings.payout_page, rate_per_s=settings.payout_rate_per_s, unsent_max=settings.payout_unsent_max
    )
    return PayoutRunInput(zone=settings.business_zone, pace=pace)


def _every(seconds: float) -> dict[str, Any]:
    """One at a time; what was missed is not made up for, since each run looks at everything."""
    every = timedelta(seconds=seconds)
    return {
        "spec": ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)], jitter=every / 10),
        "policy": SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every),
    }


def _daily(settings: Settings, at: str) -> dict[str, Any]:
    """For a business date, one after the other; a run that failed is looked at before the next one begins."""
    hour, minute = (int(part) for part in at.split(":"))
    moment = ScheduleCalendarSpec(hour=[ScheduleRange(hour)], minute=[ScheduleRange(minute)])
    return {
        "spec": ScheduleSpec(calendars=[moment], time_zone_name=settings.business_zone),
        "policy": SchedulePolicy(
            overlap=ScheduleOverlapPolicy.BUFFER_ONE, catchup_window=_CATCH_UP, pause_on_failure=True
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
