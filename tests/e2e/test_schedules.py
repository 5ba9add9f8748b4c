"""Schedules on Temporal's dev server: each date's run has its date, and what an operator decided stays."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import ScheduleBackfill, ScheduleHandle, ScheduleOverlapPolicy

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from runtime.runs import schedule_id
from tests.e2e.test_crash import restart
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop
from workers.schedules import ensure_schedules, jobs

ZONE = ZoneInfo("Asia/Kolkata")
"""At 02:00 there it is the evening before in UTC: whoever mixes the two up has the wrong date."""
RUN_AT = time(2, 0)
DAY = timedelta(days=1)
AMOUNT = 10_000


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    at = {"worker_schedules": True, "business_zone": ZONE.key, "payout_run_at": f"{RUN_AT:%H:%M}"}
    settings = payouts.QUICK | {"api_worker": False} | at
    async with Deployment(servers, tmp_path_factory.mktemp("schedules"), "schedules", **settings) as deployment:
        await deployment.sandbox.configure(**payouts.PSP)
        yield deployment
        for job in jobs(deployment.settings):
            await schedule(deployment, job.name).delete()


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    """With three sellers who are due each day."""
    shop = await paysaga.shop(f"schedules-{secrets.token_hex(5)}")
    for seller in ("anna", "bo", "chen"):
        await payouts.with_account(shop, seller, interval="daily")
    await payouts.fund(shop, "anna", "bo", "chen", amount=AMOUNT)
    yield shop
    assert await audit_database(paysaga.database) == []


def schedule(paysaga: Deployment, name: str = "payout-run") -> ScheduleHandle:
    return paysaga.temporal.get_schedule_handle(schedule_id(paysaga.name, name))


async def ended_runs(paysaga: Deployment) -> list[date]:
    rows = await paysaga.sql("SELECT business_date FROM payout_run WHERE ended_at IS NOT NULL ORDER BY 1")
    return [row["business_date"] for row in rows]


async def all_paid(shop: Shop) -> Counter[str]:
    """Payouts by seller, once all of them are paid."""
    rows: list[Any] = []

    async def probe() -> bool:
        rows[:] = await shop.paysaga.sql("SELECT seller_account, status FROM payout WHERE tenant_id = $1", shop.tenant)
        return bool(rows) and {row["status"] for row in rows} == {"PAID"}

    await eventually(probe, timeout_s=30, what="every payout is paid")
    return Counter(row["seller_account"] for row in rows)


def moment(day: date) -> datetime:
    """When the run of this date is meant to start."""
    return datetime.combine(day, RUN_AT, ZONE).astimezone(UTC)


async def test_a_run_that_is_triggered_is_todays_where_the_business_is(paysaga: Deployment, shop: Shop) -> None:
    before = datetime.now(ZONE).date()
    await schedule(paysaga).trigger()

    async def ended() -> list[date]:
        return [day for day in await ended_runs(paysaga) if day >= before]

    days = await eventually(ended, timeout_s=30, what="the run's end")
    assert set(days) <= {before, datetime.now(ZONE).date()}
    assert await all_paid(shop) == Counter(["anna", "bo", "chen"])


async def test_backfilled_runs_have_their_own_dates_and_pay_once_however_they_overlap(
    paysaga: Deployment, shop: Shop
) -> None:
    days = [date(2026, 2, 26) + n * DAY for n in range(5)]

    def dates(first: date, last: date, overlap: ScheduleOverlapPolicy) -> ScheduleBackfill:
        slack = timedelta(minutes=1)
        return ScheduleBackfill(start_at=moment(first) - slack, end_at=moment(last) + slack, overlap=overlap)

    everything = dates(days[0], days[-1], ScheduleOverlapPolicy.ALLOW_ALL)
    await schedule(paysaga).backfill(everything, dates(days[1], days[3], ScheduleOverlapPolicy.ALLOW_ALL))

    async def ended() -> bool:
        return set(days) <= set(await ended_runs(paysaga))

    await eventually(ended, timeout_s=40, what="a run of each date")
    assert await all_paid(shop) == Counter(["anna", "bo", "chen"])
    await payouts.fund(shop, "anna", "bo", "chen", amount=AMOUNT)
    before = await started(paysaga)
    await schedule(paysaga).backfill(dates(days[0], days[-1], ScheduleOverlapPolicy.BUFFER_ALL))

    async def again() -> bool:
        return await started(paysaga) >= before + len(days)

    await eventually(again, timeout_s=40, what="each date's second run")
    runs = await paysaga.sql("SELECT count(*) AS n FROM payout_run WHERE business_date = ANY($1)", days)
    assert runs[0]["n"] == len(days)
    per_date = await paysaga.sql(
        "SELECT seller_account, business_date, count(*) AS n FROM payout WHERE tenant_id = $1 GROUP BY 1, 2",
        shop.tenant,
    )
    assert {row["n"] for row in per_date} == {1}
    await all_paid(shop)


async def started(paysaga: Deployment) -> int:
    """How many of the schedule's runs have ended in Temporal."""
    query = f"WorkflowType = 'payout_run' AND TaskQueue = '{paysaga.name}' AND ExecutionStatus = 'Completed'"
    return (await paysaga.temporal.count_workflows(query)).count


async def test_an_operators_pause_survives_a_new_worker(paysaga: Deployment, shop: Shop) -> None:
    handle = schedule(paysaga)
    await handle.pause(note="the bank is closed")
    await restart(paysaga)
    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "the bank is closed")
    await handle.unpause(note="open again")
    assert (await handle.describe()).info.next_action_times
    assert shop.tenant


async def test_the_next_runs_are_at_the_businesss_hour(paysaga: Deployment) -> None:
    description = await schedule(paysaga).describe()
    local = [at.astimezone(ZONE) for at in description.info.next_action_times]
    assert local
    assert {(at.hour, at.minute) for at in local} == {(RUN_AT.hour, RUN_AT.minute)}


async def test_two_workers_that_start_at_once_leave_one_schedule_each(paysaga: Deployment) -> None:
    await asyncio.gather(*(ensure_schedules(paysaga.temporal, paysaga.settings) for _ in range(4)))
    for job in jobs(paysaga.settings):
        assert (await schedule(paysaga, job.name).describe()).schedule.spec is not None
