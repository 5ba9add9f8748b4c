"""Moving a payment on: confirm once, cancel until it has settled."""

import asyncio
from functools import partial
from uuid import uuid4

import pytest

from tests.api.problem import refused
from tests.support.shop import Answer, Shop


async def confirm(shop: Shop, payment_id: str, key: str | None = None, wait: float | None = None) -> Answer:
    return await shop.post(f"/v1/payments/{payment_id}/confirm", key=key, wait=wait)


async def cancel(shop: Shop, payment_id: str, key: str | None = None) -> Answer:
    return await shop.post(f"/v1/payments/{payment_id}/cancel", key=key)


async def test_stored_first_and_charged_at_confirm(shop: Shop) -> None:
    checkout = shop.checkout()
    stored = await shop.pay(checkout, confirm=False)
    assert (stored.status_code, stored.json()["status"]) == (201, "NOT_STARTED")
    assert (await shop.paysaga.sandbox.log(checkout)).charged == []
    answer = await confirm(shop, stored.json()["id"])
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_confirm_twice(shop: Shop) -> None:
    """Under the same key a replay, under another the same payment: charged once either way."""
    checkout, key = shop.checkout(), str(uuid4())
    payment = await shop.paid(checkout, confirm=False)
    first, again = await confirm(shop, payment["id"], key), await confirm(shop, payment["id"], key)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = await confirm(shop, payment["id"])
    assert [answer.status_code for answer in (first, again, other)] == [200, 200, 200]
    assert first.json() == again.json() == other.json()
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_twenty_confirms_at_once_charge_once(shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, confirm=False)
    keys = [str(uuid4()) for _ in range(20)]
    answers = await asyncio.gather(*(shop.insist(partial(confirm, shop, payment["id"], key)) for key in keys))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert {answer.json()["status"] for answer in answers} == {"SUCCESS"}
    log = await shop.paysaga.sandbox.log(checkout)
    assert (log.charged, log.sent("payment_intents.create")) == ([50000], 1)


@pytest.mark.parametrize("name", ["id", "order", "own"])
async def test_a_payment_is_named_by_any_of_its_ids(shop: Shop, name: str) -> None:
    payment = await shop.paid(shop.checkout(), confirm=False)
    order = payment["payment_orders"][0]
    names = {"id": payment["id"], "order": order["id"], "own": order["payment_order_id"]}
    assert (await confirm(shop, names[name])).json()["id"] == payment["id"]


async def test_cancel_before_confirm(shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, confirm=False)
    answer = await cancel(shop, payment["id"])
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    refused(await confirm(shop, payment["id"]), 409, "payment_closed")
    assert (await cancel(shop, payment["id"])).json()["status"] == "CANCELLED"
    assert (await shop.paysaga.sandbox.log(checkout)).charged == []


async def test_cancel_while_the_buyer_authenticates(shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_threeDSecure2Required")
    assert payment["next_action"]["url"].startswith("http")
    answer = await cancel(shop, payment["id"])
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    assert answer.json()["next_action"] is None
    assert (await shop.paysaga.sandbox.log(checkout)).charged == []


async def test_cancel_after_success(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    refused(await cancel(shop, payment["id"]), 409, "payment_settled")
    assert (await shop.payment(payment["id"]))["status"] == "SUCCESS"


async def test_cancel_after_failure(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_chargeDeclined")
    refused(await cancel(shop, payment["id"]), 409, "payment_failed")
    refused(await confirm(shop, payment["id"]), 409, "payment_closed")


async def test_a_refused_cancel_does_not_burn_its_key(shop: Shop) -> None:
    key = str(uuid4())
    payment = await shop.paid(shop.checkout())
    refused(await cancel(shop, payment["id"], key), 409, "payment_settled")
    assert (await shop.pay(shop.checkout(), key=key)).status_code == 201


async def test_twenty_cancels_and_confirms_at_once_agree(shop: Shop) -> None:
    """Whatever wins, all answers tell of the same end, and the buyer is charged at most once and then refunded."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, confirm=False)
    moves = [partial(confirm if n % 2 else cancel, shop, payment["id"], str(uuid4())) for n in range(20)]
    answers = await asyncio.gather(*map(shop.insist, moves))
    assert {answer.status_code for answer in answers} <= {200, 202, 409}
    ended = await shop.until(payment["id"])
    log = await shop.paysaga.sandbox.log(checkout)
    assert len(log.charged) <= 1
    if ended["status"] == "CANCELLED":
        assert sum(log.charged) == sum(log.refunded)
    else:
        assert (ended["status"], log.charged, log.refunded) == ("SUCCESS", [50000], [])


async def test_confirm_asks_the_psp_now(shop: Shop) -> None:
    """The buyer is back from 3-D Secure: the shop need not wait for the next poll."""
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "authenticate")
    answer = await confirm(shop, payment["id"])
    assert answer.status_code in (200, 202)
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"


async def test_explain_tells_the_story(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_chargeDeclined")
    told = await shop.explain(payment["id"])
    assert told["status"] == "FAILED"
    assert [(step["from_status"], step["to_status"]) for step in told["transitions"]] == [
        (None, "EXECUTING"),
        ("EXECUTING", "FAILED"),
    ]
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in told["attempts"]] == [(1, "DECLINED")]
    assert told["workflow_id"] == f"payment:{payment['id']}"
    assert told["tasks"] == []
