"""Taking what was authorised: once, in full or in part; and everything else is refused without a trace."""

import asyncio
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from tests.api.problem import refused
from tests.api.rows import rows
from tests.support.eventually import eventually
from tests.support.shop import Answer, Shop

TWO = [("anna", "300.00"), ("bo", "200.00")]


async def authorized(shop: Shop, **fields: Any) -> dict[str, Any]:
    payment = await shop.paid(shop.checkout(), capture="manual", **fields)
    assert payment["status"] == "AUTHORIZED"
    return payment


async def capture(shop: Shop, payment_id: str, body: Any = None, **how: Any) -> Answer:
    return await shop.post(f"/v1/payments/{payment_id}/capture", {} if body is None else body, **how)


def amounts(payment: dict[str, Any]) -> list[tuple[str, str]]:
    return [(order["status"], order["captured_amount"]) for order in payment["payment_orders"]]


async def test_all_of_it(shop: Shop) -> None:
    payment = await authorized(shop, orders=TWO)
    assert amounts(payment) == [("AUTHORIZED", "0.00"), ("AUTHORIZED", "0.00")]
    answer = await capture(shop, payment["id"])
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    assert answer.headers["location"] == f"/v1/payments/{payment['id']}"
    assert amounts(answer.json()) == [("SUCCESS", "300.00"), ("SUCCESS", "200.00")]
    assert (await shop.paysaga.sandbox.log(payment["checkout_id"])).charged == [50000]


@pytest.mark.parametrize("name", ["id", "order", "own"])
async def test_a_part_of_the_only_order_by_any_name(shop: Shop, name: str) -> None:
    payment = await authorized(shop)
    order = payment["payment_orders"][0]
    names = {"id": payment["id"], "order": order["id"], "own": order["payment_order_id"]}
    answer = await capture(shop, names[name], {"amount": "300.01"})
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    assert amounts(answer.json()) == [("SUCCESS", "300.01")]
    assert (await shop.paysaga.sandbox.log(payment["checkout_id"])).charged == [30001]


@pytest.mark.parametrize("zero", [[], ["0.00"]])
async def test_an_order_that_is_left_out_or_taken_at_nothing_is_released(shop: Shop, zero: list[str]) -> None:
    payment = await authorized(shop, orders=TWO)
    anna, bo = (order["payment_order_id"] for order in payment["payment_orders"])
    body = [{"payment_order_id": anna, "amount": "299.99"}] + [{"payment_order_id": bo, "amount": z} for z in zero]
    answer = await capture(shop, payment["id"], {"payment_orders": body})
    assert amounts(answer.json()) == [("SUCCESS", "299.99"), ("CANCELLED", "0.00")]
    assert (await shop.paysaga.sandbox.log(payment["checkout_id"])).charged == [29999]


# --- what is refused ---

BODIES: list[Any] = [
    ({"amount": 500}, "amount_invalid"),
    ({"amount": 500.0}, "amount_invalid"),
    ({"amount": ["1.00"]}, "amount_invalid"),
    ({"amount": ""}, "amount_invalid"),
    ({"amount": "-1.00"}, "amount_invalid"),
    ({"amount": "5e2"}, "amount_invalid"),
    ({"amount": "1,000.00"}, "amount_invalid"),
    ({"amount": "1.005"}, "amount_precision"),
    ({"amount": "0"}, "amount_not_positive"),
    ({"amount": "0.00"}, "amount_not_positive"),
    ({"amount": "500.01"}, "capture_too_large"),
    ({"amount": "1000000000.00"}, "amount_too_large"),
    ({"amount": "9" * 25}, "field_invalid"),
    ({"payment_orders": []}, "field_invalid"),
    ({"payment_orders": {}}, "field_invalid"),
    ({"payment_orders": [{"payment_order_id": "{own}"}]}, "field_missing"),
    ({"payment_orders": [{"amount": "1.00"}]}, "field_missing"),
    ({"payment_orders": [{"payment_order_id": "{own}", "amount": 1}]}, "amount_invalid"),
    ({"payment_orders": [{"payment_order_id": "{own}", "amount": "0.00"}]}, "amount_not_positive"),
    ({"payment_orders": [{"payment_order_id": "{own}", "amount": "500.01"}]}, "capture_too_large"),
    ({"payment_orders": [{"payment_order_id": "{own}", "amount": "1.00", "note": "x"}]}, "field_unknown"),
    ({"payment_orders": [{"payment_order_id": "another", "amount": "1.00"}]}, "payment_order_unknown"),
    ({"payment_orders": [{"payment_order_id": "", "amount": "1.00"}]}, "field_invalid"),
    ({"payment_orders": [{"payment_order_id": "{own}", "amount": "1.00"}] * 2}, "payment_order_repeated"),
    pytest.param(
        {
            "payment_orders": [
                {"payment_order_id": "{own}", "amount": "1.00"},
                {"payment_order_id": "{ours}", "amount": "2.00"},
            ]
        },
        "payment_order_repeated",
    ),
    ({"amount": "1.00", "payment_orders": [{"payment_order_id": "{own}", "amount": "1.00"}]}, "capture_ambiguous"),
    ({"amount": "1.00", "currency": "INR"}, "field_unknown"),
    ({"final": True}, "field_unknown"),
    ({"amount": "4000056655665556"}, "card_data_forbidden"),
    ({"payment_orders": [{"payment_order_id": "4000056655665556", "amount": "1.00"}]}, "card_data_forbidden"),
    ({"cvc": "123"}, "card_data_forbidden"),
    ([], "field_invalid"),
    ("all", "field_invalid"),
]


def filled(body: Any, payment: dict[str, Any]) -> Any:
    """`{own}` and `{ours}`: the two names of the payment's first order."""
    if isinstance(body, dict):
        return {name: filled(value, payment) for name, value in body.items()}
    if isinstance(body, list):
        return [filled(value, payment) for value in body]
    order = payment["payment_orders"][0]
    names = {"{own}": order["payment_order_id"], "{ours}": order["id"]}
    return names.get(body, body) if isinstance(body, str) else body


@pytest.mark.parametrize(("body", "code"), BODIES)
async def test_what_cannot_be_captured_changes_nothing(shop: Shop, body: Any, code: str) -> None:
    payment = await authorized(shop)
    before = await rows(shop)
    refused(await capture(shop, payment["id"], filled(body, payment)), 422, code)
    assert await rows(shop) == before
    assert (await shop.paysaga.sandbox.log(payment["checkout_id"])).sent("payment_intents.capture") == 0


async def test_the_amount_of_several_orders_has_to_say_whose_it_is(shop: Shop) -> None:
    payment = await authorized(shop, orders=TWO)
    refused(await capture(shop, payment["id"], {"amount": "100.00"}), 422, "payment_order_required")


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "1.5"), ("KWD", "1.0001"), ("KWD", "1.001")])
async def test_decimals_are_those_of_the_currency_and_of_the_psp(shop: Shop, currency: str, amount: str) -> None:
    payment = await authorized(shop, currency=currency, orders=[("anna", "500")])
    refused(await capture(shop, payment["id"], {"amount": amount}), 422, "amount_precision")


async def test_a_body_and_a_key_are_needed(shop: Shop) -> None:
    payment = await authorized(shop)
    path, http = f"/v1/payments/{payment['id']}/capture", shop.paysaga.http
    refused(await http.post(path, json={}, headers=shop.headers), 400, "idempotency_key_missing")
    long = shop.headers | {"Idempotency-Key": "k" * 256}
    refused(await http.post(path, json={}, headers=long), 400, "idempotency_key_invalid")
    keyed = shop.headers | {"Idempotency-Key": str(uuid4()), "Content-Type": "application/json"}
    refused(await http.post(path, content=b"", headers=keyed), 400, "malformed_json")
    refused(await http.post(path, content=b'{"amount": "1.00', headers=keyed), 400, "malformed_json")
    refused(await http.post(path, content=b'{"amount": "1", "amount": "2"}', headers=keyed), 400, "malformed_json")
    refused(await http.post(path, data={"amount": "1.00"}, headers=keyed | {"Content-Type": "text/plain"}), 415,
            "unsupported_media_type")  # fmt: skip
    assert (await shop.payment(payment["id"]))["status"] == "AUTHORIZED"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"confirm": False, "capture": "manual"}, "NOT_STARTED", "payment_not_authorized"),
        ({"token": "pm_card_threeDSecure2Required", "capture": "manual"}, "REQUIRES_ACTION", "payment_not_authorized"),
        ({"token": "pm_upi_processing"}, "PENDING", "payment_not_authorized"),
        ({"token": "pm_card_chargeDeclined", "capture": "manual"}, "FAILED", "payment_not_authorized"),
        ({}, "SUCCESS", "payment_settled"),
    ],
)
async def test_only_an_authorised_payment_is_captured(
    shop: Shop, fields: dict[str, Any], status: str, code: str
) -> None:
    payment = await shop.paid(shop.checkout(), **fields)
    assert payment["status"] == status
    before = await rows(shop)
    refused(await capture(shop, payment["id"]), 409, code)
    refused(await capture(shop, payment["id"], {"amount": "1.00"}), 409, code)
    assert await rows(shop) == before


async def test_a_cancelled_or_captured_payment_is_not_captured_again(shop: Shop) -> None:
    payment = await authorized(shop)
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel")).json()["status"] == "CANCELLED"
    refused(await capture(shop, payment["id"]), 409, "payment_not_authorized")
    other = await authorized(shop)
    await capture(shop, other["id"], {"amount": "300.00"})
    refused(await capture(shop, other["id"], {"amount": "200.00"}), 409, "payment_settled")
    assert (await shop.paysaga.sandbox.log(other["checkout_id"])).charged == [30000]


async def test_a_second_capture_while_the_first_is_on_its_way_is_refused(shop: Shop) -> None:
    payment = await authorized(shop)
    hold = await shop.paysaga.sandbox.fault("payment_intents.capture", "hold_before", checkout=payment["checkout_id"])
    first = await capture(shop, payment["id"], {"amount": "300.00"}, wait=0)
    assert (first.status_code, first.headers["location"]) == (202, f"/v1/payments/{payment['id']}")
    refused(await capture(shop, payment["id"], wait=0), 409, "capture_requested")
    await shop.paysaga.sandbox.struck(hold)
    await shop.paysaga.sandbox.release(hold)
    assert amounts(await shop.until(payment["id"])) == [("SUCCESS", "300.00")]


async def test_a_payment_that_is_being_cancelled_is_not_captured(shop: Shop) -> None:
    payment = await authorized(shop)
    hold = await shop.paysaga.sandbox.fault("payment_intents.cancel", "hold_before", checkout=payment["checkout_id"])
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)
    refused(await capture(shop, payment["id"], wait=0), 409, "payment_cancelling")
    await shop.paysaga.sandbox.struck(hold)
    await shop.paysaga.sandbox.release(hold)
    assert (await shop.until(payment["id"]))["status"] == "CANCELLED"
    assert (await shop.paysaga.sandbox.log(payment["checkout_id"])).charged == []


async def test_a_frozen_seller_is_not_captured_for_and_the_key_serves_again(shop: Shop) -> None:
    payment, key = await authorized(shop, orders=TWO), str(uuid4())
    anna, bo = (order["payment_order_id"] for order in payment["payment_orders"])
    await shop.set_merchant("bo", status="FROZEN")
    before = await rows(shop)
    refused(await capture(shop, payment["id"], key=key), 422, "merchant_not_active")
    assert await rows(shop) == before
    await shop.set_merchant("bo", status="ACTIVE")
    assert (await capture(shop, payment["id"], key=key)).json()["status"] == "SUCCESS"

    other = await authorized(shop, orders=TWO)
    await shop.set_merchant("bo", status="CLOSED")
    anna, bo = (order["payment_order_id"] for order in other["payment_orders"])
    both = {"payment_orders": [{"payment_order_id": name, "amount": "1.00"} for name in (anna, bo)]}
    refused(await capture(shop, other["id"], both), 422, "merchant_not_active")
    only_anna = {"payment_orders": [{"payment_order_id": anna, "amount": "1.00"}]}
    answer = await capture(shop, other["id"], only_anna)
    assert amounts(answer.json()) == [("SUCCESS", "1.00"), ("CANCELLED", "0.00")]


# --- keys ---


async def test_refusals_do_not_burn_the_key(shop: Shop) -> None:
    payment, key = await authorized(shop), str(uuid4())
    refused(await capture(shop, payment["id"], {"amount": "500.01"}, key=key), 422, "capture_too_large")
    refused(await capture(shop, "nobody", key=key), 404, "payment_not_found")
    refused(await capture(shop, payment["id"], {"amount": "1.001"}, key=key), 422, "amount_precision")
    answer = await capture(shop, payment["id"], {"amount": "499.99"}, key=key)
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    assert "idempotent-replayed" not in answer.headers


async def test_a_replay_answers_the_same_and_captures_once(shop: Shop) -> None:
    payment, key = await authorized(shop), str(uuid4())
    first = await capture(shop, payment["id"], {"amount": "300.00"}, key=key)
    again = await capture(shop, payment["id"], {"amount": "300.00"}, key=key)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await shop.paysaga.sandbox.log(payment["checkout_id"])).sent("payment_intents.capture") == 1


async def test_a_key_stands_for_one_request(shop: Shop) -> None:
    payment, key = await authorized(shop), str(uuid4())
    await capture(shop, payment["id"], {"amount": "300.00"}, key=key)
    problem = refused(await capture(shop, payment["id"], {"amount": "301.00"}, key=key), 422, "idempotency_key_reused")
    assert problem["first_object"] == payment["id"]
    refused(await shop.refund(payment["id"], key=key, amount="300.00"), 422, "idempotency_key_reused")
    assert amounts(await shop.payment(payment["id"])) == [("SUCCESS", "300.00")]


async def test_ten_captures_at_once_take_the_money_once(shop: Shop) -> None:
    """Five under one key, five under keys of their own."""
    payment, key = await authorized(shop), str(uuid4())
    keys = [key] * 5 + [str(uuid4()) for _ in range(5)]
    asked = (partial(capture, shop, payment["id"], key=key, wait=20) for key in keys)
    answers = await asyncio.gather(*map(shop.insist, asked))
    for answer in answers:
        assert answer.status_code == 200 or answer.json()["code"] in ("capture_requested", "payment_settled")
    assert await eventually(lambda: _charged(shop, payment)) == [50000]
    assert (await shop.paysaga.sandbox.log(payment["checkout_id"])).sent("payment_intents.capture") == 1


async def _charged(shop: Shop, payment: dict[str, Any]) -> list[int]:
    return (await shop.paysaga.sandbox.log(payment["checkout_id"])).charged
