"""What takes days and weeks: payouts that the bank has, persons who do not answer, delays, schedules and deadlines."""

import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from db.audit.audit import audit_database
from domain.payout import PAYOUT_RUN_WORKFLOW, PayoutPace, PayoutRunInput
from tests.support import payouts
from tests.support.eventually import eventually
from tests.support.payouts import went
from tests.support.shop import Shop
from tests.workflow.conftest import Skipping

DAY = timedelta(days=1)
EARNED = 10_000


@pytest.fixture
async def shop(skipping: Skipping) -> AsyncIterator[Shop]:
    yield await skipping.shop(f"days-{secrets.token_hex(5)}")
    findings = await audit_database(skipping.database)
    assert [found for found in findings if not _is_of_the_clock(found)] == []


def _is_of_the_clock(finding: Any) -> bool:
    """The audit's clock is the database's, which does not skip."""
    return "should have been looked at" in str(finding)


async def timers(skipping: Skipping, workflow_id: str) -> list[timedelta]:
    """How long a workflow meant to wait, each time."""
    history = await skipping.temporal.get_workflow_handle(workflow_id).fetch_history()
    started = [event for event in history.events if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED]
    return [event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta() for event in started]


async def result(skipping: Skipping, workflow_id: str) -> Any:
    """Its end, for which time skips: at the latest at its next look."""
    await skipping.env.sleep(timedelta(hours=7))
    return await skipping.temporal.get_workflow_handle(workflow_id).result()


async def test_a_payout_that_the_bank_has_for_days_is_looked_at_ever_more_rarely(
    skipping: Skipping, shop: Shop
) -> None:
    await payouts.fund(shop, "anna", amount=EARNED)
    payout_id, reference = await payouts.failing(shop)
    await skipping.env.sleep(4 * DAY)
    assert (await shop.get(f"/v1/payouts/{payout_id}")).json()["status"] == "IN_TRANSIT"
    await skipping.sandbox.steer_payout(reference, "pay")
    await result(skipping, f"payout:{payout_id}")
    await payouts.until(shop, payout_id, "PAID")
    waits = [wait.total_seconds() for wait in await timers(skipping, f"payout:{payout_id}")]
    assert waits[:10] == [60.0 * 2**n for n in range(9)] + [21_600.0]
    assert set(waits[9:]) == {21_600.0}
    assert 4 * 86_400 < sum(waits) < 4.5 * 86_400
    asked = (await skipping.sandbox.ground_truth())["requests"]
    looks = [r for r in asked if r["operation"] == "payouts.retrieve" and r["account"].startswith("acct_payoutStays")]
    assert len(looks) == len(waits)
    assert await payouts.amounts(skipping.sandbox, payout_id) == went(EARNED)


async def test_a_transfer_under_a_dead_key_is_looked_for_ten_minutes(skipping: Skipping, shop: Shop) -> None:
    await payouts.fund(shop, "anna", amount=EARNED)
    account = await payouts.with_account(shop, "anna")
    await payouts.fault(skipping.sandbox, account, payouts.TRANSFER, "http_500")
    payout_id = (await payouts.request(shop))["id"]
    await result(skipping, f"payout:{payout_id}")
    assert (await payouts.until(shop, payout_id, "FAILED"))["failure"]["code"] == "psp_error"
    waits = [wait.total_seconds() for wait in await timers(skipping, f"payout:{payout_id}")]
    assert waits[:5] == [5, 10, 20, 40, 80]
    assert max(waits) == 120
    assert await payouts.amounts(skipping.sandbox, payout_id) == payouts.NOTHING


async def test_what_the_bank_has_for_too_long_is_a_persons_and_may_still_arrive(skipping: Skipping, shop: Shop) -> None:
    await payouts.fund(shop, "anna", amount=EARNED)
    payout_id, reference = await payouts.failing(shop)
    workflow_id = f"payout:{payout_id}"
    for _ in range(2):
        await skipping.env.sleep(8 * DAY)
        late = await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
        assert late["failure"]["code"] == "payout_late"
        assert await payouts.tasks(shop, payout_id) == ["payout_late"]
        await skipping.update(workflow_id, "resolve", {"decision": "retry", "by": "olga"})
        await payouts.until(shop, payout_id, "IN_TRANSIT")
        assert await payouts.tasks(shop, payout_id) == []
    await skipping.env.sleep(8 * DAY)
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    await skipping.sandbox.steer_payout(reference, "pay")
    await result(skipping, workflow_id)
    assert (await payouts.until(shop, payout_id, "PAID"))["failure"] is None
    assert await payouts.tasks(shop, payout_id) == []
    assert await payouts.amounts(skipping.sandbox, payout_id) == went(EARNED)


async def test_a_person_may_take_two_weeks(skipping: Skipping, shop: Shop) -> None:
    await payouts.fund(shop, "anna", amount=EARNED)
    await payouts.with_account(shop, "anna", "acct_reversalRefused")
    await skipping.sandbox.configure(payout_delay_s=None)  # or it is paid before a slow machine can make it fail
    payout_id = (await payouts.request(shop))["id"]
    workflow_id = f"payout:{payout_id}"
    reference = (await payouts.until(shop, payout_id, "IN_TRANSIT"))["reference"]
    await skipping.sandbox.steer_payout(reference, "fail")
    await skipping.sandbox.configure(payout_delay_s=2)
    await skipping.env.sleep(timedelta(minutes=5))
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    await skipping.env.sleep(14 * DAY)
    assert await payouts.tasks(shop, payout_id) == ["payout_not_returned"]
    await skipping.update(workflow_id, "resolve", {"decision": "done", "by": "olga"})
    await result(skipping, workflow_id)
    assert (await shop.get(f"/v1/payouts/{payout_id}")).json()["status"] == "FAILED"
    assert await payouts.amounts(skipping.sandbox, payout_id) == went(EARNED) | {"transfer_reversals": []}
    history = await skipping.temporal.get_workflow_handle(workflow_id).fetch_history()
    assert len(history.events) < 1_000, "a person's time costs little"


async def test_a_month_of_delay_is_over_after_a_month(skipping: Skipping, shop: Shop) -> None:
    await shop.set_merchant("anna", payout={"delay_days": 30})
    await shop.paid(shop.checkout(), orders=[("anna", "500.00")])
    (order,) = await skipping.sql("SELECT available_at FROM payment_order WHERE tenant_id = $1", shop.tenant)
    left = order["available_at"] - await skipping.env.get_current_time()
    assert timedelta(days=30, minutes=-5) < left <= timedelta(days=30)
    await skipping.env.sleep(left - timedelta(hours=1))
    await payouts.release(shop)
    assert (await payouts.wallet(shop))["available"] == "0.00"
    await skipping.env.sleep(timedelta(hours=2))
    await payouts.release(shop)
    assert (await payouts.wallet(shop))["available"] == "485.00"


_RUNS = 9


async def test_daily_runs_over_the_end_of_a_month_pay_each_seller_on_the_days_of_the_schedule(
    skipping: Skipping, shop: Shop
) -> None:
    """Money comes in every day; the date is the workflow's own. A week and more, with a last day and a first in it."""
    today = (await skipping.env.get_current_time()).date()
    await skipping.env.sleep(max(0, 27 - today.day) * DAY)
    terms: dict[str, dict[str, Any]] = {
        "anna": {"interval": "daily"},
        "bo": {"interval": "weekly", "weekdays": ["monday", "thursday"]},
        "chen": {"interval": "monthly", "monthdays": [1, 31]},
    }
    for seller, term in terms.items():
        await payouts.with_account(shop, seller, **term)
    pace = PayoutPace(page=2, rate_per_s=1000)
    days: list[date] = []
    for number in range(_RUNS):
        await payouts.fund(shop, *terms, amount=100)
        report = await skipping.temporal.execute_workflow(
            PAYOUT_RUN_WORKFLOW,
            PayoutRunInput(zone="Asia/Kolkata", by="test", pace=pace),
            id=f"{shop.tenant}-run-{number}",
            task_queue=skipping.name,
        )
        days.append(date.fromisoformat(report["business_date"]))
        await skipping.env.sleep(DAY)
    assert days == [days[0] + n * DAY for n in range(_RUNS)]
    rows = await skipping.sql(
        "SELECT seller_account, business_date, amount, status FROM payout WHERE tenant_id = $1", shop.tenant
    )
    paid = {seller: sorted(row["business_date"] for row in rows if row["seller_account"] == seller) for seller in terms}
    assert paid["anna"] == days
    assert paid["bo"] == [day for day in days if day.weekday() in (0, 3)]
    assert paid["chen"] == [day for day in days if day.day == 1 or (day + DAY).day == 1] != []
    amounts = Counter({seller: sum(r["amount"] for r in rows if r["seller_account"] == seller) for seller in terms})
    assert amounts["anna"] == _RUNS * 100

    async def arrived() -> bool:
        await skipping.env.sleep(timedelta(hours=1))
        open_ones = "SELECT FROM payout WHERE tenant_id = $1 AND status <> 'PAID'"
        return not await skipping.sql(open_ones, shop.tenant)

    await eventually(arrived, what="every payout is paid")


async def test_a_charge_that_pends_for_three_days_is_cancelled(skipping: Skipping, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_upi_processing")
    assert payment["status"] == "PENDING"
    await skipping.env.sleep(2.9 * DAY)
    assert (await shop.payment(payment["id"]))["status"] == "PENDING"
    await skipping.env.sleep(0.5 * DAY)
    await shop.until(payment["id"], "FAILED", "NEEDS_ATTENTION")
    assert (await skipping.sandbox.log(checkout)).charged == []


async def test_a_buyer_at_a_screen_hears_soon_though_the_webhook_is_lost(skipping: Skipping, shop: Shop) -> None:
    """At most 15 s after the PSP knows; what is not done after the buyer's time is looked at ever more rarely."""
    checkout = shop.checkout()
    await skipping.sandbox.webhook_fault("payment_intent.*", "lost", checkout=checkout, times=None)
    payment = await shop.paid(checkout, "pm_upi_processing")
    await skipping.env.sleep(timedelta(seconds=100))
    await skipping.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    await skipping.env.sleep(timedelta(seconds=15))
    await shop.until(payment["id"], "SUCCESS")
    waits = await timers(skipping, f"payment:{payment['id']}")
    assert set(waits) == {timedelta(seconds=15)}
    assert sum(waits, timedelta(0)) <= timedelta(seconds=120)

    pending = await shop.paid(shop.checkout(), "pm_upi_processing")
    await skipping.env.sleep(timedelta(minutes=10))
    waits = await timers(skipping, f"payment:{pending['id']}")
    assert [wait.total_seconds() for wait in waits[:11]] == [15] * 8 + [30, 60, 120]


async def test_an_authorization_is_voided_before_it_expires(skipping: Skipping, shop: Shop) -> None:
    """The PSP says when it expires, so its clock has to be where the server's is."""
    ahead = await skipping.env.get_current_time() - datetime.now(UTC)
    await skipping.sandbox.control("POST", "/clock/advance", {"seconds": max(0, int(ahead.total_seconds()))})
    checkout = shop.checkout()
    payment = await shop.paid(checkout, capture="manual")
    assert payment["status"] == "AUTHORIZED"
    await skipping.env.sleep(5 * DAY)
    assert (await shop.payment(payment["id"]))["status"] == "AUTHORIZED"
    await skipping.env.sleep(3 * DAY)
    await shop.until(payment["id"], "CANCELLED", "FAILED")
    log = await skipping.sandbox.log(checkout)
    assert (log.charged, log.authorizations[-1]["status"]) == ([], "voided")
