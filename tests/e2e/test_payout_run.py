"""The payout run: who is due, and that each of them is paid once for a business date, whatever happens meanwhile."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from db import merchant
from db.audit.audit import audit_database
from db.merchant import schedule_terms
from db.payout import run as payout_run
from domain.money import to_major
from domain.payout import PAYOUT_RUN_WORKFLOW, Interval, PayoutPace, PayoutRunInput, PayoutSchedule, is_due, next_due
from embedded.stack import EmbeddedStack
from tests.e2e.test_crash import restart
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

DAY = timedelta(days=1)
AMOUNT = 10_000
FAST = PayoutPace(page=7, rate_per_s=500)

DAYS = iter(date(2031, 1, 1) + n * DAY for n in range(1000))
"""There is one run for each date, so each test takes its own."""


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The API hosts no worker here, so that the worker process is the one to kill."""
    quick = payouts.QUICK | {"api_worker": False, "workflow_task_timeout_s": 2.0, "stripe_rate_per_s": 1000.0}
    async with Deployment(servers, tmp_path_factory.mktemp("run"), "payout_run", **quick) as deployment:
        await deployment.sandbox.configure(**payouts.PSP)
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    if not paysaga.worker.running:  # the test before this one failed
        await paysaga.start_worker()
    yield await paysaga.shop(f"run-{secrets.token_hex(5)}", sellers=())
    assert await audit_database(paysaga.database) == []


@pytest.fixture(autouse=True)
async def alone(shop: Shop) -> AsyncIterator[None]:
    """A run pays every tenant's sellers: those of a test are not due in the next."""
    yield
    await shop.paysaga.sql("UPDATE merchant SET status = 'FROZEN' WHERE tenant_id = $1", shop.tenant)


async def sellers_with(shop: Shop, schedule: PayoutSchedule, *sellers: str, **fields: Any) -> None:
    """Sellers with this schedule and an account at the PSP that pays."""
    columns: Any = schedule_terms(schedule) | {"name": "", "fee_percent": 0, "fee_fixed": 0}

    async def create(connection: Any) -> None:
        for seller in sellers:
            account = {"seller_account": seller, "payout_account": f"acct_paysOut_{secrets.token_hex(4)}"}
            await merchant.create(connection, shop.tenant, columns | account | fields)

    await shop.paysaga.database.run(create)


DAILY = PayoutSchedule(interval=Interval.DAILY)


async def daily(shop: Shop, count: int) -> list[str]:
    """Sellers who are due each day, with something to be paid."""
    sellers = [f"seller-{number:03}" for number in range(count)]
    await sellers_with(shop, DAILY, *sellers)
    await payouts.fund(shop, *sellers, amount=AMOUNT)
    return sellers


async def start(paysaga: Deployment, day: date, pace: PayoutPace = FAST, **more: Any) -> Any:
    inp = PayoutRunInput(business_date=day, by="test", pace=pace, **more)
    workflow_id = f"{paysaga.name}-run-{day}-{secrets.token_hex(3)}"
    return await paysaga.temporal.start_workflow(
        PAYOUT_RUN_WORKFLOW, inp, id=workflow_id, task_queue=paysaga.name, task_timeout=timedelta(seconds=2)
    )


async def run(paysaga: Deployment, day: date, **more: Any) -> int:
    """How many payouts it made itself."""
    report: dict[str, Any] = await (await start(paysaga, day, **more)).result()
    assert report["business_date"] == day.isoformat()
    return int(report["payouts"])


async def made(shop: Shop, day: date) -> Counter[str]:
    """Payouts by seller, as the shop sees them."""
    found: Counter[str] = Counter()
    more: dict[str, str] = {}
    while True:
        page = (await shop.get("/v1/payouts", business_date=day.isoformat(), **more)).json()
        found.update(one["seller_account"] for one in page["data"])
        if page["next_cursor"] is None:
            return found
        more = {"cursor": page["next_cursor"]}


async def all_paid(shop: Shop) -> None:
    async def probe() -> bool:
        return not await shop.paysaga.sql("SELECT FROM payout WHERE tenant_id = $1 AND status <> 'PAID'", shop.tenant)

    await eventually(probe, timeout_s=60, what="every payout is paid")


async def at_the_psp(shop: Shop) -> dict[str, Counter[str]]:
    """Transfers and payouts at the PSP, by our payout's id."""
    ours = {row["id"] for row in await shop.paysaga.sql("SELECT id FROM payout WHERE tenant_id = $1", shop.tenant)}
    log = await shop.paysaga.sandbox.ground_truth()
    return {
        kind: Counter(
            one["metadata"]["paysaga_payout"] for one in log[kind] if one["metadata"]["paysaga_payout"] in ours
        )
        for kind in payouts.NOTHING
    }


# --- who is due ---

SCHEDULES = {
    "manual": PayoutSchedule(),
    "daily": DAILY,
    "mondays": PayoutSchedule(interval=Interval.WEEKLY, weekdays=(0,)),
    "weekend": PayoutSchedule(interval=Interval.WEEKLY, weekdays=(5, 6)),
    "first": PayoutSchedule(interval=Interval.MONTHLY, monthdays=(1,)),
    "halves": PayoutSchedule(interval=Interval.MONTHLY, monthdays=(15, 31)),
    "thirtieth": PayoutSchedule(interval=Interval.MONTHLY, monthdays=(30,)),
}


async def due(shop: Shop, day: date) -> set[tuple[str, str]]:
    found = (await shop.paysaga.database.read(lambda c: payout_run.due(c, day, None, 10_000))).wallets
    return {(one.seller_account, one.currency) for one in found if one.tenant_id == shop.tenant}


async def test_the_run_asks_for_those_whom_the_schedule_means(shop: Shop) -> None:
    """Each day of three months, with the ends of short and long ones, in the database and by the rule."""
    for seller, schedule in SCHEDULES.items():
        await sellers_with(shop, schedule, seller)
    await payouts.fund(shop, *SCHEDULES, amount=1)
    first = date(2027, 12, 1)
    for day in (first + n * DAY for n in range(95)):
        wanted = {(seller, "INR") for seller, schedule in SCHEDULES.items() if is_due(schedule, day)}
        assert await due(shop, day) == wanted, day


def test_the_next_due_day_is_the_first_that_is_due() -> None:
    first = date(2028, 1, 1)
    for schedule in SCHEDULES.values():
        for day in (first + n * DAY for n in range(366)):
            found = next_due(schedule, day)
            by_hand = [d for d in (day + n * DAY for n in range(62)) if is_due(schedule, d)]
            assert found == (by_hand[0] if by_hand else None), (schedule, day)


async def indebted(shop: Shop, seller: str) -> None:
    """Owes AMOUNT: it was earned, paid out, and then given back to the buyer on credit."""
    (payment,) = await payouts.earn(shop, to_major(AMOUNT, "INR"), seller=seller)
    payout = await payouts.request(shop, seller)
    await payouts.until(shop, payout["id"], "PAID")
    refund = await shop.post(f"/v1/payments/{payment['id']}/refunds", {})
    assert refund.json()["status"] == "SUCCEEDED", refund.text
    assert (await payouts.wallet(shop, seller))["owed"] == to_major(AMOUNT, "INR")


async def test_who_has_too_little_or_cannot_be_paid_is_not_due(shop: Shop) -> None:
    minimum = PayoutSchedule(interval=Interval.DAILY, minimum={"INR": 50_000, "USD": 100})
    await sellers_with(shop, minimum, "small", "exact")
    more_than_an_integer = PayoutSchedule(interval=Interval.DAILY, minimum={"INR": 2**31})
    await sellers_with(shop, more_than_an_integer, "mighty")
    await sellers_with(shop, DAILY, "frozen", status="FROZEN")
    await sellers_with(shop, DAILY, "nowhere", payout_account=None)
    await sellers_with(shop, DAILY, "debtor", "poor", allow_negative_balance=True)
    await payouts.fund(shop, "small", amount=49_999)
    await payouts.fund(shop, "small", amount=100, currency="USD")
    await payouts.fund(shop, "exact", amount=50_000)
    await payouts.fund(shop, "frozen", "nowhere", "mighty", amount=AMOUNT)
    # What is owed is kept back: more than there is, and less.
    await asyncio.gather(*(indebted(shop, seller) for seller in ("poor", "debtor")))
    await payouts.fund(shop, "poor", amount=AMOUNT)
    await payouts.fund(shop, "debtor", amount=AMOUNT + 1)
    day = next(DAYS)
    assert await due(shop, day) == {("small", "USD"), ("exact", "INR"), ("debtor", "INR")}
    await run(shop.paysaga, day)
    assert await made(shop, day) == Counter(["small", "exact", "debtor"])
    amounts = await shop.paysaga.sql(
        "SELECT seller_account, amount FROM payout WHERE tenant_id = $1 AND business_date = $2", shop.tenant, day
    )
    assert {row["seller_account"]: row["amount"] for row in amounts} == {"small": 100, "exact": 50_000, "debtor": 1}
    await all_paid(shop)


# --- once for each date ---


async def test_a_second_run_of_the_date_pays_nothing_more(paysaga: Deployment, shop: Shop) -> None:
    sellers, day = await daily(shop, 10), next(DAYS)
    assert await run(paysaga, day) == 10
    assert await run(paysaga, day) == 0
    await payouts.fund(shop, *sellers, amount=AMOUNT)
    assert await run(paysaga, day) == 0, "new money is paid on the next date"
    assert await made(shop, day) == Counter(sellers)
    following = next(DAYS)
    assert await run(paysaga, following) == 10
    assert await made(shop, following) == Counter(sellers)
    rows = await paysaga.sql("SELECT payouts FROM payout_run WHERE business_date IN ($1, $2)", day, following)
    assert [row["payouts"] for row in rows] == [10, 10]
    await all_paid(shop)


async def test_two_runs_of_one_date_at_once_pay_each_seller_once(paysaga: Deployment, shop: Shop) -> None:
    sellers, day = await daily(shop, 30), next(DAYS)
    ends = await asyncio.gather(*(run(paysaga, day) for _ in range(3)))
    assert sum(ends) == 30
    assert await made(shop, day) == Counter(sellers)
    await all_paid(shop)
    moved = await at_the_psp(shop)
    assert [set(moved[kind].values()) for kind in ("transfers", "payouts")] == [{1}, {1}]


async def test_one_seller_who_cannot_be_paid_does_not_keep_the_others(paysaga: Deployment, shop: Shop) -> None:
    sellers, day = await daily(shop, 5), next(DAYS)
    await sellers_with(shop, DAILY, "refused", payout_account=f"acct_transferRefused_{secrets.token_hex(3)}")
    await payouts.fund(shop, "refused", amount=AMOUNT)
    assert await run(paysaga, day) == 6

    async def ended() -> bool:
        statuses = await paysaga.sql("SELECT status FROM payout WHERE tenant_id = $1", shop.tenant)
        return Counter(row["status"] for row in statuses) == Counter({"PAID": 5, "FAILED": 1})

    await eventually(ended, what="five are paid and one has failed")
    assert await made(shop, day) == Counter([*sellers, "refused"])
    # It has paid nothing, so the date is not over for this seller.
    await shop.set_merchant("refused", payout={"account": f"acct_paysOut_{secrets.token_hex(3)}"})
    assert await run(paysaga, day) == 1
    assert await made(shop, day) == Counter([*sellers, "refused", "refused"])
    (again,) = await paysaga.sql(
        "SELECT id FROM payout WHERE tenant_id = $1 AND seller_account = 'refused' AND status <> 'FAILED'", shop.tenant
    )
    await payouts.until(shop, again["id"], "PAID")
    assert await run(paysaga, day) == 0


async def test_one_seller_whose_books_are_wrong_is_left_out_for_a_person(paysaga: Deployment, shop: Shop) -> None:
    """A wallet that says more than its postings: nothing is paid from it, whatever the run does."""
    sellers, day = await daily(shop, 3), next(DAYS)
    more = "UPDATE wallet SET available = available + $2 WHERE tenant_id = $1 AND seller_account = 'seller-001'"
    await paysaga.sql(more, shop.tenant, 1)
    assert await run(paysaga, day) == 2
    assert await made(shop, day) == Counter(["seller-000", "seller-002"])
    (left_out,) = await paysaga.sql("SELECT kind, detail FROM operator_task WHERE tenant_id = $1", shop.tenant)
    assert left_out["kind"] == "payout_not_made"
    assert f"seller-001 INR could not be paid for {day}" in left_out["detail"]
    await paysaga.sql(more, shop.tenant, -1)
    assert await run(paysaga, day) == 1
    assert await made(shop, day) == Counter(sellers)
    await all_paid(shop)


async def test_a_scheduled_run_names_the_dates_that_had_none(paysaga: Deployment) -> None:
    today = datetime.now(UTC).date()
    before = "INSERT INTO payout_run (id, business_date, actor, started_at, ended_at) VALUES ($1, $2, 'test', $3, $4)"
    long_ago = datetime.now(UTC) - 5 * DAY
    await paysaga.sql(before, "prun_ended", today - 5 * DAY, long_ago, long_ago)
    await paysaga.sql(before, "prun_broken", today - 3 * DAY, long_ago, None)
    scheduled = PayoutRunInput(zone="UTC", pace=FAST)
    name = f"{paysaga.name}-scheduled-{secrets.token_hex(3)}"
    await paysaga.temporal.execute_workflow(PAYOUT_RUN_WORKFLOW, scheduled, id=name, task_queue=paysaga.name)

    async def missed() -> list[str]:
        query = "SELECT object_id FROM operator_task WHERE kind = 'payout_run_missed' AND closed_at IS NULL"
        return sorted(row["object_id"] for row in await paysaga.sql(query))

    assert await missed() == [str(today - 3 * DAY), str(today - 2 * DAY), str(today - DAY)]
    for days in (3, 2, 1):
        await run(paysaga, today - days * DAY)
    assert await missed() == []


async def test_a_page_of_sellers_who_are_not_due_is_not_the_end(paysaga: Deployment, shop: Shop) -> None:
    others = [f"a-{number}" for number in range(2 * FAST.page)]
    await sellers_with(shop, PayoutSchedule(), *others)
    await sellers_with(shop, DAILY, "last")
    await payouts.fund(shop, *others, "last", amount=AMOUNT)
    day = next(DAYS)
    assert await run(paysaga, day) == 1
    assert await made(shop, day) == Counter(["last"])
    await all_paid(shop)


async def test_a_run_that_continues_as_new_goes_on_where_it_was(paysaga: Deployment, shop: Shop) -> None:
    """As it starts itself again: with its run, and the last seller whom it had looked at."""
    sellers, day = await daily(shop, 20), next(DAYS)
    run_id = await paysaga.database.run(lambda c: payout_run.open_run(c, day, "test", datetime.now(UTC)))
    end = await run(paysaga, day, run_id=run_id, after=(shop.tenant, sellers[11], "INR"), payouts=12)
    assert end == 12 + 8
    assert await made(shop, day) == Counter(sellers[12:])
    await all_paid(shop)


async def test_no_more_are_made_than_the_psp_takes(paysaga: Deployment, shop: Shop) -> None:
    sellers, day = await daily(shop, 40), next(DAYS)
    silence = await paysaga.sandbox.fault("transfers.create", "hold_before", times=40)
    handle = await start(paysaga, day, PayoutPace(page=40, rate_per_s=500, unsent_max=10))

    async def waiting() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        said = [p for a in pending for p in a.heartbeat_details.payloads]
        return any("waiting for the PSP" in str(one) for one in await paysaga.temporal.data_converter.decode(said))

    # Of what an activity says, the SDK passes on one in 0.8 of its heartbeat timeout.
    await eventually(waiting, timeout_s=40, what="the run waits")
    assert 10 <= (await made(shop, day)).total() < 20
    # Those that hang for long do not keep the others.
    await paysaga.sql(
        "UPDATE payout SET created_at = created_at - interval '2 minutes' WHERE tenant_id = $1", shop.tenant
    )

    async def more() -> bool:
        return (await made(shop, day)).total() > 20

    await eventually(more, what="the run goes on")
    await paysaga.sandbox.clear(silence)
    await handle.result()
    assert await made(shop, day) == Counter(sellers)
    await all_paid(shop)


async def test_a_run_whose_worker_is_killed_twice_pays_each_seller_once(paysaga: Deployment, shop: Shop) -> None:
    count, day = 60, next(DAYS)
    sellers = await daily(shop, count)
    handle = await start(paysaga, day, PayoutPace(page=25, rate_per_s=30))
    for killed_at in (count // 4, count * 3 // 4):

        async def so_many(wanted: int = killed_at) -> bool:
            return (await made(shop, day)).total() >= wanted

        await eventually(so_many, timeout_s=60, what=f"{killed_at} payouts")
        await restart(paysaga)
    await handle.result()
    assert await made(shop, day) == Counter(sellers)
    sweeping = await paysaga.temporal.start_workflow(
        "sweep", id=f"sweep-{secrets.token_hex(5)}", task_queue=paysaga.name
    )
    await sweeping.result()
    await all_paid(shop)
    moved = await at_the_psp(shop)
    ours = {row["id"] for row in await paysaga.sql("SELECT id FROM payout WHERE tenant_id = $1", shop.tenant)}
    once = Counter(ours)
    assert moved == {"transfers": once, "transfer_reversals": Counter(), "payouts": once}
