"""One key, one payment: repeated, concurrent, reformatted, and across a crash."""

import asyncio
import json
import secrets
from typing import Any
from uuid import uuid4

import pytest

from embedded.stack import EmbeddedStack
from tests.api.problem import refused
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.link import Link
from tests.support.shop import Answer, Shop


async def test_the_same_request_is_replayed(shop: Shop) -> None:
    checkout, key = shop.checkout(), str(uuid4())
    first = await shop.pay(checkout, key=key)
    second = await shop.pay(checkout, key=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert first.json() == second.json()
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_a_replay_shows_the_present_state(shop: Shop) -> None:
    checkout, key = shop.checkout(), str(uuid4())
    first = await shop.pay(checkout, "pm_upi_success", key=key)
    assert (first.status_code, first.json()["status"]) == (202, "PENDING")
    await shop.until(first.json()["id"], "SUCCESS")
    second = await shop.pay(checkout, "pm_upi_success", key=key)
    assert (second.status_code, second.json()["status"]) == (201, "SUCCESS")
    assert second.json()["id"] == first.json()["id"]


async def test_a_decline_is_replayed_and_not_tried_again(shop: Shop) -> None:
    checkout, key = shop.checkout(), str(uuid4())
    first = await shop.pay(checkout, "pm_card_chargeDeclined", key=key)
    second = await shop.pay(checkout, "pm_card_chargeDeclined", key=key)
    assert (first.status_code, first.json()["status"]) == (201, "FAILED")
    assert first.json()["failure"]["code"] == "card_declined"
    assert second.json() == first.json()
    assert (await shop.paysaga.sandbox.log(checkout)).sent("payment_intents.create") == 1


async def test_other_white_space_order_and_spelling_is_the_same_request(shop: Shop) -> None:
    checkout, key = shop.checkout(), str(uuid4())
    body = shop.body(checkout)
    first = await shop.post("/v1/payments", body, key=key)
    turned = dict(reversed(list(body.items()))) | {"confirm": True, "capture": "automatic", "metadata": {}}
    text = json.dumps(turned, indent=7).replace("buyer_1", "\\u0062uyer_1")
    headers = shop.headers | {"Idempotency-Key": key, "Content-Type": "application/json"}
    second = await shop.paysaga.http.post("/v1/payments", content=text, headers=headers)
    assert second.headers.get("idempotent-replayed") == "true", second.text
    assert second.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    "change",
    [{"token": "pm_card_mastercard"}, {"orders": [("anna", "500.01")]}, {"confirm": False}, {"metadata": {"a": "b"}}],
)
async def test_the_key_of_another_request_is_refused(shop: Shop, change: dict[str, Any]) -> None:
    checkout, key = shop.checkout(), str(uuid4())
    first = await shop.pay(checkout, key=key)
    problem = refused(await shop.pay(checkout, key=key, **change), 422, "idempotency_key_reused")
    assert problem["first_object"] == first.json()["id"]


async def test_a_key_belongs_to_one_route(shop: Shop) -> None:
    key = str(uuid4())
    payment = (await shop.pay(shop.checkout(), key=key, confirm=False)).json()
    for route in ("confirm", "cancel"):
        refused(await shop.post(f"/v1/payments/{payment['id']}/{route}", key=key), 422, "idempotency_key_reused")
    assert (await shop.payment(payment["id"]))["status"] == "NOT_STARTED"


async def test_two_tenants_share_nothing(paysaga: Deployment) -> None:
    """The same key, checkout_id and payment_order_id for both: two payments, two charges."""
    one, other = [await paysaga.shop(f"twin-{secrets.token_hex(5)}") for _ in range(2)]
    checkout, key = one.checkout(), str(uuid4())
    answers = [await shop.pay(checkout, key=key) for shop in (one, other)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]
    assert (await paysaga.sandbox.log(checkout)).charged == [50000, 50000]
    for shop, answer in zip((one, other), answers, strict=True):
        assert (await shop.get(f"/v1/payments/{checkout}-1")).json()["payment_id"] == answer.json()["id"]


async def test_fifty_identical_requests_at_once_are_one_payment(shop: Shop) -> None:
    checkout, key = shop.checkout(), str(uuid4())

    async def ask() -> Answer:
        answer = await shop.pay(checkout, key=key)
        assert answer.status_code != 503 or answer.json()["code"] == "overloaded"
        return answer

    answers = await asyncio.gather(*(shop.insist(ask) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    log = await shop.paysaga.sandbox.log(checkout)
    assert log.charged == [50000]
    assert log.sent("payment_intents.create") == 1


async def test_a_double_click_is_told_which_payment_was_first(shop: Shop) -> None:
    """Two keys, one checkout: one charge, and a 409 that names it."""
    checkout = shop.checkout()
    answers = await asyncio.gather(shop.pay(checkout), shop.pay(checkout))
    first, second = sorted(answers, key=lambda answer: answer.status_code)
    assert first.status_code == 201
    assert refused(second, 409, "checkout_in_use")["payment_id"] == first.json()["id"]
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_a_payment_order_is_paid_once_whatever_the_checkout(shop: Shop) -> None:
    checkout = shop.checkout()
    first = await shop.paid(checkout)
    again = shop.body(checkout) | {"checkout_id": shop.checkout()}
    problem = refused(await shop.post("/v1/payments", again), 409, "payment_order_in_use")
    assert problem["payment_id"] == first["id"]


async def test_a_failed_checkout_may_be_tried_again(shop: Shop) -> None:
    checkout = shop.checkout()
    assert (await shop.paid(checkout, "pm_card_chargeDeclined"))["status"] == "FAILED"
    second = await shop.paid(checkout)
    assert second["status"] == "SUCCESS"
    assert (await shop.get(f"/v1/payments/{checkout}-1")).json()["payment_id"] == second["id"]


async def test_a_client_that_leaves_finds_its_payment_again(shop: Shop) -> None:
    """The connection is cut while the PSP is still thinking; the same key then answers with the same payment."""
    checkout, key = shop.checkout(), str(uuid4())
    fault = await shop.paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    request = asyncio.create_task(shop.pay(checkout, key=key))
    await shop.paysaga.sandbox.struck(fault)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await shop.paysaga.sandbox.release(fault)
    answer = await shop.pay(checkout, key=key)
    assert answer.headers["idempotent-replayed"] == "true"
    assert (await shop.until(answer.json()["id"]))["status"] == "SUCCESS"
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_a_key_that_is_being_stored_is_409_not_a_second_payment(shop: Shop) -> None:
    """The first transaction is still open when the patience of the second one ends."""
    checkout, key = shop.checkout(), str(uuid4())
    async with shop.paysaga.connection() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO idempotency_key (tenant_id, key, request_hash, object_id) VALUES ($1, $2, '', 'pay_first')",
            shop.tenant,
            key,
        )
        refused(await shop.pay(checkout, key=key), 409, "idempotency_in_progress")
    assert (await shop.paysaga.sandbox.log(checkout)).charged == []


async def test_killed_between_storing_and_starting(servers: EmbeddedStack, deploy: Deploy) -> None:
    """The API dies when the payment is stored and its workflow is not. The same key starts it: one charge."""
    assert servers.settings.temporal_address is not None
    async with Link.to(servers.settings.temporal_address) as temporal:
        paysaga = await deploy(temporal_address=temporal.address)
        shop = await paysaga.shop("crash")
        checkout, key = shop.checkout(), str(uuid4())
        temporal.cut()
        request = asyncio.create_task(shop.pay(checkout, key=key))
        await eventually(lambda: _stored(shop, key), what="the payment is stored")
        await paysaga.api.kill()
        await asyncio.gather(request, return_exceptions=True)
        temporal.mend()
        await paysaga.start_api()
        assert (await paysaga.sandbox.log(checkout)).charged == []
        answer = await shop.pay(checkout, key=key)
        assert answer.headers["idempotent-replayed"] == "true"
        assert (await shop.until(answer.json()["id"]))["status"] == "SUCCESS"
        assert (await paysaga.sandbox.log(checkout)).charged == [50000]


async def test_stored_is_stored_also_without_temporal(servers: EmbeddedStack, deploy: Deploy) -> None:
    """202, never an error that would make a client pay elsewhere; the same key starts it when Temporal is back."""
    assert servers.settings.temporal_address is not None
    async with Link.to(servers.settings.temporal_address) as temporal:
        paysaga = await deploy(temporal_address=temporal.address)
        shop = await paysaga.shop("cut")
        checkout, key = shop.checkout(), str(uuid4())
        temporal.cut()
        answer = await shop.pay(checkout, key=key, wait=0)
        assert (answer.status_code, answer.json()["status"]) == (202, "EXECUTING")
        refused(await shop.get("/readyz"), 503, "unavailable")
        temporal.mend()
        again = await shop.pay(checkout, key=key)
        assert again.json()["id"] == answer.json()["id"]
        assert (await shop.until(answer.json()["id"]))["status"] == "SUCCESS"
        assert (await paysaga.sandbox.log(checkout)).charged == [50000]


async def _stored(shop: Shop, key: str) -> bool:
    rows = await shop.paysaga.sql(
        "SELECT 1 FROM idempotency_key k JOIN payment p ON p.id = k.object_id WHERE k.tenant_id = $1 AND k.key = $2",
        shop.tenant,
        key,
    )
    return bool(rows)
