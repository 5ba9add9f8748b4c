"""Disputes: what a buyer's bank takes back is booked, held, fought for, and released or lost."""

import asyncio
from functools import partial
from typing import Any

import pytest

from db.audit.audit import audit_database
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

FEE = 1500
EVIDENCE = {"fields": {"uncategorized_text": "winning_evidence", "customer_name": "Anja Buyer"}}


pytestmark = pytest.mark.usefixtures("audited")


async def disputed(
    paysaga: Deployment, shop: Shop, status: str = "NEEDS_RESPONSE", orders: Any = None, **terms: Any
) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """(payment, the PSP's dispute, ours)."""
    payment = await shop.paid(shop.checkout(), **({"orders": orders} if orders else {}))
    reference = await paysaga.sandbox.dispute(await shop.reference(payment["id"]), **terms)
    return payment, reference, await shop.dispute_until(payment["id"], status)


async def orders_of(shop: Shop, payment: dict[str, Any]) -> list[dict[str, Any]]:
    orders: list[dict[str, Any]] = (await shop.payment(payment["id"]))["payment_orders"]
    return orders


async def test_opened_it_holds_the_sellers_money(paysaga: Deployment, shop: Shop) -> None:
    payment, _, dispute = await disputed(paysaga, shop)
    assert (dispute["amount"], dispute["category"], dispute["fee"]) == ("500.00", "fraudulent", "15.00")
    assert dispute["evidence_due_at"] is not None
    balances = await shop.balances()
    assert balances["disputes_held", "INR"] == 50000
    assert balances["wallet:anna:reserved", "INR"] == -48500, "all there is"
    assert ("wallet:anna:pending", "INR") not in balances
    (order,) = await orders_of(shop, payment)
    assert (order["status"], order["dispute_status"], order["refundable_amount"]) == (
        "SUCCESS", "NEEDS_RESPONSE", "0.00",
    )  # fmt: skip
    refused = await shop.refund(payment["id"])
    assert refused.json()["code"] == "nothing_to_refund"


@pytest.mark.uncached
async def test_won_by_evidence_releases_everything(paysaga: Deployment, shop: Shop) -> None:
    payment, _, dispute = await disputed(paysaga, shop)
    answer = await shop.post(f"/v1/disputes/{dispute['id']}/evidence", EVIDENCE)
    assert answer.status_code == 202, answer.text
    assert answer.json()["evidence"][0]["fields"] == ["customer_name", "uncategorized_text"]
    await shop.dispute_until(payment["id"], "WON")
    shown = (await shop.get(f"/v1/disputes/{dispute['id']}")).json()
    assert [e["status"] for e in shown["evidence"]] == ["SUBMITTED"]
    balances = await shop.balances()
    assert balances["wallet:anna:pending", "INR"] == -48500
    assert balances["psp_fees", "INR"] == 1480 + FEE
    assert "disputes_held" not in {account for account, _ in balances}
    stored = await paysaga.sql("SELECT fields FROM dispute_evidence WHERE dispute_id = $1", dispute["id"])
    assert b"Anja" not in stored[0]["fields"]
    assert (await shop.refunded(payment["id"]))["status"] == "SUCCEEDED"


async def test_lost_it_is_the_sellers_loss_and_debt(paysaga: Deployment, shop: Shop) -> None:
    await shop.set_merchant("anna", dispute_fee_payer="seller")
    payment, reference, _ = await disputed(paysaga, shop)
    await paysaga.sandbox.steer_dispute(reference, "lose")
    await shop.dispute_until(payment["id"], "LOST")
    balances = await shop.balances()
    # Credited 485.00 and lost 500.00 and the PSP's fee of 15.00: 30.00 are owed.
    assert balances["receivable:anna", "INR"] == 1500 + FEE
    assert not {account for account, _ in balances if account.startswith(("wallet:", "disputes_held"))}
    wallet = (await shop.get("/v1/wallets/anna")).json()["balances"][0]
    assert (wallet["pending"], wallet["reserved"], wallet["owed"]) == ("0.00", "0.00", "30.00")


async def test_several_orders_share_a_dispute(paysaga: Deployment, shop: Shop) -> None:
    payment, reference, _ = await disputed(paysaga, shop, orders=[("anna", "100.00"), ("bo", "200.01")], amount=10001)
    orders = await orders_of(shop, payment)
    assert [order["refundable_amount"] for order in orders] == ["66.66", "133.34"]
    await paysaga.sandbox.steer_dispute(reference, "win")
    await shop.dispute_until(payment["id"], "WON")
    assert [o["refundable_amount"] for o in await orders_of(shop, payment)] == ["100.00", "200.01"]


async def test_of_a_refunded_payment_it_is_shown_and_fought(paysaga: Deployment, shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    await shop.refunded(payment["id"])
    reference = await paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    (task,) = [t for t in (await shop.explain(payment["id"]))["tasks"] if t["kind"] == "dispute_exceeds"]
    assert "500.00 INR were refunded" in task["detail"]
    await paysaga.sandbox.steer_dispute(reference, "lose")
    await shop.dispute_until(payment["id"], "LOST")
    assert (await shop.balances())["receivable:anna", "INR"] == 50000
    assert (await shop.explain(payment["id"]))["tasks"] == []
    assert dispute["amount"] == "500.00"


async def test_a_second_dispute_about_the_same_money_is_shown_and_held(paysaga: Deployment, shop: Shop) -> None:
    payment, first, _ = await disputed(paysaga, shop)
    second = await paysaga.sandbox.dispute(await shop.reference(payment["id"]))

    async def both() -> bool:
        disputes = (await shop.explain(payment["id"]))["disputes"]
        return [d["status"] for d in disputes] == ["NEEDS_RESPONSE"] * 2

    await eventually(both, what="two disputes")
    assert "500.00 INR disputed before" in (await shop.explain(payment["id"]))["tasks"][0]["detail"]
    assert (await shop.balances())["disputes_held", "INR"] == 100000
    await paysaga.sandbox.steer_dispute(second, "win")
    await shop.dispute_until(payment["id"], "WON")
    await paysaga.sandbox.steer_dispute(first, "lose")

    async def lost() -> bool:
        return bool((await shop.explain(payment["id"]))["disputes"][0]["status"] == "LOST")

    await eventually(lost, what="the first is lost")
    balances = await shop.balances()
    assert balances["receivable:anna", "INR"] == 1500
    assert ("disputes_held", "INR") not in balances


async def test_larger_than_the_payment_is_booked_as_it_is(paysaga: Deployment, shop: Shop) -> None:
    payment, reference, dispute = await disputed(paysaga, shop, amount=60000)
    assert dispute["amount"] == "600.00"
    assert (await shop.balances())["disputes_held", "INR"] == 60000
    await paysaga.sandbox.steer_dispute(reference, "lose")
    await shop.dispute_until(payment["id"], "LOST")
    balances = await shop.balances()
    assert balances["receivable:anna", "INR"] == 60000 - 48500
    assert ("disputes_held", "INR") not in balances


async def test_an_inquiry_moves_no_money_until_it_escalates(paysaga: Deployment, shop: Shop) -> None:
    payment, reference, _ = await disputed(paysaga, shop, "INQUIRY", inquiry=True)
    assert ("disputes_held", "INR") not in await shop.balances()
    assert (await shop.refunded(payment["id"], amount="100.00"))["status"] == "SUCCEEDED"
    await paysaga.sandbox.steer_dispute(reference, "escalate")
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    assert (await shop.balances())["disputes_held", "INR"] > 0
    await paysaga.sandbox.steer_dispute(reference, "win")
    await shop.dispute_until(payment["id"], "WON")


async def test_an_inquiry_that_is_closed_changes_nothing(paysaga: Deployment, shop: Shop) -> None:
    payment, reference, _ = await disputed(paysaga, shop, "INQUIRY", inquiry=True)
    before = await shop.balances()
    await paysaga.sandbox.steer_dispute(reference, "close_inquiry")
    await shop.dispute_until(payment["id"], "CLOSED")
    assert await shop.balances() == before


@pytest.mark.uncached
async def test_reinstated_after_it_was_lost(paysaga: Deployment, shop: Shop) -> None:
    payment, reference, _ = await disputed(paysaga, shop)
    await paysaga.sandbox.steer_dispute(reference, "lose")
    await shop.dispute_until(payment["id"], "LOST")
    await paysaga.sandbox.steer_dispute(reference, "reinstate")
    await shop.dispute_until(payment["id"], "WON")
    balances = await shop.balances()
    assert balances["wallet:anna:available", "INR"] == -48500
    assert ("receivable:anna", "INR") not in balances


async def test_of_a_late_charge_that_was_refunded_the_loss_is_ours(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_threeDSecure2Required")
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)).json()["status"] == "CANCELLED"
    intent = await shop.reference(payment["id"])
    await paysaga.sandbox.steer(intent, "force_success")

    async def refunded() -> bool:
        return (await paysaga.sandbox.log(checkout)).refunded == [50000]

    await eventually(refunded, what="the late charge is refunded")
    reference = await paysaga.sandbox.dispute(intent)
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    await paysaga.sandbox.steer_dispute(reference, "lose")
    await shop.dispute_until(payment["id"], "LOST")
    assert (await shop.balances())["dispute_losses", "INR"] == 50000


async def test_webhooks_ten_times_out_of_order_and_late_change_it_once(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    for event in ("charge.dispute.created", "charge.dispute.closed", "charge.dispute.funds_reinstated"):
        await paysaga.sandbox.webhook_fault(event, "doubled", checkout=checkout, copies=10)
    await paysaga.sandbox.webhook_fault("charge.dispute.funds_withdrawn", "out_of_order", checkout=checkout, delay_s=1)
    payment = await shop.paid(checkout)
    reference = await paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    await paysaga.sandbox.steer_dispute(reference, "win")
    await shop.dispute_until(payment["id"], "WON")
    await paysaga.sandbox.flush_webhooks()
    kinds = await shop.kinds(payment["id"])
    for kind in ("dispute_withdrawn", "dispute_reserve", "dispute_reinstated", "dispute_release", "dispute_fee"):
        assert kinds.count(kind) == 1, (kind, kinds)
    assert len((await shop.explain(payment["id"]))["disputes"]) == 1


@pytest.mark.uncached
async def test_without_any_webhook_after_the_first_the_poll_finds_the_end(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    await paysaga.sandbox.webhook_fault("charge.dispute.closed", "lost", checkout=checkout)
    payment = await shop.paid(checkout)
    reference = await paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    await paysaga.sandbox.steer_dispute(reference, "lose")
    assert (await shop.dispute_until(payment["id"], "LOST"))["status"] == "LOST"


async def test_late_evidence_is_refused_and_a_person_is_warned_before(deploy: Deploy) -> None:
    paysaga = await deploy(evidence_warning_s=3600.0, poll_first_s=60.0, poll_max_s=60.0)
    shop = await paysaga.shop("deadline")
    payment = await shop.paid(shop.checkout())
    await paysaga.sandbox.dispute(await shop.reference(payment["id"]), evidence_due_s=6)
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")

    async def warned() -> bool:
        return [t["kind"] for t in (await shop.explain(payment["id"]))["tasks"]] == ["dispute_evidence_due"]

    await eventually(warned, what="a task for the deadline")
    assert (await shop.dispute_until(payment["id"], "LOST"))["closed_at"] is not None
    late = await shop.post(f"/v1/disputes/{dispute['id']}/evidence", EVIDENCE)
    assert (late.status_code, late.json()["code"]) == (409, "dispute_closed")
    assert (await shop.explain(payment["id"]))["tasks"] == []
    assert await audit_database(paysaga.database) == []


async def test_twice_the_same_evidence_at_once_is_submitted_once(paysaga: Deployment, shop: Shop) -> None:
    _, reference, dispute = await disputed(paysaga, shop)
    path = f"/v1/disputes/{dispute['id']}/evidence"
    body = {"fields": {"product_description": "A doll."}}
    answers = await asyncio.gather(*(shop.insist(partial(shop.post, path, body, key=str(n))) for n in range(5)))
    assert sorted(a.status_code for a in answers) == [202, 409, 409, 409, 409]
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"evidence_submitted"}
    await shop.dispute_until(dispute["payment_id"], "UNDER_REVIEW")
    await paysaga.sandbox.steer_dispute(reference, "win")
    await shop.dispute_until(dispute["payment_id"], "WON")
