"""Idempotency keys, as Stripe documents them."""

import asyncio
from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Psp


async def test_a_replay_is_the_same_answer_and_one_charge(psp: "Psp") -> None:
    first, again = await psp.pay(key="k"), await psp.pay(key="k")
    assert first.id == again.id
    assert first.last_response
    assert again.last_response
    assert "idempotent-replayed" not in first.last_response.headers
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert again.last_response.headers["original-request"] == first.last_response.headers["request-id"]
    log = await psp.log()
    assert [entry["replayed"] for entry in log["requests"]] == [False, True]
    assert len(log["charges"]) == 1


async def test_a_decline_is_saved_and_a_validation_error_is_not(psp: "Psp") -> None:
    errors = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as caught:
            await psp.pay("pm_card_chargeDeclined", key="declined")
        errors.append(caught.value)
    assert errors[0].http_body == errors[1].http_body
    assert errors[1].headers
    assert errors[1].headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.InvalidRequestError):
        await psp.pay(key="fixed later", amount=1)
    assert (await psp.pay(key="fixed later")).status == "succeeded"


async def test_an_error_of_state_is_saved(psp: "Psp") -> None:
    intent = await psp.pay()
    for replayed in (None, "true"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await psp.v1.payment_intents.cancel_async(intent.id, {}, {"idempotency_key": "c"})
        assert (caught.value.headers or {}).get("idempotent-replayed") == replayed


async def test_other_parameters_and_other_endpoints_are_refused(psp: "Psp") -> None:
    intent = await psp.pay(key="k")
    with pytest.raises(stripe.IdempotencyError) as caught:
        await psp.pay(key="k", amount=60_000)
    assert (caught.value.http_status, caught.value.error.type) == (400, "idempotency_error")  # type: ignore[union-attr]
    with pytest.raises(stripe.IdempotencyError):
        await psp.v1.refunds.create_async({"payment_intent": intent.id}, {"idempotency_key": "k"})
    with pytest.raises(stripe.InvalidRequestError):
        await psp.pay(key="k" * 256)
    # A key is an account's own.
    assert (await psp.stranger().pay(key="k")).id != intent.id


async def test_a_key_in_use_is_a_409(psp: "Psp") -> None:
    fault = await psp.fault("hold_before")
    first = asyncio.create_task(psp.pay(key="k"))
    await psp.control("GET", f"/faults/{fault}?wait_hits=1")
    with pytest.raises(stripe.APIError) as caught:
        await psp.pay(key="k")
    assert (caught.value.http_status, caught.value.error.code) == (409, "idempotency_key_in_use")  # type: ignore[union-attr]
    assert (await psp.control("POST", f"/faults/{fault}/release"))["released"] == 1
    assert (await first).id == (await psp.pay(key="k")).id


async def test_a_key_expires_by_the_accounts_clock(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"key_life_s": 100})
    first = await psp.pay(key="k")
    await psp.control("POST", "/clock/advance", {"seconds": 99})
    assert (await psp.pay(key="k")).id == first.id
    await psp.control("POST", "/clock/advance", {"seconds": 1})
    second = await psp.pay(key="k")
    assert second.id != first.id
    assert second.created >= first.created + 100
    assert len((await psp.log())["charges"]) == 2
