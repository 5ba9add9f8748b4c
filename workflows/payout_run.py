"""The payout run, on a schedule; and the release of what is due, which also runs on one of its own."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow

from workflows.calls import FOR_EVER, HEARTBEAT_TIMEOUT
from workflows.scheduled import business_moment

with workflow.unsafe.imports_passed_through():
    from activities.payout_run import PayoutRunActivities
    from domain.payout import (
        PAYOUT_RUN_WORKFLOW,
        RELEASE_WORKFLOW,
        OpenedRun,
        OpenRunStep,
        PaidDue,
        PayDueStep,
        PayoutRunInput,
        PayoutRunReport,
        ReleasedFunds,
        ReleaseFundsStep,
        RunStep,
    )

S = TypeVar("S")
R = TypeVar("R")

_STEP_TIMEOUT = timedelta(seconds=15)
_PAGE_TIMEOUT = timedelta(hours=2)
_RELEASE_HEARTBEAT_TIMEOUT = timedelta(seconds=15)


@workflow.defn(name=RELEASE_WORKFLOW)
class ReleaseWorkflow:
    @workflow.run
    async def run(self) -> ReleasedFunds:
        """Make available what is pending, of every order whose time has come."""
        return await release_funds(business_moment())


async def release_funds(due_at: datetime) -> ReleasedFunds:
    return await workflow.execute_activity_method(
        PayoutRunActivities.release_funds,
        ReleaseFundsStep(due_at=due_at, at=workflow.now()),
        start_to_close_timeout=_PAGE_TIMEOUT,
        heartbeat_timeout=_RELEASE_HEARTBEAT_TIMEOUT,
        retry_policy=FOR_EVER,
        summary="pending becomes available",
    )


@workflow.defn(name=PAYOUT_RUN_WORKFLOW)
class PayoutRunWorkflow:
    """Safe to start again, to overlap and to backfill: a seller is paid once for each business date and currency."""

    @workflow.run
    async def run(self, inp: PayoutRunInput) -> PayoutRunReport:
        run = await self._open(inp)
        if inp.run_id is None:
            await release_funds(business_moment())
        payouts, after = inp.payouts, inp.after
        while True:
            page = await self._pay(inp, run, after)
            payouts, after = payouts + page.payouts, page.after
            workflow.set_current_details(f"**{run.business_date}** · {payouts} payouts made")
            if after is None:
                break
            if workflow.info().is_continue_as_new_suggested():
                following = {"run_id": run.run_id, "business_date": run.business_date, "after": after}
                workflow.continue_as_new(inp.model_copy(update={**following, "payouts": payouts}))
        await self._step(PayoutRunActivities.close_payout_run, RunStep(run_id=run.run_id, at=workflow.now()), "close")
        return PayoutRunReport(run_id=run.run_id, business_date=run.business_date, payouts=payouts)

    async def _open(self, inp: PayoutRunInput) -> OpenedRun:
        if inp.run_id is not None and inp.business_date is not None:
            return OpenedRun(run_id=inp.run_id, business_date=inp.business_date)
        step = OpenRunStep(
            business_date=inp.business_date, scheduled_at=business_moment(), zone=inp.zone, by=inp.by, at=workflow.now()
        )
        return await self._step(PayoutRunActivities.open_payout_run, step, "open the run")

    @staticmethod
    async def _pay(inp: PayoutRunInput, run: OpenedRun, after: tuple[str, str, str] | None) -> PaidDue:
        return await workflow.execute_activity_method(
            PayoutRunActivities.pay_due,
            PayDueStep(
                run_id=run.run_id,
                business_date=run.business_date,
                after=after,
                limit=inp.pace.page,
                unsent_max=inp.pace.unsent_max,
                rate_per_s=inp.pace.rate_per_s,
                at=workflow.now(),
            ),
            start_to_close_timeout=_PAGE_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=FOR_EVER,
            summary=f"pay {inp.pace.page} sellers" + (f" after {after[1]}" if after else ""),
        )

    @staticmethod
    async def _step(method: Callable[[Any, S], Awaitable[R]], step: S, summary: str) -> R:
        return await workflow.execute_activity_method(
            method, step, start_to_close_timeout=_STEP_TIMEOUT, retry_policy=FOR_EVER, summary=summary
        )
