"""A payout run that a person starts: every seller who is due on a date is paid, and the run is followed."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from temporalio.client import WorkflowFailureError

from db import audit_log
from db.payout import run as payout_run
from db.schema.base import PLATFORM_TENANT
from domain.errors import Conflict, Unprocessable
from domain.payout import PayoutRunReport
from domain.status import PayoutStatus
from runtime.runs import start_payout_run
from runtime.wiring import Runtime
from services.command import Caller

Statuses = Mapping[PayoutStatus, int]
"""The number of a run's payouts, by status."""

_LOOK_S_MIN = 0.3
_AT_THE_PSP_S = 30.0
_COUNT_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Progress:
    """`making` is told of the payouts that are made and how many more sellers are due, `made` once that is over, and
    `sending` of how many are not at the PSP yet."""

    making: Callable[[Statuses, int], None]
    made: Callable[[Statuses], None]
    sending: Callable[[Statuses, int], None]


@dataclass(frozen=True)
class PayoutRunStarted:
    """A run under way: `workflow_id` names it in Temporal."""

    day: date
    workflow_id: str
    result: "asyncio.Future[PayoutRunReport]"


async def start(runtime: Runtime, caller: Caller, day: date | None) -> PayoutRunStarted:
    """Start the run of a business date, today's if none is given; while it runs, starting it again is following it.

    Raises Unprocessable `date_in_future`: its sellers would be paid early, and not on the day.
    """
    zone = runtime.settings.business_zone
    today = datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
    business_date = day or today
    if business_date > today:
        said = f"{business_date} is yet to come: today is {today}, in {zone}."
        raise Unprocessable(said, code="date_in_future")
    detail = {"business_date": business_date.isoformat()}
    await runtime.database.run(
        lambda c: audit_log.record(
            c, PLATFORM_TENANT, caller.actor, "payout.run", f"payout_run:{business_date}", detail
        )
    )
    handle = await start_payout_run(runtime.temporal, runtime.settings, business_date, caller.actor)
    return PayoutRunStarted(business_date, handle.id, asyncio.ensure_future(handle.result()))


async def follow(runtime: Runtime, run: PayoutRunStarted, progress: Progress) -> tuple[PayoutRunReport, Statuses]:
    """The run's report once it has ended, and how its payouts stand once the PSP has all of them, or when that takes
    too long. Raises Conflict `payout_run_failed`."""
    report = await _report(runtime, run, progress)
    return report, await _sent(runtime, run.day, progress)


async def _report(runtime: Runtime, run: PayoutRunStarted, progress: Progress) -> PayoutRunReport:
    """Sellers who are paid leave the number of those who are due."""
    while not run.result.done():
        began = time.monotonic()
        statuses = await _statuses(runtime, run.day)
        due = await runtime.database.run_long(lambda c: payout_run.due_count(c, run.day), timeout_s=_COUNT_TIMEOUT_S)
        progress.making(statuses, due)
        # A look costs what it costs: it must not be all that the database does.
        await asyncio.wait({run.result}, timeout=max(_LOOK_S_MIN, 5 * (time.monotonic() - began)))
    try:
        report = run.result.result()
    except WorkflowFailureError as error:
        detail = f"The run has failed: {error.cause}. See it in the Temporal UI."
        raise Conflict(detail, code="payout_run_failed") from error
    progress.made(await _statuses(runtime, run.day))
    return report


async def _sent(runtime: Runtime, day: date, progress: Progress) -> Statuses:
    deadline = time.monotonic() + _AT_THE_PSP_S
    while True:
        statuses = await _statuses(runtime, day)
        waiting = sum(statuses.get(status, 0) for status in (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED))
        if statuses:
            progress.sending(statuses, waiting)
        if not waiting or time.monotonic() > deadline:
            return statuses
        await asyncio.sleep(_LOOK_S_MIN)


async def _statuses(runtime: Runtime, day: date) -> Statuses:
    runs = await runtime.database.read(lambda c: payout_run.page(c, day=day))
    return runs[0].statuses if runs else {}
