"""Authorizations: captured in full or in part, under a key, and what happens to those that nobody captures."""

from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Endpoint, Psp

WEEK_S = 604_800


async def test_a_hold_expires_by_the_accounts_clock(hooked: "Psp", endpoint: "Endpoint") -> None:
    psp = hooked
    held = await psp.pay(capture_method="manual", metadata={"payment": "pay_1"})
    charge: Any = held.latest_charge
    assert charge.payment_method_details.card.capture_before == charge.created + WEEK_S
    await psp.control("POST", "/clock/advance", {"seconds": WEEK_S - 60})
    assert (await psp.v1.payment_intents.retrieve_async(held.id)).status == "requires_capture"
    await psp.control("POST", "/clock/advance", {"seconds": 60})
    gone = await psp.v1.payment_intents.retrieve_async(held.id, {"expand": ["latest_charge"]})
    assert (gone.status, gone.cancellation_reason, gone.amount_capturable) == ("canceled", "automatic", 0)
    charge = gone.latest_charge
    assert (charge.captured, charge.refunded, charge.amount_refunded) == (False, True, 50_000)
    log = await psp.log("?metadata[payment]=pay_1")
    assert ([entry["status"] for entry in log["authorizations"]], log["charges"]) == (["authorized", "expired"], [])
    assert (await endpoint.until(5))[3:] == ["charge.expired", "payment_intent.canceled"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.payment_intents.capture_async(held.id)
    error: Any = caught.value.error
    assert (caught.value.http_status, error.code) == (400, "payment_intent_unexpected_state")
    assert error.payment_intent.status == "canceled"


async def test_how_long_a_hold_lives_is_a_setting_and_its_end_a_step(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"authorization_life_s": 60})
    short, told = await psp.pay(capture_method="manual"), await psp.pay(capture_method="manual")
    charge: Any = short.latest_charge
    assert charge.payment_method_details.card.capture_before == charge.created + 60
    ended = await psp.control("POST", f"/payment_intents/{told.id}/expire")
    assert (ended["status"], ended["cancellation_reason"]) == ("canceled", "automatic")
    await psp.control("POST", f"/payment_intents/{told.id}/expire", status=409)
    await psp.control("POST", "/clock/advance", {"seconds": 60})
    assert (await psp.v1.payment_intents.retrieve_async(short.id)).status == "canceled"
    assert [entry["status"] for entry in (await psp.log())["authorizations"]].count("expired") == 2


async def test_a_hold_expires_by_its_own_timer(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"authorization_life_s": 0.05})
    intent = await psp.pay("pm_upi_success", capture_method="manual")
    await psp.control("POST", f"/payment_intents/{intent.id}/complete_processing")
    while intent.status != "canceled":
        intent = await psp.v1.payment_intents.retrieve_async(intent.id)
    assert intent.cancellation_reason == "automatic"


async def test_what_was_captured_or_canceled_does_not_expire(psp: "Psp") -> None:
    taken, dropped = await psp.pay(capture_method="manual"), await psp.pay(capture_method="manual")
    await psp.v1.payment_intents.capture_async(taken.id)
    await psp.v1.payment_intents.cancel_async(dropped.id, {"cancellation_reason": "abandoned"})
    await psp.control("POST", "/clock/advance", {"seconds": WEEK_S})
    assert (await psp.v1.payment_intents.retrieve_async(taken.id)).status == "succeeded"
    assert (await psp.v1.payment_intents.retrieve_async(dropped.id)).cancellation_reason == "abandoned"
    assert [entry["status"] for entry in (await psp.log())["authorizations"]] == ["authorized"] * 2 + ["voided"]


async def test_a_partial_capture_costs_the_fee_of_its_part_and_its_key_takes_it_once(psp: "Psp") -> None:
    held = await psp.pay(capture_method="manual")
    params: Any = {"amount_to_capture": 20_000, "expand": ["latest_charge.balance_transaction"]}
    await psp.fault("cut_after", "payment_intents.capture")
    await psp.unanswered(psp.v1.payment_intents.capture_async(held.id, params, {"idempotency_key": "capture"}))
    taken = await psp.v1.payment_intents.capture_async(held.id, params, {"idempotency_key": "capture"})
    assert taken.last_response
    assert taken.last_response.headers["idempotent-replayed"] == "true"
    charge: Any = taken.latest_charge
    # 2.9 % of 200.00 is 5.80, and 0.30 on top.
    assert (charge.balance_transaction.fee, charge.balance_transaction.net) == (610, 19_390)
    assert (charge.amount, charge.amount_captured, charge.amount_refunded) == (50_000, 20_000, 30_000)
    with pytest.raises(stripe.IdempotencyError):
        await psp.v1.payment_intents.capture_async(held.id, {"amount_to_capture": 100}, {"idempotency_key": "capture"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await psp.v1.payment_intents.capture_async(held.id, {}, {"idempotency_key": "another"})
    assert refused.value.code == "payment_intent_unexpected_state"
    (logged,) = (await psp.log())["charges"]
    assert (logged["amount"], logged["idempotency_key"]) == (20_000, "capture")
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.refunds.create_async({"payment_intent": held.id, "amount": 20_001})
    assert (await psp.v1.refunds.create_async({"payment_intent": held.id})).amount == 20_000
