"""Refunds that meet a crash, an open payment, the PSP's dashboard, or their own failure: all of them become our
records."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.e2e.test_cancel import sweep
from tests.e2e.test_crash import PAYMENT_LOCK, blocked, row_lock
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The API hosts no worker here, so that the worker process is the one to kill. A refund that pends at the PSP does
    so until a test steers it."""
    quick = {"api_worker": False, "workflow_task_timeout_s": 2.0}
    async with Deployment(servers, tmp_path_factory.mktemp("races"), "races_refund", **quick) as deployment:
        await deployment.sandbox.configure(processing_delay_s=None)
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    """A tenant of the test's own; the books of all are audited at its end."""
    if not paysaga.worker.running:  # the test before this one failed
        await paysaga.start_worker()
    yield await paysaga.shop(f"races-{secrets.token_hex(5)}")
    assert await audit_database(paysaga.database) == []


async def psp_refund(shop: Shop, payment_id: str, *statuses: str, sweeping: bool = False) -> dict[str, Any]:
    """The refund that was made in the PSP's dashboard, once it is our record with one of the statuses."""

    async def probe() -> dict[str, Any] | None:
        if sweeping:
            await sweep(shop.paysaga)
        refunds = (await shop.get(f"/v1/payments/{payment_id}/refunds")).json()["data"]
        return next((r for r in refunds if r["origin"] == "psp" and r["status"] in statuses), None)

    return await eventually(probe, what=f"a refund of the PSP's {statuses}")


async def test_an_order_whose_settlement_was_repeated_after_a_crash_is_refunded_in_full(
    paysaga: Deployment, shop: Shop
) -> None:
    first = await shop.paid(shop.checkout(), orders=[("bo", "1.00")])  # bo's wallet exists from now on
    await shop.until(first["id"], "SUCCESS")
    checkout = shop.checkout()
    async with row_lock(paysaga, "SELECT FROM wallet WHERE seller_account = 'bo' FOR UPDATE"):
        payment = (await shop.pay(checkout, orders=[("anna", "300.00"), ("bo", "200.00")], wait=0)).json()
        await blocked(paysaga)
        await paysaga.worker.kill()
    await paysaga.start_worker()
    ended = await shop.until(payment["id"])
    assert ended["status"] == "SUCCESS"
    pending = await paysaga.sql(
        "SELECT seller_account, pending_amount FROM payment_order WHERE payment_id = $1 ORDER BY seller_account",
        payment["id"],
    )
    assert [tuple(row) for row in pending] == [("anna", 29100), ("bo", 19400)]
    refund = await shop.refunded(payment["id"], payment_order_id=ended["payment_orders"][0]["id"])
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert (await paysaga.sandbox.log(checkout)).refunded == [30000]


# --- one order is settled, the refund of the other pends ---


async def half_settled(paysaga: Deployment, shop: Shop, checkout: str) -> dict[str, Any]:
    """A payment of 300.00 for anna, whose order is SUCCESS, and 200.00 for bo, whose refund pends."""
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    orders = [("anna", "300.00"), ("bo", "200.00")]
    payment = await shop.paid(
        checkout, "pm_card_pendingRefund", orders=orders, on_partial_failure="keep_successful", wait=0
    )
    await paysaga.sandbox.struck(hold)
    await shop.set_merchant("bo", status="FROZEN")
    await paysaga.sandbox.release(hold)
    payment = await shop.until(payment["id"], "PENDING")
    assert payment["payment_orders"][0]["status"] == "SUCCESS"
    return payment


async def let_succeed(paysaga: Deployment, checkout: str, amount: int) -> None:
    """The refund of this amount is through."""
    refunds = (await paysaga.sandbox.log(checkout)).refunds
    (pending,) = [r["refund"] for r in refunds if (r["status"], r["amount"]) == ("pending", amount)]
    await paysaga.sandbox.steer_refund(pending, "succeed")


async def test_a_refund_in_the_dashboard_of_a_payment_that_is_still_open_waits_for_its_end(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    payment = await half_settled(paysaga, shop, checkout)
    made = await paysaga.sandbox.refund_by_hand(await shop.reference(payment["id"]), 10000)
    await paysaga.sandbox.steer_refund(made["id"], "succeed")
    await paysaga.sandbox.flush_webhooks()
    for _ in range(3):  # more often than an event is tried whose payment has ended
        await asyncio.gather(*(sweep(paysaga) for _ in range(8)))
    assert (await shop.payment(payment["id"]))["status"] == "PENDING"
    assert await paysaga.sql("SELECT type FROM webhook_inbox WHERE status = 'DEAD'") == []
    await let_succeed(paysaga, checkout, 20000)
    await shop.until(payment["id"])
    refund = await psp_refund(shop, payment["id"], "SUCCEEDED", sweeping=True)
    assert refund["amount"] == "100.00"
    assert (await paysaga.sandbox.log(checkout)).refunded == [20000, 10000]
    assert (await shop.explain(payment["id"]))["tasks"] == []


async def tasks_of(shop: Shop, payment_id: str) -> list[str]:
    return [task["kind"] for task in (await shop.explain(payment_id))["tasks"]]


async def test_what_we_ask_for_and_the_psp_refuses_exceeds_nothing(paysaga: Deployment, shop: Shop) -> None:
    """Its funds are set aside when somebody refunds the charge in the dashboard."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    hold = await paysaga.sandbox.fault("refunds.create", "hold_before", checkout=checkout)
    ours = await shop.refunded(payment["id"], wait=0)
    await paysaga.sandbox.struck(hold)
    await paysaga.sandbox.refund_by_hand(await shop.reference(payment["id"]), 50000)
    await psp_refund(shop, payment["id"], "SUCCEEDED")
    assert await tasks_of(shop, payment["id"]) == []
    assert await audit_database(paysaga.database) == []
    await paysaga.sandbox.release(hold)
    await shop.refund_until(ours["id"], "FAILED")
    assert await tasks_of(shop, payment["id"]) == []


async def test_what_is_disputed_and_refunded_after_all_exceeds_what_was_paid(paysaga: Deployment, shop: Shop) -> None:
    """It is said when the refund is made, not while it may still fail."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_pendingRefund")
    ours = await shop.refunded(payment["id"])
    await paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    assert await tasks_of(shop, payment["id"]) == []
    assert await audit_database(paysaga.database) == []
    await let_succeed(paysaga, checkout, 50000)
    await shop.refund_until(ours["id"], "SUCCEEDED")
    assert await tasks_of(shop, payment["id"]) == ["refund_exceeds"]


async def test_a_lost_refund_of_a_payment_that_is_still_open_is_taken_up_by_the_sweeper(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    payment = await half_settled(paysaga, shop, checkout)
    refused = await paysaga.sandbox.fault("refunds.create", "http_503", checkout=checkout, times=None)
    anna = payment["payment_orders"][0]["id"]
    refund = await shop.refunded(payment["id"], payment_order_id=anna, amount="10.00", wait=0)
    await paysaga.sandbox.struck(refused)
    await paysaga.temporal.get_workflow_handle(f"refund:{refund['id']}").terminate("by an operator's mistake")
    await paysaga.sandbox.clear(refused)
    assert (await sweep(paysaga))["refunds"] >= 1
    await shop.refund_until(refund["id"], "PENDING")
    await let_succeed(paysaga, checkout, 1000)
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert (await shop.payment(payment["id"]))["status"] == "PENDING", "nothing else has moved"
    await let_succeed(paysaga, checkout, 20000)
    await shop.until(payment["id"])
    assert sorted((await paysaga.sandbox.log(checkout)).refunded) == [1000, 20000]


# --- made at the PSP ---


async def test_a_refund_that_is_told_of_before_its_charge_is_known_becomes_our_record(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    for event in ("payment_intent.*", "charge.*"):
        await paysaga.sandbox.webhook_fault(event, "lost", checkout=checkout, times=None)
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = await shop.paid(checkout, wait=0)
    await paysaga.sandbox.struck(hold)
    (charge,) = (await paysaga.sandbox.log(checkout)).charges
    await paysaga.sandbox.refund_by_hand(charge["payment_intent"], 10000)
    await paysaga.sandbox.flush_webhooks()
    await paysaga.sandbox.release(hold)
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    refund = await psp_refund(shop, payment["id"], "SUCCEEDED", sweeping=True)
    assert refund["amount"] == "100.00"
    (order,) = (await shop.payment(payment["id"]))["payment_orders"]
    assert (order["refundable_amount"], order["refund_status"]) == ("400.00", "PARTIALLY_REFUNDED")


async def test_a_refund_of_another_amount_that_was_accepted_and_fails_is_booked_back(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    await shop.until(payment["id"], "SUCCESS")
    before = await shop.balances()
    await paysaga.sandbox.fault("refunds.create", "wrong_amount", checkout=checkout, delta=100)
    asked = await shop.refunded(payment["id"], amount="200.00")
    await shop.refund_until(asked["id"], "NEEDS_ATTENTION")
    await paysaga.update(f"refund:{asked['id']}", "resolve", {"decision": "accept", "by": "olga"})
    refund = await psp_refund(shop, payment["id"], "SUCCEEDED", sweeping=True)
    assert refund["amount"] == "201.00"
    (made,) = (await paysaga.sandbox.log(checkout)).refunds
    await paysaga.sandbox.steer_refund(made["refund"], "fail")
    assert (await psp_refund(shop, payment["id"], "FAILED", sweeping=True))["id"] == refund["id"]
    assert await shop.balances() == before
    (order,) = (await shop.payment(payment["id"]))["payment_orders"]
    assert (order["refundable_amount"], order["refund_status"]) == ("500.00", None)
    assert [task["kind"] for task in (await shop.explain(payment["id"]))["tasks"]] == ["refund_came_back"]


async def test_a_refund_that_comes_back_while_it_is_booked_as_made_is_looked_at_at_once(
    paysaga: Deployment, shop: Shop
) -> None:
    """The message reaches a run that is about to end, and no sweeper comes."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_pendingRefund")
    refund = await shop.refunded(payment["id"])
    await shop.refund_until(refund["id"], "PENDING")
    (made,) = (await paysaga.sandbox.log(checkout)).refunds
    await paysaga.sandbox.flush_webhooks()
    for event in ("refund.*", "charge.refund*"):
        await paysaga.sandbox.webhook_fault(event, "lost", checkout=checkout, times=None)
    workflow = paysaga.temporal.get_workflow_handle(f"refund:{refund['id']}")
    async with row_lock(paysaga, PAYMENT_LOCK, payment["id"]):
        await paysaga.sandbox.steer_refund(made["refund"], "succeed")
        await workflow.signal("nudge")
        await blocked(paysaga)
        await paysaga.sandbox.steer_refund(made["refund"], "fail")
        await workflow.signal("nudge")
    await workflow.result()
    assert (await shop.get(f"/v1/refunds/{refund['id']}")).json()["status"] == "FAILED"
