"""A payment from outside: HTTP in; status, ledger, wallet and the PSP's own log out."""

import secrets
from datetime import UTC, datetime

import pytest

from db.audit.audit import audit_database
from db.payment.lifecycle import confirm
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

FEE_KEPT = {("psp_fees", "INR"): 1480, ("psp_clearing:stripe", "INR"): -1480}
"""What is left of an undone charge of 500.00: the PSP keeps 2.9 % + 0.30."""


@pytest.mark.uncached
async def test_a_card_is_charged_credited_and_posted(shop: Shop) -> None:
    checkout = shop.checkout()
    answer = await shop.pay(checkout)
    assert answer.status_code == 201
    payment = answer.json()
    assert (payment["status"], payment["is_payment_done"], payment["amount"]) == ("SUCCESS", True, "500.00")
    order = payment["payment_orders"][0]
    assert (order["status"], order["wallet_updated"], order["ledger_updated"]) == ("SUCCESS", True, True)
    assert await shop.balances() == {
        ("psp_clearing:stripe", "INR"): 50000 - 1480,
        ("wallet:anna:pending", "INR"): -48500,
        ("platform_fees", "INR"): -1500,
        ("psp_fees", "INR"): 1480,
    }
    wallet = (await shop.get("/v1/wallets/anna")).json()
    (balance,) = wallet["balances"]
    (due,) = balance.pop("available_on")
    assert due["amount"] == "485.00"
    assert balance == {"currency": "INR", "pending": "485.00", "available": "0.00", "reserved": "0.00", "owed": "0.00"}
    log = await shop.paysaga.sandbox.log(checkout)
    assert log.charged == [50000]
    assert log.sent("payment_intents.create") == 1


async def test_a_declined_card_fails_and_leaves_nothing_behind(shop: Shop) -> None:
    checkout = shop.checkout()
    answer = await shop.pay(checkout, "pm_card_chargeDeclinedInsufficientFunds")
    assert answer.status_code == 201
    payment = answer.json()
    assert payment["status"] == "FAILED"
    assert payment["failure"]["code"] == "insufficient_funds"
    assert await shop.balances() == {}
    intent = await shop.reference(payment["id"])
    log = await shop.paysaga.sandbox.log(checkout)
    assert log.charged == []
    # The declined intent could still be paid with another card: it is cancelled before FAILED is written.
    assert (await shop.paysaga.sandbox.stripe(f"/v1/payment_intents/{intent}"))["status"] == "canceled"
    again = await shop.paid(checkout)
    assert (await shop.until(again["id"]))["status"] == "SUCCESS", "a failed checkout may be paid with another card"


async def test_orders_of_one_checkout_are_charged_once_and_settled_each(shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, orders=[("anna", "100.01"), ("bo", "200.02"), ("chen", "0.97")])
    assert payment["status"] == "SUCCESS"
    assert payment["is_payment_done"]
    assert [order["status"] for order in payment["payment_orders"]] == ["SUCCESS"] * 3
    log = await shop.paysaga.sandbox.log(checkout)
    assert log.charged == [30100]
    balances = await shop.balances()
    assert balances["wallet:anna:pending", "INR"] == -(10001 - 300)
    assert balances["wallet:bo:pending", "INR"] == -(20002 - 600)
    assert balances["wallet:chen:pending", "INR"] == -(97 - 3)
    assert balances["platform_fees", "INR"] == -903


async def test_the_sellers_share_of_the_psp_fee_sums_to_the_cent(paysaga: Deployment) -> None:
    shop = await paysaga.shop(f"fees-{secrets.token_hex(4)}", psp_fee_payer="seller", fee_percent=0)
    await shop.paid(shop.checkout(), orders=[("anna", "100.00"), ("bo", "100.00"), ("chen", "100.00")])
    balances = await shop.balances()
    # 2.9 % of 300.00 + 0.30 = 9.00, three equal parts
    shares = [10000 + balances[f"wallet:{seller}:pending", "INR"] for seller in ("anna", "bo", "chen")]
    assert sum(shares) == 900
    assert ("psp_fees", "INR") not in balances, "the sellers bear all of it"


@pytest.mark.uncached
async def test_three_d_secure_succeeds_by_webhook(shop: Shop) -> None:
    checkout = shop.checkout()
    answer = await shop.pay(checkout, "pm_card_threeDSecure2Required")
    assert answer.status_code == 202
    payment = answer.json()
    assert payment["status"] == "REQUIRES_ACTION"
    assert payment["next_action"]["type"] == "redirect"
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "authenticate")
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_three_d_secure_that_fails_ends_failed(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "fail_authentication")
    ended = await shop.until(payment["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("FAILED", "authentication_failed")
    assert await shop.balances() == {}


async def test_confirm_moves_on_a_payment_whose_webhook_is_lost(shop: Shop) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.webhook_fault("*", "lost", checkout=checkout, times=None)
    payment = await shop.paid(checkout, "pm_card_threeDSecure2Required")
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "authenticate")
    answer = await shop.post(f"/v1/payments/{payment['id']}/confirm")
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")


@pytest.mark.parametrize(("token", "status"), [("pm_upi_success", "SUCCESS"), ("pm_upi_failure", "FAILED")])
async def test_a_pending_payment_ends_by_webhook(shop: Shop, token: str, status: str) -> None:
    answer = await shop.pay(shop.checkout(), token)
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
    assert (await shop.until(answer.json()["id"]))["status"] == status


@pytest.mark.uncached
async def test_a_pending_payment_ends_by_poll_when_no_webhook_ever_comes(shop: Shop) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.webhook_fault("*", "lost", checkout=checkout, times=None)
    payment = await shop.paid(checkout, "pm_netbanking_success")
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"


@pytest.mark.parametrize("kind", ["doubled", "out_of_order", "late"])
async def test_repeated_and_disordered_webhooks_have_one_effect(shop: Shop, kind: str) -> None:
    checkout = shop.checkout()
    more = {"copies": 10} if kind == "doubled" else {"delay_s": 1}
    await shop.paysaga.sandbox.webhook_fault("*", kind, checkout=checkout, times=None, **more)
    payment = await shop.paid(checkout, "pm_upi_success")
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    await shop.paysaga.sandbox.flush_webhooks()
    assert (await shop.kinds(payment["id"])) == ["capture", "psp_fee"]
    assert [t["to_status"] for t in (await shop.explain(payment["id"]))["transitions"]] == [
        "EXECUTING",
        "PENDING",
        "SUCCESS",
    ]


@pytest.mark.uncached
async def test_unconfirmed_payment_is_charged_when_confirmed(shop: Shop) -> None:
    checkout = shop.checkout()
    answer = await shop.pay(checkout, confirm=False)
    assert (answer.status_code, answer.json()["status"]) == (201, "NOT_STARTED")
    assert (await shop.paysaga.sandbox.log(checkout)).requests == []
    answer = await shop.post(f"/v1/payments/{answer.json()['id']}/confirm")
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_an_unconfirmed_payment_expires_without_a_call_to_the_psp(deploy: Deploy) -> None:
    paysaga = await deploy(confirm_deadline_s=0.5)
    shop = await paysaga.shop("expiry")
    checkout = shop.checkout()
    payment = await shop.paid(checkout, confirm=False)
    ended = await shop.until(payment["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("CANCELLED", "confirmation_expired")
    assert (await paysaga.sandbox.log(checkout)).requests == []


async def test_deadlines(deploy: Deploy) -> None:
    """3DS nobody completes is cancelled; a pending payment is FAILED only when the PSP confirms it, else it needs a
    person and still ends well when the PSP at last says so."""
    paysaga = await deploy(action_deadline_s=0.5, pending_deadline_s=0.5)
    shop = await paysaga.shop("deadlines")
    abandoned = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    pending = await shop.paid(shop.checkout(), "pm_upi_processing")
    ended = await shop.until(abandoned["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("CANCELLED", "action_expired")
    await shop.until(pending["id"], "NEEDS_ATTENTION")
    assert [t["kind"] for t in (await shop.explain(pending["id"]))["tasks"]] == ["past_deadline"]
    await paysaga.sandbox.steer(await shop.reference(pending["id"]), "complete_processing")
    assert (await shop.until(pending["id"]))["status"] == "SUCCESS"
    assert (await shop.explain(pending["id"]))["tasks"] == []
    assert await audit_database(paysaga.database) == []


async def test_a_frozen_seller_is_not_credited_and_the_buyer_is_refunded(shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_upi_processing")
    await shop.set_merchant("anna", status="FROZEN")
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    ended = await shop.until(payment["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("FAILED", "wallet_refused")
    log = await shop.paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])
    assert await shop.kinds(payment["id"]) == ["psp_fee", "suspense", "suspense_refund"]
    assert await shop.balances() == FEE_KEPT


@pytest.mark.uncached
async def test_compensate_all_undoes_the_orders_that_were_posted(shop: Shop) -> None:
    checkout = shop.checkout()
    orders = [("anna", "100.00"), ("bo", "150.00"), ("chen", "250.00")]
    payment = await shop.paid(checkout, "pm_upi_processing", orders=orders)
    await shop.set_merchant("chen", status="FROZEN")
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    ended = await shop.until(payment["id"])
    assert [order["status"] for order in ended["payment_orders"]] == ["FAILED"] * 3
    assert [order["wallet_updated"] for order in ended["payment_orders"]] == [False] * 3
    log = await shop.paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [25000, 15000, 10000]), "in reverse"
    assert await shop.balances() == FEE_KEPT
    wallets = [(await shop.get(f"/v1/wallets/{seller}")).json()["balances"] for seller, _ in orders]
    assert all(balance["pending"] == "0.00" for wallet in wallets for balance in wallet)


async def test_keep_successful_undoes_only_the_refused_order(shop: Shop) -> None:
    checkout = shop.checkout()
    orders = [("anna", "100.00"), ("bo", "150.00"), ("chen", "250.00")]
    payment = await shop.paid(checkout, "pm_upi_processing", orders=orders, on_partial_failure="keep_successful")
    await shop.set_merchant("bo", status="FROZEN")
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    ended = await shop.until(payment["id"])
    assert ended["status"] == "SUCCESS"
    assert not ended["is_payment_done"]
    assert [order["status"] for order in ended["payment_orders"]] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert (await shop.paysaga.sandbox.log(checkout)).refunded == [15000]
    assert ("suspense", "INR") not in await shop.balances()


@pytest.mark.uncached
async def test_a_wrong_amount_is_held_for_a_person_and_can_be_given_back(shop: Shop) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.fault("payment_intents.create", "wrong_amount", checkout=checkout, delta=-100)
    payment = await shop.paid(checkout)
    payment = await shop.until(payment["id"], "NEEDS_ATTENTION")
    assert [task["kind"] for task in (await shop.explain(payment["id"]))["tasks"]] == ["amount_mismatch"]
    assert ("wallet:anna:pending", "INR") not in await shop.balances(), "nobody is credited"
    assert (await shop.balances())["suspense", "INR"] == -49900
    answer = await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)
    assert answer.json()["status"] == "CANCELLED"
    assert (await shop.paysaga.sandbox.log(checkout)).refunded == [49900]
    assert ("suspense", "INR") not in await shop.balances()


async def test_an_answer_that_lies_about_the_amount_is_looked_at_again(shop: Shop) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.fault(
        "payment_intents.create", "wrong_amount", checkout=checkout, delta=-100, persist=False
    )
    assert (await shop.paid(checkout))["status"] in ("SUCCESS", "EXECUTING")
    payment = await shop.payment(f"{checkout}-1")
    assert (await shop.until(payment["payment_id"]))["status"] == "SUCCESS"


@pytest.mark.uncached
@pytest.mark.parametrize("token", ["pm_card_pendingRefund", "pm_card_pendingRefundFail"])
async def test_a_refund_that_is_pending_at_the_psp(shop: Shop, token: str) -> None:
    """The order stays open until the money is back; a refund that fails waits for a person."""
    checkout = shop.checkout()
    hold = await shop.paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    answer = await shop.pay(checkout, token, wait=0)
    payment = answer.json()
    await shop.paysaga.sandbox.struck(hold)
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)
    await shop.paysaga.sandbox.release(hold)
    if token == "pm_card_pendingRefund":
        assert (await shop.until(payment["id"]))["status"] == "CANCELLED"
        assert await shop.balances() == FEE_KEPT
        return
    await shop.until(payment["id"], "NEEDS_ATTENTION")

    async def task_open() -> bool:
        return [t["kind"] for t in (await shop.explain(payment["id"]))["tasks"]] == ["refund_failed"]

    await eventually(task_open, what="a task for a person")
    assert (await shop.balances())["suspense", "INR"] == -50000, "the money is still with us, and booked as such"


@pytest.mark.uncached
async def test_a_confirm_whose_signal_is_lost_is_healed_by_the_sweeper(shop: Shop) -> None:
    """The row says EXECUTING, and the workflow sleeps: it was never told."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, confirm=False)
    now = datetime.now(UTC)
    await shop.paysaga.database.run(lambda c: confirm(c, payment["id"], 3600, now, "test"))
    await shop.paysaga.temporal.execute_workflow(
        "sweep", id=f"sweep-{secrets.token_hex(6)}", task_queue=shop.paysaga.settings.temporal_task_queue
    )
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
