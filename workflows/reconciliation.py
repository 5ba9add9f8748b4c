"""A reconciliation: open the run, copy the other side's lines, match them, fix what is safe, look again, end.

Every step can be repeated; a worker that is killed leaves whole pages behind, and another goes on.
"""

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from workflows.scheduled import business_moment

with workflow.unsafe.imports_passed_through():
    from activities.reconciliation import ReconciliationActivities
    from domain.reconciliation.reconciliation import (
        IMPOSSIBLE,
        RECONCILIATION_WORKFLOW,
        FailStep,
        FixStep,
        Matching,
        NewRun,
        Occasion,
        ReconciliationInput,
        ReconciliationReport,
        RunStep,
        Source,
        Staged,
        StageStep,
        day_window,
    )
    from domain.waiting import batch_queue, psp_queue

S = TypeVar("S")
R = TypeVar("R")

_HEARTBEAT = timedelta(seconds=10)
_STAGE_TIMEOUT = timedelta(minutes=30)
_MATCH_TIMEOUT = timedelta(hours=2)
_SHORT = timedelta(minutes=10)
_FOR_EVER = RetryPolicy(maximum_interval=timedelta(minutes=1))
"""A run that cannot go on now (the PSP, the database) goes on later."""
_VERIFICATIONS = 3


@workflow.defn(name=RECONCILIATION_WORKFLOW)
class ReconciliationWorkflow:
    """Its details in the UI say what it is at."""

    @workflow.init
    def __init__(self, inp: ReconciliationInput) -> None:
        self._inp = inp
        self._said: list[str] = []

    @workflow.run
    async def run(self, inp: ReconciliationInput) -> ReconciliationReport:
        """End as COMPLETED, or as FAILED with the reason where it can never be done; all else is tried until it is."""
        run_id = inp.run_id or await self._open()
        found = await self._find(run_id)
        if isinstance(found, str):
            failed = FailStep(run_id=run_id, failure=found, at=workflow.now())
            return await self._call(ReconciliationActivities.fail_reconciliation, failed)
        if inp.apply and found.fixes:
            await self._fix(run_id)
        report = await self._call(
            ReconciliationActivities.complete_reconciliation, RunStep(run_id=run_id, at=workflow.now())
        )
        self._say(f"{report.opened} opened, {report.closed} closed, {report.overdue} past their deadline")
        return report

    # --- which window ---

    async def _open(self) -> str:
        info = workflow.info()
        inp = self._inp
        window_from, window_to, business_date = self._window()
        new = NewRun(
            key=f"{info.workflow_id}/{info.run_id}",
            tenant_id=inp.tenant_id,
            psp=inp.psp,
            subject=inp.subject,
            source=inp.source,
            window_from=window_from,
            window_to=window_to,
            business_date=business_date,
            margin_s=inp.margin_s,
            apply=inp.apply,
            by=inp.by,
            at=workflow.now(),
        )
        return await self._call(ReconciliationActivities.open_reconciliation, new)

    def _window(self) -> tuple[datetime | None, datetime | None, date | None]:
        """(from, to, business date), reckoned from the time that was scheduled, never from the time that it happens to
        be: a late start, a trigger for another day and a backfill look at what they are about."""
        inp = self._inp
        scheduled = business_moment()
        if inp.occasion is Occasion.RECENT:
            return scheduled - timedelta(seconds=inp.recent_s), scheduled, None
        if inp.occasion is Occasion.DAY or (inp.business_date is not None and inp.window_from is None):
            return day_window(inp.zone, scheduled, inp.business_date)
        return inp.window_from, inp.window_to, inp.business_date

    # --- the steps ---

    async def _find(self, run_id: str) -> Matching | str:
        """Copy the lines and match them; or why that can never be done, in words."""
        self._say(f"{run_id}: copying lines")
        try:
            staged = await self._stage(run_id)
            if staged.failure is not None:
                return staged.failure
            self._say(f"{staged.lines} lines; matching")
            found = await self._call(
                ReconciliationActivities.match_lines, RunStep(run_id=run_id, at=workflow.now()), long=True
            )
        except ActivityError as error:
            return _impossible(error)
        self._say(", ".join(f"{number} {cls}" for cls, number in sorted(found.counts.items())) or "nothing to match")
        return found

    async def _stage(self, run_id: str) -> Staged:
        listed = self._inp.source is Source.API
        method = ReconciliationActivities.stage_from_psp if listed else ReconciliationActivities.stage_from_file
        queue = psp_queue(self._inp.task_queue, self._inp.psp) if listed else batch_queue(self._inp.task_queue)
        while True:
            staged = await workflow.execute_activity_method(
                method,
                StageStep(run_id=run_id, pages=self._inp.pages),
                task_queue=queue,
                start_to_close_timeout=_STAGE_TIMEOUT,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_FOR_EVER,
                summary="copy lines",
            )
            if staged.done or staged.failure is not None:
                return staged
            self._say(f"{staged.lines} lines copied", last=True)

    async def _fix(self, run_id: str) -> None:
        """Page by page; then look, a few times, at what workflows were asked for."""
        asked, after = 0, ""
        now = workflow.now()
        while True:
            fixed = await self._call(ReconciliationActivities.apply_fixes, FixStep(run_id=run_id, after=after, at=now))
            asked += fixed.asked
            self._say(f"fixes: {fixed.booked} booked, {fixed.asked} asked for, {fixed.refused} refused")
            if fixed.after is None:
                break
            after = fixed.after
        gap = self._inp.verify_s
        for _ in range(_VERIFICATIONS):
            if asked <= 0:
                return
            await workflow.sleep(timedelta(seconds=gap), summary="let the workflows do it")
            try:
                closed = await self._call(
                    ReconciliationActivities.verify_fixes, RunStep(run_id=run_id, at=workflow.now()), long=True
                )
            except ActivityError as error:
                self._say(_impossible(error))
                return
            asked -= closed
            gap *= 3

    async def _call(self, method: Callable[[Any, S], Awaitable[R]], step: S, *, long: bool = False) -> R:
        queue = self._inp.task_queue
        return await workflow.execute_activity_method(
            method,
            step,
            task_queue=batch_queue(queue) if long else queue,
            start_to_close_timeout=_MATCH_TIMEOUT if long else _SHORT,
            heartbeat_timeout=_HEARTBEAT if long else None,
            retry_policy=_FOR_EVER,
            summary=getattr(method, "__name__", "").replace("_", " "),
        )

    def _say(self, text: str, *, last: bool = False) -> None:
        if last and len(self._said) > 1:
            self._said.pop()
        self._said.append(text)
        workflow.set_current_details("\n\n".join(self._said[-8:]))


def _impossible(error: ActivityError) -> str:
    """The message of an activity's error that no repetition helps; every other error of one is raised on."""
    if isinstance(error.cause, ApplicationError) and error.cause.type == IMPOSSIBLE:
        return error.cause.message
    raise error
