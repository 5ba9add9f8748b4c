"""A payout run that a person starts: followed from its first seller to the PSP's answers."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import Progress, TaskID
from temporalio.client import WorkflowFailureError

from cli.operator_payout import progress
from db import audit_log
from db.payout import run as payout_run
from db.schema.base import PLATFORM_TENANT
from domain.payout import PayoutRunReport
from domain.status import PayoutStatus
from embedded.errors import StackError
from runtime.runs import start_payout_run
from runtime.wiring import Runtime

_LOOK_S_MIN = 0.3
_AT_THE_PSP_S = 30.0
_COUNT_TIMEOUT_S = 60.0


async def run_payouts(runtime: Runtime, console: Console, day: date | None, by: str) -> str:
    """Raises StackError for a date that is yet to come: its sellers would be paid early, and not on the day."""
    today = datetime.now(UTC).astimezone(ZoneInfo(runtime.settings.business_zone)).date()
    day = day or today
    if day > today:
        raise StackError(f"{day} is yet to come: today is {today}, in {runtime.settings.business_zone}.")
    detail = {"business_date": day.isoformat()}
    await runtime.database.run(
        lambda c: audit_log.record(c, PLATFORM_TENANT, by, "payout.run", f"payout_run:{day}", detail)
    )
    handle = await start_payout_run(runtime.temporal, runtime.settings, day, by)
    console.print(f"{handle.id} runs; it goes on also if you leave with Ctrl-C.", style="dim", markup=False)
    with progress(console) as bar:
        report = await _followed(runtime, bar, asyncio.ensure_future(handle.result()), day)
        statuses = await _sent(runtime, bar, day)
    made = sum(statuses.values())
    now = f"{report.payouts} payout{'s' if report.payouts != 1 else ''} made now" if report.payouts else "none made now"
    return f"{report.run_id} of {day}: {now}, {made} in all{_counted(statuses)}."


async def _followed(
    runtime: Runtime, bar: Progress, result: "asyncio.Future[PayoutRunReport]", day: date
) -> PayoutRunReport:
    """Sellers who are paid leave the number of those who are due."""
    line = bar.add_task(f"payouts of {day}", total=None, note="")
    while not result.done():
        began = time.monotonic()
        statuses = await _statuses(runtime, day)
        made = sum(statuses.values())
        due = await runtime.database.run_long(lambda c: payout_run.due_count(c, day), timeout_s=_COUNT_TIMEOUT_S)
        bar.update(line, completed=made, total=max(made + due, 1), note=_counted(statuses).strip(": "))
        # A look costs what it costs: it must not be all that the database does.
        await asyncio.wait({result}, timeout=max(_LOOK_S_MIN, 5 * (time.monotonic() - began)))
    try:
        report = result.result()
    except WorkflowFailureError as error:
        raise StackError(f"The run has failed: {error.cause}. See it in the Temporal UI.") from error
    _full(bar, line, await _statuses(runtime, day))
    return report


async def _sent(runtime: Runtime, bar: Progress, day: date) -> Mapping[str, int]:
    """How they stand once the PSP has all of them, or as they do when the wait is over."""
    deadline = time.monotonic() + _AT_THE_PSP_S
    statuses = await _statuses(runtime, day)
    made = sum(statuses.values())
    if not made:
        return statuses
    line = bar.add_task("sent to the PSP", total=made, note="")
    while True:
        waiting = sum(statuses.get(status, 0) for status in (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED))
        bar.update(line, completed=made - waiting, note=_counted(statuses).strip(": "))
        if not waiting or time.monotonic() > deadline:
            return statuses
        await asyncio.sleep(_LOOK_S_MIN)
        statuses = await _statuses(runtime, day)


def _full(bar: Progress, line: TaskID, statuses: Mapping[str, int]) -> None:
    made = sum(statuses.values())
    bar.update(line, completed=made or 1, total=made or 1, note="" if made else "nobody is due")


async def _statuses(runtime: Runtime, day: date) -> dict[str, int]:
    runs: list[dict[str, Any]] = await runtime.database.read(lambda c: payout_run.page(c, day=day))
    return dict(runs[0]["statuses"]) if runs else {}


def _counted(statuses: Mapping[str, int]) -> str:
    """`: 10 PAID, 2 FAILED`; nothing of nothing."""
    counts = ", ".join(f"{statuses[status]} {status}" for status in PayoutStatus if statuses.get(status))
    return f": {counts}" if counts else ""
