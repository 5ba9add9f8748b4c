"""A payout run's steps: make available what is due, then a payout for every seller who is due, a page at a time."""

import asyncio
from collections.abc import Callable
from zoneinfo import ZoneInfo

from temporalio import activity

from activities.start import Starter
from db import payout, payout_run, release
from db.database import Database
from db.payout import NewPayout
from domain.errors import Conflict, PaysagaError, Unavailable, Unprocessable
from domain.ids import new_id
from domain.payout import (
    OpenedRun,
    OpenRunStep,
    PaidDue,
    PayDueStep,
    ReleasedFunds,
    ReleaseFundsStep,
    RunStep,
)

_AT_ONCE = 8
_LOOK_S = 0.5
_TRIES_MAX = 5


class PayoutRunActivities:
    """`psp`: where sellers are paid from. `fit`: the most that it can move of an amount, in minor units."""

    def __init__(
        self,
        database: Database,
        starter: Starter,
        *,
        psp: str,
        fit: Callable[[int, str], int],
        send_for_s: float,
    ) -> None:
        self._database = database
        self._starter = starter
        self._psp = psp
        self._fit = fit
        self._send_for_s = send_for_s

    @activity.defn
    async def open_payout_run(self, step: OpenRunStep) -> OpenedRun:
        """The run of the business date: the given one, or the day of `at` where the business is."""
        day = step.business_date or step.scheduled_at.astimezone(ZoneInfo(step.zone)).date()
        run_id = await self._database.run(lambda c: payout_run.open_run(c, day, step.by, step.at))
        return OpenedRun(run_id=run_id, business_date=day)

    @activity.defn
    async def close_payout_run(self, step: RunStep) -> None:
        await self._database.run(lambda c: payout_run.close_run(c, step.run_id, step.at))

    @activity.defn
    async def release_funds(self, step: ReleaseFundsStep) -> ReleasedFunds:
        """Make available what is due, page after page. What another transaction holds (a webhook is being stored) is
        tried again for a moment, then left for the next time."""
        orders, tries = 0, 0
        while True:
            released = await self._database.run(lambda c: release.release(c, step))
            orders += released.orders
            activity.heartbeat(orders)
            if not released.more and (not released.skipped or tries == _TRIES_MAX):
                return ReleasedFunds(orders=orders, skipped=released.skipped)
            if not released.more:
                tries += 1
                await asyncio.sleep(_LOOK_S)

    @activity.defn
    async def pay_due(self, step: PayDueStep) -> PaidDue:
        """The payouts of one page of sellers, at most `rate_per_s`. Made again after a crash it finds those that it
        made; one whose workflow was not started is taken up by the sweeper."""
        await self._wait_for_the_psp(step)
        page = await self._database.read(lambda c: payout_run.due(c, step.business_date, step.after, step.limit))
        made = 0
        for start in range(0, len(page), _AT_ONCE):
            batch = page[start : start + _AT_ONCE]
            pause = asyncio.create_task(asyncio.sleep(len(batch) / step.rate_per_s))
            made += sum(await asyncio.gather(*(self._pay(step, *seller) for seller in batch)))
            activity.heartbeat(made)
            await pause
        return PaidDue(payouts=made, after=page[-1] if len(page) == step.limit else None)

    async def _wait_for_the_psp(self, step: PayDueStep) -> None:
        """More is made only while the PSP keeps up with what was: so a slow PSP does not pile up payouts."""
        while await self._database.read(lambda c: payout_run.unsent(c, step.run_id)) > step.unsent_max:
            activity.heartbeat("waiting for the PSP")
            await asyncio.sleep(_LOOK_S)

    async def _pay(self, step: PayDueStep, tenant_id: str, seller_account: str, currency: str) -> bool:
        """One seller's payout. Whatever is wrong with one must not keep the others from theirs."""
        new = NewPayout(
            id=new_id("pt"),
            tenant_id=tenant_id,
            seller_account=seller_account,
            currency=currency,
            amount=None,
            psp=self._psp,
            actor=f"run of {step.business_date}",
            send_for_s=self._send_for_s,
            fit=self._fit,
            run_id=step.run_id,
            business_date=step.business_date,
        )
        try:
            row = await self._database.run(lambda c: payout.request(c, new, step.at))
        except Unavailable:
            raise  # the database is away: the whole page is tried again
        except (Conflict, Unprocessable):
            return False  # paid for this date already, frozen, or spent since the page was read
        try:
            await self._starter.start_payout(row, fresh=True)
        except PaysagaError as error:  # it is stored: the sweeper starts it
            activity.logger.warning("payout run: %s: %s", row.id, error)
        return True
