"""Reviews and captures that meet a crash, a cancel, a frozen seller, the PSP's dashboard, or each other: no charge is
forgotten, no authorisation is left behind."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.e2e.test_crash import temporal_stopped
from tests.e2e.test_payment import FEE_KEPT
from tests.e2e.test_review import LARGE, rules
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

SCORE = {"name": "risky", "type": "psp_risk_score", "at_least": 60, "then": "review"}
RISKY = "pm_card_riskLevelElevated"


@pytest.fixture(scope="module")
def servers(stoppable: EmbeddedStack) -> EmbeddedStack:
    return stoppable


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The API hosts no worker here, so that the worker process is the one to kill."""
    quick = {"api_worker": False, "workflow_task_timeout_s": 2.0}
    async with Deployment(servers, tmp_path_factory.mktemp("races"), "races_review", **quick) as deployment:
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    """A tenant of the test's own; the books of all are audited at its end."""
    if not paysaga.worker.running:  # the test before this one failed
        await paysaga.start_worker()
    yield await paysaga.shop(f"races-{secrets.token_hex(5)}")
    assert await audit_database(paysaga.database) == []


async def decide(shop: Shop, payment_id: str, decision: str) -> None:
    answer = await shop.post(f"/v1/payments/{payment_id}/review", {"decision": decision}, wait=0)
    assert answer.status_code in (200, 202), answer.text


# --- approved, charged, and the task that did it never reported ---


async def charged_and_killed(paysaga: Deployment, shop: Shop, checkout: str) -> str:
    """A payment that a person approved and the PSP charged: the worker died before it could say so. Its id."""
    await rules(shop, LARGE)
    payment_id = str((await shop.paid(checkout))["id"])
    await shop.until(payment_id, "IN_REVIEW")
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    await decide(shop, payment_id, "approve")
    await paysaga.sandbox.struck(hold)
    await paysaga.worker.kill()
    return payment_id


@pytest.mark.parametrize("webhooks", ["arrived", "lost"])
async def test_cancelled_after_the_charge_of_an_approved_payment_it_is_refunded(
    paysaga: Deployment, shop: Shop, webhooks: str
) -> None:
    checkout = shop.checkout()
    if webhooks == "lost":
        await paysaga.sandbox.webhook_fault("*", "lost", checkout=checkout, times=None)
    payment_id = await charged_and_killed(paysaga, shop, checkout)
    await paysaga.sandbox.flush_webhooks()
    assert (await shop.post(f"/v1/payments/{payment_id}/cancel", wait=0)).status_code == 202
    await paysaga.start_worker()
    assert (await shop.until(payment_id))["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])
    assert await shop.balances() == FEE_KEPT


async def test_a_seller_frozen_after_the_charge_of_an_approved_payment_it_is_refunded(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    payment_id = await charged_and_killed(paysaga, shop, checkout)
    await paysaga.sandbox.flush_webhooks()
    await shop.set_merchant("anna", status="FROZEN")
    await paysaga.start_worker()
    ended = await shop.until(payment_id)
    assert (ended["status"], ended["failure"]["code"]) == ("FAILED", "wallet_refused")
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])
    assert await shop.balances() == FEE_KEPT


async def test_killed_after_the_charge_of_an_approved_payment_its_key_lives_no_longer(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    await paysaga.sandbox.webhook_fault("*", "lost", checkout=checkout, times=None)
    payment_id = await charged_and_killed(paysaga, shop, checkout)
    query = "SELECT send_until FROM charge WHERE payment_id = $1"
    sent = await paysaga.sql(query, payment_id)
    await paysaga.start_worker()
    assert (await shop.until(payment_id))["status"] == "SUCCESS"
    assert await paysaga.sql(query, payment_id) == sent, "the key was used already: it must not be sent for longer"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunds) == ([50000], [])
    assert await shop.kinds(payment_id) == ["capture", "psp_fee"]


# --- reviewed twice: before the PSP hears of it, and once it has authorised it ---


async def reviewed_again(shop: Shop, payment_id: str) -> None:
    """Until it rests in its second review."""

    async def probe() -> bool:
        await shop.until(payment_id, "IN_REVIEW")
        stages = [decision["stage"] for decision in (await shop.explain(payment_id))["risk"]]
        return stages == ["before_charge", "after_authorization"]

    await eventually(probe, what="a second review")


async def waits(paysaga: Deployment, payment_id: str) -> None:
    """Until its workflow has nothing to do but to wait."""

    async def probe() -> bool:
        history = await paysaga.temporal.get_workflow_handle(f"payment:{payment_id}").fetch_history()
        return history.events[-1].event_type == EventType.EVENT_TYPE_TIMER_STARTED

    await eventually(probe, what="its workflow waits")


async def test_cancelled_in_its_second_review_after_its_workflow_was_lost_it_is_voided(
    paysaga: Deployment, shop: Shop
) -> None:
    await rules(shop, LARGE, SCORE)
    checkout = shop.checkout()
    payment = await shop.paid(checkout, RISKY)
    await shop.until(payment["id"], "IN_REVIEW")
    await decide(shop, payment["id"], "approve")
    await reviewed_again(shop, payment["id"])
    await paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}").terminate("by an operator's mistake")
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)).status_code in (200, 202)
    assert (await shop.until(payment["id"]))["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, [a["status"] for a in log.authorizations]) == ([], ["authorized", "voided"])
    assert await shop.balances() == {}


async def test_killed_as_its_second_review_began_it_is_voided_when_a_person_rejects_it(
    paysaga: Deployment, shop: Shop, servers: EmbeddedStack
) -> None:
    await rules(shop, LARGE, SCORE)
    checkout = shop.checkout()
    payment = await shop.paid(checkout, RISKY)
    await shop.until(payment["id"], "IN_REVIEW")
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_before", checkout=checkout)
    await decide(shop, payment["id"], "approve")
    await paysaga.sandbox.struck(hold)
    async with temporal_stopped(servers):
        await paysaga.sandbox.release(hold)
        await reviewed_again(shop, payment["id"])
        await paysaga.worker.kill()
    await paysaga.start_worker()
    await waits(paysaga, payment["id"])
    await shop.until(payment["id"], "IN_REVIEW")
    await decide(shop, payment["id"], "reject")
    ended = await shop.until(payment["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("FAILED", "risk_rejected")
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, [a["status"] for a in log.authorizations]) == ([], ["authorized", "voided"])
    assert await shop.balances() == {}


async def blocked(paysaga: Deployment, number: int) -> None:
    """Until so many steps of the application wait for a lock."""
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def probe() -> bool:
        return len(await paysaga.sql(query)) >= number

    await eventually(probe, what=f"{number} steps that wait for a lock")


async def test_of_eight_payments_of_one_card_at_once_the_rules_let_one_through(paysaga: Deployment, shop: Shop) -> None:
    card = {"name": "card", "type": "velocity", "of": "card", "within_s": 3600, "count_above": 1, "then": "block"}
    await rules(shop, card)
    checkouts = [shop.checkout() for _ in range(8)]
    async with paysaga.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE risk_decision IN SHARE MODE")  # nobody can store what it decided
        payments = await asyncio.gather(
            *(shop.paid(checkout, wait=0, buyer={"id": f"buyer_{n}"}) for n, checkout in enumerate(checkouts))
        )
        await blocked(paysaga, 2)
    ends = await asyncio.gather(*(shop.until(payment["id"]) for payment in payments))
    shown = sorted((end["status"], end["failure"]["code"] if end["failure"] else "") for end in ends)
    assert shown == [("FAILED", "risk_blocked")] * 7 + [("SUCCESS", "")]
    logs = await asyncio.gather(*(paysaga.sandbox.log(checkout) for checkout in checkouts))
    assert sorted(len(log.charges) for log in logs) == [0] * 7 + [1]


# --- captures ---


async def authorized(shop: Shop, checkout: str) -> dict[str, Any]:
    payment = await shop.paid(checkout, capture="manual")
    return await shop.until(payment["id"], "AUTHORIZED")


async def capture_in_part(shop: Shop, payment_id: str) -> None:
    answer = await shop.post(f"/v1/payments/{payment_id}/capture", {"amount": "100.00"}, wait=0)
    assert answer.status_code == 202, answer.text


async def test_captured_in_full_in_the_dashboard_while_we_wanted_a_part_a_person_decides(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    payment = await authorized(shop, checkout)
    intent = await shop.reference(payment["id"])
    hold = await paysaga.sandbox.fault("payment_intents.retrieve", "hold_before", checkout=checkout)
    await paysaga.sandbox.struck(hold)
    await paysaga.sandbox.capture_by_hand(intent)
    await capture_in_part(shop, payment["id"])
    await paysaga.sandbox.release(hold)
    await shop.until(payment["id"], "NEEDS_ATTENTION")
    assert [task["kind"] for task in (await shop.explain(payment["id"]))["tasks"]] == ["amount_mismatch"]
    assert await audit_database(paysaga.database) == []
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)).status_code in (200, 202)
    assert (await shop.until(payment["id"]))["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, sum(log.refunded)) == ([50000], 50000)
    assert await shop.balances() == FEE_KEPT


async def test_killed_after_a_partial_capture_that_was_asked_for_while_no_workflow_ran(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    payment = await authorized(shop, checkout)
    await paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}").terminate("by an operator's mistake")
    hold = await paysaga.sandbox.fault("payment_intents.capture", "hold_after", checkout=checkout)
    await capture_in_part(shop, payment["id"])
    await paysaga.sandbox.struck(hold)
    await paysaga.worker.kill()
    await paysaga.start_worker()
    ended = await shop.until(payment["id"], "SUCCESS", "FAILED", "CANCELLED", "NEEDS_ATTENTION")
    (order,) = ended["payment_orders"]
    assert (ended["status"], order["captured_amount"]) == ("SUCCESS", "100.00")
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunds) == ([10000], [])
    assert (await shop.balances())["wallet:anna:pending", "INR"] == -9700
    assert (await shop.explain(payment["id"]))["tasks"] == []
