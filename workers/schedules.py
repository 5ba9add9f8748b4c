"""The schedules, brought to what the settings say whenever a worker starts that keeps them."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

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
from domain.payout import PAYOUT_RUN_WORKFLOW, RELEASE_WORKFLOW
from domain.reconciliation.reconciliation import RECONCILIATION_WORKFLOW, Occasion
from domain.seal import SEAL_WORKFLOW
from domain.sweep import SWEEP_WORKFLOW
from runtime.priority import of_tenant
from runtime.runs import payout_run_input, reconciliation_input, schedule_id

_CATCH_UP = timedelta(days=10)
"""A run that is later than this after an outage is not made: older dates are for a person."""


_AHEAD = timedelta(days=3 * 366)
"""How far ahead changes of clocks are looked for; a worker that starts brings the schedules up to date."""

_LOG = logging.getLogger(__name__)


class Timing(NamedTuple):
    spec: ScheduleSpec
    policy: SchedulePolicy


@dataclass(frozen=True)
class Job:
    """`name` ends the schedule's id; `argument` is its workflow's input."""

    name: str
    workflow: str
    summary: str
    timing: Timing
    argument: object = None


def jobs(settings: Settings) -> list[Job]:
    return [
        Job(
            name="sweep",
            workflow=SWEEP_WORKFLOW,
            summary="looks for payments without a workflow and webhooks without a reader",
            timing=_every(settings.sweep_every_s),
        ),
        Job(
            name="seal",
            workflow=SEAL_WORKFLOW,
            summary="seals what was posted to the ledger since the last time",
            timing=_every(settings.seal_every_s),
        ),
        Job(
            name="release",
            workflow=RELEASE_WORKFLOW,
            summary="pending becomes available",
            timing=_every(settings.release_every_s),
        ),
        Job(
            name="payout-run",
            workflow=PAYOUT_RUN_WORKFLOW,
            summary="pays every seller who is due",
            argument=payout_run_input(settings),
            timing=_daily(settings, settings.payout_run_at),
        ),
        *_reconciliations(settings),
    ]


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
            timing=Timing(ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]), one_by_one),
        ),
        Job(
            name="reconcile-day",
            workflow=RECONCILIATION_WORKFLOW,
            summary="matches what the PSP lists of the day before",
            argument=recent.model_copy(update={"occasion": Occasion.DAY}),
            timing=Timing(_daily(settings, settings.reconcile_at).spec, one_by_one),
        ),
    ]


def _every(seconds: float) -> Timing:
    """One at a time; what was missed is not made up for, since each run looks at everything."""
    every = timedelta(seconds=seconds)
    return Timing(
        ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)], jitter=every / 10),
        SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every),
    )


def _daily(settings: Settings, at: str) -> Timing:
    """For a business date, one after the other and none left out; a run that failed is looked at before the next one
    begins."""
    hour, minute = (int(part) for part in at.split(":"))
    usual = ScheduleCalendarSpec(hour=[ScheduleRange(hour)], minute=[ScheduleRange(minute)])
    others = [
        ScheduleCalendarSpec(
            year=[ScheduleRange(later.year)],
            month=[ScheduleRange(later.month)],
            day_of_month=[ScheduleRange(later.day)],
            hour=[ScheduleRange(later.hour)],
            minute=[ScheduleRange(later.minute)],
        )
        for later in left_out(settings.business_zone, at, datetime.now(UTC).date())
    ]
    return Timing(
        ScheduleSpec(calendars=[usual, *others], time_zone_name=settings.business_zone),
        SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ALL, catchup_window=_CATCH_UP, pause_on_failure=True),
    )


@cache
def left_out(zone: str, at: str, today: date) -> list[datetime]:
    """The moments at which a daily run is made instead, in the zone's time, on the days of the next years whose clocks
    leave `at` out (02:30 where they go from 02:00 to 03:00: 03:30). Temporal would make none on such a day."""
    local, hour = ZoneInfo(zone), time.fromisoformat(at)
    days = (datetime.combine(today + timedelta(days=n), hour, local) for n in range(_AHEAD.days))
    return [there for day in days if (there := day.astimezone(UTC).astimezone(local)).time() != hour]


def _warn(settings: Settings) -> None:
    for name, at in (
        ("PAYSAGA_PAYOUT_RUN_AT", settings.payout_run_at),
        ("PAYSAGA_RECONCILE_AT", settings.reconcile_at),
    ):
        missing = left_out(settings.business_zone, at, datetime.now(UTC).date())
        if missing:
            _LOG.warning(
                "%s %s does not exist on %s in %s, where the clocks change: the run of that day is at %s",
                name,
                at,
                missing[0].date(),
                settings.business_zone,
                missing[0].strftime("%H:%M"),
            )


async def ensure_schedules(client: Client, settings: Settings) -> None:
    """Create the schedules, or bring them to what the settings say; an operator's pause and note are kept."""
    _warn(settings)
    await asyncio.gather(*(_ensure(client, settings.temporal_task_queue, job) for job in jobs(settings)))


async def _ensure(client: Client, task_queue: str, job: Job) -> None:
    name = schedule_id(task_queue, job.name)
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            job.workflow,
            args=[] if job.argument is None else [job.argument],
            id=name,
            task_queue=task_queue,
            static_summary=job.summary,
            priority=of_tenant(None, after_payments=True),
        ),
        spec=job.timing.spec,
        policy=job.timing.policy,
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
