"""Refunds that a shop asks for: through HTTP, the PSP and the ledger, to the cent."""

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.e2e.test_cancel import sweep
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Answer, Shop

pytestmark = pytest.mark.usefixtures("audited")


async def order_of(shop: Shop, payment_id: str) -> dict[str, Any]:
    order: dict[str, Any] = (await shop.payment(payment_id))["payment_orders"][0]
    return order


async def test_partial_refunds_end_at_exactly_the_captured_amount(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, orders=[("anna", "100.01")])
    for amount in ("33.33", "33.34", None):
        refund = await shop.refunded(payment["id"], **({"amount": amount} if amount else {}))
        assert refund["status"] == "SUCCEEDED"
    assert (await order_of(shop, payment["id"]))["refund_status"] == "REFUNDED"
    assert (await paysaga.sandbox.log(checkout)).refunded == [3333, 3334, 3334]
    assert await shop.balances() == {("psp_clearing:stripe", "INR"): -320, ("psp_fees", "INR"): 320}
    again = await shop.refund(payment["id"])
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_refund")


@pytest.mark.parametrize("taken", ["refunded", "disputed"])
async def test_what_is_left_of_an_order_is_what_the_psp_can_give_back(
    paysaga: Deployment, shop: Shop, taken: str
) -> None:
    """Of a charge whose currency has three decimals, the last of which is always 0 at the PSP."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, currency="KWD", orders=[("anna", "5.000"), ("bo", "5.000")])
    intent = await shop.reference(payment["id"])
    if taken == "refunded":
        await paysaga.sandbox.refund_by_hand(intent, 3_330)
    else:
        await paysaga.sandbox.dispute(intent, amount=3_330)

    async def shared() -> list[str] | None:
        left = [order["refundable_amount"] for order in (await shop.payment(payment["id"]))["payment_orders"]]
        return None if left == ["5.000"] * 2 else left

    assert await eventually(shared, what="what was taken is shared") == ["3.330", "3.340"]
    if taken == "disputed":
        return  # while it is, the PSP refunds nothing of the charge
    for order in payment["payment_orders"]:
        refund = await shop.refunded(payment["id"], payment_order_id=order["payment_order_id"])
        assert (await shop.refund_until(refund["id"], "SUCCEEDED", "FAILED"))["status"] == "SUCCEEDED"
    assert sum((await paysaga.sandbox.log(checkout)).refunded) == 10_000
    assert (await shop.get("/v1/wallets/anna")).json()["balances"][0]["reserved"] == "0.000"


async def test_twenty_refunds_at_once_never_exceed_what_was_captured(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, orders=[("anna", "500.00")])

    async def ask(number: int) -> Answer:
        request = partial(shop.refund, payment["id"], amount="33.00", wait=20, key=f"{checkout}-{number}")
        while True:
            answer = await shop.insist(request)
            if answer.status_code != 409:  # another request holds the payment for long: the same again
                return answer

    answers = await asyncio.gather(*(ask(number) for number in range(20)))
    codes = [answer.status_code for answer in answers]
    assert codes.count(201) == 15
    assert codes.count(422) == 5
    assert {a.json()["code"] for a in answers if a.status_code == 422} == {"refund_too_large"}
    assert (await paysaga.sandbox.log(checkout)).refunded == [3300] * 15
    order = await order_of(shop, payment["id"])
    assert (order["refundable_amount"], order["refund_status"]) == ("5.00", "PARTIALLY_REFUNDED")


async def test_a_refund_under_a_key_is_made_once(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    ask = partial(shop.refund, payment["id"], amount="10.00", key="once", wait=20)
    answers = await asyncio.gather(*(shop.insist(ask) for _ in range(8)))
    assert {a.json()["id"] for a in answers if a.status_code in (201, 202)} == {answers[0].json()["id"]}
    late = await shop.refund(payment["id"], amount="10.00", key="once")
    assert late.headers["Idempotent-Replayed"] == "true"
    other = await shop.refund(payment["id"], amount="11.00", key="once")
    assert other.json()["code"] == "idempotency_key_reused"
    assert (await paysaga.sandbox.log(checkout)).refunded == [1000]


async def test_a_pending_refund_is_finished_by_its_webhook(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_pendingRefund")
    answer = await shop.refund(payment["id"])
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
    assert (await order_of(shop, payment["id"]))["refund_status"] == "REFUNDING"
    assert (await shop.refund_until(answer.json()["id"], "SUCCEEDED"))["status"] == "SUCCEEDED"
    assert (await paysaga.sandbox.log(checkout)).refunded == [50000]


@pytest.mark.uncached
@pytest.mark.parametrize("token", ["pm_card_pendingRefundFail", "pm_card_refundFail"])
async def test_a_refund_that_fails_gives_the_funds_back(shop: Shop, token: str) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, token)
    before = await shop.balances()
    refund = (await shop.refund(payment["id"], amount="123.45")).json()
    assert (await shop.refund_until(refund["id"], "FAILED"))["failure"]["code"] == "refund_failed"
    assert await shop.balances() == before
    order = await order_of(shop, payment["id"])
    assert (order["refundable_amount"], order["refund_status"]) == ("500.00", None)
    tasks = [task["kind"] for task in (await shop.explain(payment["id"]))["tasks"]]
    assert tasks == (["refund_came_back"] if token == "pm_card_refundFail" else [])


async def test_a_refund_made_in_the_dashboard_becomes_our_record(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, orders=[("anna", "300.00"), ("bo", "200.00")])
    await paysaga.sandbox.refund_by_hand(await shop.reference(payment["id"]), 10000)

    async def booked() -> list[dict[str, Any]] | None:
        refunds = (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"]
        return refunds if refunds and refunds[0]["status"] == "SUCCEEDED" else None

    (refund,) = await eventually(booked, what="the refund is booked")
    assert (refund["origin"], refund["amount"], refund["payment_order_id"]) == ("psp", "100.00", None)
    orders = (await shop.payment(payment["id"]))["payment_orders"]
    assert [order["refundable_amount"] for order in orders] == ["240.00", "160.00"]
    too_much = await shop.refund(payment["id"], payment_order_id=orders[0]["id"], amount="240.01")
    assert too_much.json()["code"] == "refund_too_large"


async def test_a_seller_without_funds_refunds_on_credit_only_if_allowed(shop: Shop) -> None:
    await shop.set_merchant("anna", psp_fee_payer="seller")
    payment = await shop.paid(shop.checkout())
    refused = await shop.refund(payment["id"])
    assert (refused.status_code, refused.json()["code"]) == (422, "wallet_insufficient")
    assert refused.json()["missing"] == "14.80"
    await shop.set_merchant("anna", allow_negative_balance=True)
    assert (await shop.refunded(payment["id"]))["status"] == "SUCCEEDED"
    wallet = (await shop.get("/v1/wallets/anna")).json()["balances"][0]
    assert wallet == {
        "currency": "INR", "pending": "0.00", "available": "0.00", "reserved": "0.00", "owed": "14.80",
        "available_on": [],
    }  # fmt: skip


async def test_the_platform_keeps_its_fee_where_the_terms_say_so(shop: Shop) -> None:
    await shop.set_merchant("anna", platform_fee_on_refund="kept", allow_negative_balance=True)
    payment = await shop.paid(shop.checkout())
    await shop.refunded(payment["id"])
    balances = await shop.balances()
    assert balances["platform_fees", "INR"] == -1500
    assert balances["receivable:anna", "INR"] == 1500


@pytest.mark.uncached
@pytest.mark.parametrize("token", ["pm_card_visa", "pm_card_pendingRefund"])
async def test_another_amount_than_was_asked_for_is_accepted_by_a_person(
    paysaga: Deployment, shop: Shop, token: str
) -> None:
    """Also while the PSP has not done with it."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, token)
    await paysaga.sandbox.fault("refunds.create", "wrong_amount", checkout=checkout, delta=100)
    refund = await shop.refunded(payment["id"], amount="200.00")
    waiting = await shop.refund_until(refund["id"], "NEEDS_ATTENTION")
    assert waiting["failure"]["code"] == "amount_mismatch"
    await paysaga.update(f"refund:{refund['id']}", "resolve", {"decision": "accept", "by": "olga"})
    assert (await shop.refund_until(refund["id"], "FAILED"))["failure"]["code"] == "amount_mismatch"
    await sweep(paysaga)

    async def booked() -> dict[str, Any] | None:
        refunds = (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"]
        return next((r for r in refunds if r["origin"] == "psp" and r["status"] == "SUCCEEDED"), None)

    assert (await eventually(booked, what="what was made is booked"))["amount"] == "201.00"
    order = await order_of(shop, payment["id"])
    assert (order["refundable_amount"], order["refund_status"]) == ("299.00", "PARTIALLY_REFUNDED")
    assert (await shop.explain(payment["id"]))["tasks"] == []


async def test_a_frozen_seller_refunds_and_a_closed_one_never_on_credit(shop: Shop) -> None:
    await shop.set_merchant("anna", psp_fee_payer="seller", allow_negative_balance=True)
    payment = await shop.paid(shop.checkout())
    await shop.set_merchant("anna", status="FROZEN")
    assert (await shop.pay(shop.checkout())).json()["code"] == "merchant_not_active"
    assert (await shop.refunded(payment["id"], amount="100.00"))["status"] == "SUCCEEDED"
    await shop.set_merchant("anna", status="CLOSED")
    too_much = await shop.refund(payment["id"])
    assert (too_much.status_code, too_much.json()["code"]) == (422, "wallet_insufficient")
    assert (await shop.refunded(payment["id"], amount="300.00"))["status"] == "SUCCEEDED"
