"""Pending money becomes available: when its time has come, what is left of it, and once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.audit.audit import audit_database
from db.payout import release
from domain.payout import ReleasedFunds, ReleaseFundsStep
from embedded.stack import EmbeddedStack
from tests.e2e.test_crash import row_lock
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

SOLD = "500.00"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    async with Deployment(servers, tmp_path_factory.mktemp("release"), "release", **payouts.QUICK) as deployment:
        await deployment.sandbox.configure(processing_delay_s=None, available_delay_s=0)
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    yield await paysaga.shop(f"release-{secrets.token_hex(5)}")
    assert await audit_database(paysaga.database) == []


async def sold(shop: Shop, token: str = "pm_card_visa", seller: str = "anna") -> dict[str, Any]:
    payment = await shop.paid(shop.checkout(), token, orders=[(seller, SOLD)])
    return await shop.until(payment["id"], "SUCCESS")


async def released(shop: Shop, *sellers: str, after: timedelta = timedelta(0)) -> ReleasedFunds:
    """What a run `after` that time would release of anna's, or of these sellers', whoever else is at work on it (the
    webhook of the charge)."""
    orders = 0

    async def nothing_skipped() -> bool:
        nonlocal orders
        found = [await release_once(shop, seller, after) for seller in sellers or ("anna",)]
        orders += sum(one.orders for one in found)
        return not any(one.skipped for one in found)

    await eventually(nothing_skipped, what="nobody else holds an order")
    return ReleasedFunds(orders=orders)


async def release_once(shop: Shop, seller: str = "anna", after: timedelta = timedelta(0)) -> ReleasedFunds:
    at = datetime.now(UTC)
    step = ReleaseFundsStep(due_at=at + after, at=at)
    return await shop.paysaga.database.run(lambda c: release.release(c, step, of=(shop.tenant, seller)))


async def wallet(shop: Shop, seller: str = "anna") -> tuple[str, str, str]:
    found = await payouts.wallet(shop, seller)
    return found["pending"], found["available"], found["reserved"]


async def test_the_later_of_the_psps_day_and_the_merchants_delay_counts(paysaga: Deployment, shop: Shop) -> None:
    await paysaga.sandbox.configure(available_delay_s=2 * 86_400)
    await shop.set_merchant("bo", payout={"delay_days": 5})
    for seller in ("anna", "bo"):
        await sold(shop, seller=seller)
    await paysaga.sandbox.configure(available_delay_s=0)
    assert (await released(shop, "anna", "bo", after=DAY)).orders == 0
    assert (await released(shop, "anna", "bo", after=2 * DAY)).orders == 1
    assert [await wallet(shop, seller) for seller in ("anna", "bo")] == [
        ("0.00", "485.00", "0.00"),
        ("485.00", "0.00", "0.00"),
    ]
    assert (await released(shop, "bo", after=4.9 * DAY)).orders == 0
    assert (await released(shop, "bo", after=5 * DAY)).orders == 1
    assert (await wallet(shop, "bo"))[1] == "485.00"


async def test_the_schedules_workflow_releases_what_is_due_now(shop: Shop) -> None:
    await shop.set_merchant("bo", payout={"delay_days": 1})
    await sold(shop)
    await sold(shop, seller="bo")
    await payouts.release(shop)
    assert (await wallet(shop))[1] == "485.00"
    assert (await wallet(shop, "bo"))[1] == "0.00"


async def test_only_what_was_not_refunded_is_released(shop: Shop) -> None:
    part, whole = await sold(shop), await sold(shop)
    for refund in (await shop.refunded(part["id"], amount="100.00"), await shop.refunded(whole["id"])):
        await shop.refund_until(refund["id"], "SUCCEEDED")
    assert (await released(shop)).orders == 1
    assert await wallet(shop) == ("0.00", "388.00", "0.00")


async def test_a_refund_after_the_release_is_taken_from_what_is_available(shop: Shop) -> None:
    payment = await sold(shop)
    await released(shop)
    refund = await shop.refunded(payment["id"], amount="100.00")
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert await wallet(shop) == ("0.00", "388.00", "0.00")


@pytest.mark.parametrize("reserved", ["before", "after"])
async def test_a_refund_that_fails_after_the_release_is_available_again(shop: Shop, reserved: str) -> None:
    """Wherever it was reserved: what is pending of an order was released already."""
    payment = await sold(shop, "pm_card_pendingRefund")
    if reserved == "after":
        await released(shop)
    refund = await shop.refunded(payment["id"], amount="100.00")
    await shop.refund_until(refund["id"], "PENDING")
    if reserved == "before":
        await released(shop)
    assert await wallet(shop) == ("0.00", "388.00", "97.00")
    made = (await shop.paysaga.sandbox.log(payment["checkout_id"])).refunds[0]
    await shop.paysaga.sandbox.steer_refund(made["refund"], "fail")
    await shop.refund_until(refund["id"], "FAILED")
    await released(shop)
    assert await wallet(shop) == ("0.00", "485.00", "0.00")


@pytest.mark.parametrize(("end", "left"), [("win", "970.00"), ("lose", "470.00")])
async def test_a_dispute_holds_its_money_back_from_the_release(shop: Shop, end: str, left: str) -> None:
    """Lost, it costs the seller the whole 500.00 that the buyer got back."""
    payment = await sold(shop)
    await sold(shop)
    dispute = await shop.paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    pending, _, reserved = await wallet(shop)
    assert (pending, reserved) == ("485.00", "485.00")
    assert (await released(shop)).orders == 1
    assert await wallet(shop) == ("0.00", "485.00", "485.00")
    await shop.paysaga.sandbox.steer_dispute(dispute, end)
    await shop.dispute_until(payment["id"], "WON" if end == "win" else "LOST")
    await released(shop)
    assert await wallet(shop) == ("0.00", left, "0.00")


async def test_a_frozen_sellers_money_becomes_available_and_is_not_paid(shop: Shop) -> None:
    await sold(shop)
    await payouts.with_account(shop, "anna")
    await shop.set_merchant("anna", status="FROZEN")
    assert (await released(shop)).orders == 1
    assert (await wallet(shop))[1] == "485.00"
    assert (await shop.post("/v1/payouts", {"seller_account": "anna"})).status_code == 409


async def test_what_somebody_works_on_is_left_for_the_next_time(paysaga: Deployment, shop: Shop) -> None:
    locked = await sold(shop)
    await sold(shop)
    await paysaga.sandbox.flush_webhooks()  # their arrival locks the other one
    async with row_lock(paysaga, "SELECT FROM payment WHERE id = $1 FOR UPDATE", locked["id"]):
        found = await release_once(shop)
        assert (found.orders, found.skipped) == (1, 1)
        assert await wallet(shop) == ("485.00", "485.00", "0.00")
    assert (await released(shop)).orders == 1
    assert await wallet(shop) == ("0.00", "970.00", "0.00")


async def test_a_payout_waits_for_nobody_who_works_on_a_part_of_it(paysaga: Deployment, shop: Shop) -> None:
    await payouts.with_account(shop, "anna")
    locked = await sold(shop)
    await sold(shop)
    await paysaga.sandbox.flush_webhooks()  # their arrival locks the other one
    async with row_lock(paysaga, "SELECT FROM payment WHERE id = $1 FOR UPDATE", locked["id"]):
        assert (await payouts.request(shop))["amount"] == "485.00"
        assert await wallet(shop) == ("485.00", "0.00", "0.00")
    assert (await payouts.request(shop))["amount"] == "485.00"


async def test_it_is_released_once_by_however_many(shop: Shop) -> None:
    for _ in range(3):
        await sold(shop)
    found = await asyncio.gather(*(released(shop) for _ in range(10)))
    assert sum(one.orders for one in found) + (await released(shop)).orders == 3
    assert await wallet(shop) == ("0.00", "1455.00", "0.00")
    booked = await shop.paysaga.sql(
        "SELECT count(*) AS n, count(DISTINCT source_id) AS orders FROM ledger_transaction"
        " WHERE kind = 'release' AND tenant_id = $1",
        shop.tenant,
    )
    assert tuple(booked[0]) == (3, 3)
