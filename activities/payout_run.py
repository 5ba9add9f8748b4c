"""A payout run's steps: make available what is due, then a payout for every seller who is due, a page at a time."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from temporalio import activity

from activities.queues import Queue, on
from db import task
from db.core.database import Database
from db.hot import payout_request as hot
from db.payout import release
from db.payout import request as payout_request
from db.payout import run as payout_run
from db.payout.record import Payout
from db.payout.request import NewPayout
from db.payout.run import DueWallet
from db.schema.base import PLATFORM_TENANT
from domain.errors import Conflict, PaysagaError, Unprocessable
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
from runtime.workflow_client import WorkflowClient

RUN_MISSED = "payout_run_missed"
SELLER_LEFT_OUT = "payout_not_made"

_TOGETHER = 8
"""Payouts that are made in one statement."""
_AT_ONCE = 2
"""Such statements, and the starts of what they made."""
_BREATH_S = 0.5
"""As much of a run's rate as one statement may make at once."""
_HEARTBEAT_S = 2.0
_LOOK_S = 0.5
_UNSENT_LOOK_S = 0.1
_TRIES_MAX = 5
_SELLER_TRIES = 3
_DETAIL_MAX = 500


class PayoutRunActivities:
    """`psp`: where sellers are paid from. `payable`: the most that it can pay out of an amount, in minor units."""

    def __init__(
        self,
        database: Database,
        workflow_client: WorkflowClient,
        *,
        psp: str,
        payable: Callable[[int, str], int],
        send_for_s: float,
    ) -> None:
        self._database = database
        self._workflows = workflow_client
        self._psp = psp
        self._payable = payable
        self._send_for_s = send_for_s

    @activity.defn
    @on(Queue.OWN)
    async def open_payout_run(self, step: OpenRunStep) -> OpenedRun:
        """The run of the business date: the given one, or the day of `at` where the business is. A scheduled one also
        says which dates before it were left out, for a person to run."""
        day = step.business_date or step.scheduled_at.astimezone(ZoneInfo(step.zone)).date()

        async def once(connection: Any) -> str:
            for left_out in [] if step.business_date else await payout_run.missed(connection, day, step.at):
                detail = f"No payout run came to its end for {left_out}."
                object_id = left_out.isoformat()
                await task.open_task(connection, PLATFORM_TENANT, None, RUN_MISSED, detail, object_id=object_id)
            return await payout_run.open_run(connection, day, step.by, step.at)

        return OpenedRun(run_id=await self._database.run(once), business_date=day)

    @activity.defn
    @on(Queue.OWN)
    async def close_payout_run(self, step: RunStep) -> None:
        async def once(connection: Any) -> None:
            day = await payout_run.close_run(connection, step.run_id, step.at)
            await task.close_of(connection, day.isoformat(), by="payout run", resolution=f"{step.run_id} has ended")

        await self._database.run(once)

    @activity.defn
    @on(Queue.OWN)
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
    @on(Queue.OWN)
    async def pay_due(self, step: PayDueStep) -> PaidDue:
        """The payouts of one page of sellers, some together, at most `rate_per_s`. Made again after a crash it finds
        those that it made; one whose workflow was not started is taken up by the sweeper."""
        page = await self._database.read(lambda c: payout_run.due(c, step.business_date, step.after, step.limit))
        loop, made = asyncio.get_running_loop(), 0
        together = min(_TOGETHER, max(1, int(step.rate_per_s * _BREATH_S)))
        under_way: set[asyncio.Task[int]] = set()
        unstored: set[DueWallet] = set()
        next_at = loop.time()
        try:
            for first in range(0, len(page.wallets), together):
                some = page.wallets[first : first + together]
                await self._wait_for_the_psp(step, unstored)
                while len(under_way) == _AT_ONCE:
                    made += await _some_end(under_way)
                activity.heartbeat(made)
                await _sleep_until(next_at)
                next_at = max(next_at, loop.time()) + len(some) / step.rate_per_s
                unstored.update(some)
                under_way.add(asyncio.create_task(self._pay(step, some, unstored)))
            while under_way:
                made += await _some_end(under_way)
        finally:
            for left in under_way:
                left.cancel()
        return PaidDue(payouts=made, after=page.after)

    async def _wait_for_the_psp(self, step: PayDueStep, unstored: Collection[DueWallet]) -> None:
        """More is made only while the PSP, and our workers, keep up with what was: payouts do not pile up. Those that
        are not stored yet count as well."""
        while True:
            coming = len(unstored)
            if coming + await hot.unsent(self._database, step.run_id) <= step.unsent_max:
                return
            activity.heartbeat("waiting for the PSP")
            await asyncio.sleep(_UNSENT_LOOK_S)

    async def _pay(self, step: PayDueStep, some: Sequence[DueWallet], unstored: set[DueWallet]) -> int:
        """Make the payouts of some sellers and start their workflows; how many were made."""
        news = {wallet: self._new(step, wallet) for wallet in some}
        try:
            made = await self._together(news, step.at)
            unstored.difference_update(wallet for wallet, new in news.items() if new.id in made)
            alone = (self._pay_alone(new, step.at) for new in news.values() if new.id not in made)
            return sum(await asyncio.gather(*map(self._start, made.values()), *alone))
        finally:
            unstored.difference_update(some)

    def _new(self, step: PayDueStep, wallet: DueWallet) -> NewPayout:
        return NewPayout(
            id=new_id("pt"),
            tenant_id=wallet.tenant_id,
            seller_account=wallet.seller_account,
            currency=wallet.currency,
            amount=None,
            psp=self._psp,
            actor=f"run of {step.business_date}",
            send_for_s=self._send_for_s,
            payable=self._payable,
            run_id=step.run_id,
            business_date=step.business_date,
        )

    async def _together(self, news: Mapping[DueWallet, NewPayout], at: datetime) -> Mapping[str, Payout]:
        """Those that are as usual, in one statement; whatever is wrong with it, each is then made by itself."""
        try:
            return await hot.request(self._database, [(new, wallet.available) for wallet, new in news.items()], at)
        except Exception as error:  # noqa: BLE001 - what it is comes up again with the seller that it is about
            activity.logger.warning("payout run: %r", error)
            return {}

    async def _pay_alone(self, new: NewPayout, at: datetime) -> bool:
        row = await self._requested(new, at)
        return row is not None and await self._start(row)

    async def _start(self, row: Payout) -> bool:
        """True: it is stored, and is started now or by the sweeper."""
        try:
            await self._workflows.start_payout(row, fresh=True)
        except PaysagaError as error:
            activity.logger.warning("payout run: %s: %s", row.id, error)
        return True

    async def _requested(self, new: NewPayout, at: datetime) -> Payout | None:
        """One seller's payout. Whatever is wrong with one must not keep the others from theirs: it is tried again for a
        moment, then a task for a person. Where not even that can be written the database is away, and the page is tried
        again."""
        failure = ""
        for _ in range(_SELLER_TRIES):
            try:
                return await self._database.run_patiently(lambda c: payout_request.request(c, new, at))
            except (Conflict, Unprocessable):
                return None  # paid for this date already, frozen, or spent since the page was read
            except Exception as error:  # noqa: BLE001 - whatever it is, it is written down
                activity.logger.warning("payout run: %s: %r", new.seller_account, error)
                failure = str(error) or type(error).__name__
                activity.heartbeat(new.seller_account)
                await asyncio.sleep(_LOOK_S)
        who = f"{new.seller_account} {new.currency}"
        detail = f"{who} could not be paid for {new.business_date}: {failure[:_DETAIL_MAX]}"
        object_id = f"{new.tenant_id}/{new.seller_account}/{new.currency}"
        await self._database.run(
            lambda c: task.open_task(c, new.tenant_id, None, SELLER_LEFT_OUT, detail, object_id=object_id)
        )
        return None


async def _sleep_until(at: float) -> None:
    """`at`: on the loop's clock."""
    while (left_s := at - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(min(left_s, _HEARTBEAT_S))
        activity.heartbeat()


async def _some_end(under_way: set[asyncio.Task[int]]) -> int:
    """Wait until one has ended, or for a heartbeat; how many payouts they made. Raises what one of them raised."""
    ended, _ = await asyncio.wait(under_way, timeout=_HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
    activity.heartbeat()
    under_way -= ended
    return sum([one.result() for one in ended])
