"""Giving money back over HTTP: what is refused leaves no trace, and a key stands for one refund."""

from typing import Any
from uuid import uuid4

import pytest

from domain.ids import new_id
from tests.api.problem import refused
from tests.api.rows import rows
from tests.support.shop import Shop

TWO = [("anna", "300.00"), ("bo", "200.00")]


async def test_a_refund_is_created_shown_and_listed(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    own = payment["payment_orders"][0]["payment_order_id"]
    answer = await shop.refund(payment["id"], amount="100.00", reason="duplicate")
    refund = answer.json()
    assert (answer.status_code, refund["status"]) == (201, "SUCCEEDED")
    assert answer.headers["location"] == f"/v1/refunds/{refund['id']}"
    assert "idempotent-replayed" not in answer.headers
    expected = {
        "object": "refund", "payment_id": payment["id"], "payment_order_id": own, "origin": "request",
        "reason": "duplicate", "amount": "100.00", "currency": "INR", "attempt": 1, "failure": None,
    }  # fmt: skip
    assert {name: refund[name] for name in expected} == expected
    assert (await shop.get(answer.headers["location"])).json() == refund
    second = (await shop.refund(own)).json()
    assert second["amount"] == "400.00"
    for name in (payment["id"], payment["payment_orders"][0]["id"], own):
        assert (await shop.get(f"/v1/payments/{name}/refunds")).json()["data"] == [refund, second]


@pytest.mark.parametrize("where", ["path", "own", "ours"])
async def test_an_order_of_several_is_named_in_the_path_or_in_the_body(shop: Shop, where: str) -> None:
    payment = await shop.paid(shop.checkout(), orders=TWO)
    bo = payment["payment_orders"][1]
    if where == "path":
        answer = await shop.refund(bo["id"], amount="1.00")
    else:
        name = bo["payment_order_id"] if where == "own" else bo["id"]
        answer = await shop.refund(payment["id"], amount="1.00", payment_order_id=name)
    assert (answer.status_code, answer.json()["payment_order_id"]) == (201, bo["payment_order_id"])
    same = await shop.refund(bo["id"], amount="1.00", payment_order_id=bo["payment_order_id"])
    assert same.status_code == 201
    assert [o["refundable_amount"] for o in (await shop.payment(payment["id"]))["payment_orders"]] == [
        "300.00", "198.00",
    ]  # fmt: skip


async def test_a_reason_may_be_in_the_shops_own_words(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    answer = await shop.refund(payment["id"], reason="the doll had one arm")
    assert (answer.status_code, answer.json()["reason"]) == (201, "the doll had one arm")


async def test_a_client_that_does_not_wait_is_told_where_to_ask(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    hold = await shop.paysaga.sandbox.fault("refunds.create", "hold_before", checkout=payment["checkout_id"])
    answer = await shop.refund(payment["id"], wait=0)
    assert (answer.status_code, answer.json()["status"]) == (202, "REQUESTED")
    await shop.paysaga.sandbox.struck(hold)
    order = (await shop.payment(payment["id"]))["payment_orders"][0]
    assert (order["refund_status"], order["refundable_amount"], order["status"]) == ("REFUNDING", "0.00", "SUCCESS")
    await shop.paysaga.sandbox.release(hold)
    assert (await shop.refund_until(answer.json()["id"], "SUCCEEDED"))["amount"] == "500.00"


# --- what is refused ---

BODIES: list[tuple[Any, str]] = [
    ({"amount": 100}, "amount_invalid"),
    ({"amount": 100.0}, "amount_invalid"),
    ({"amount": True}, "amount_invalid"),
    ({"amount": ""}, "amount_invalid"),
    ({"amount": "-1.00"}, "amount_invalid"),
    ({"amount": "1e2"}, "amount_invalid"),
    ({"amount": "1,00"}, "amount_invalid"),
    ({"amount": "１.00"}, "amount_invalid"),
    ({"amount": "1.001"}, "amount_precision"),
    ({"amount": "0"}, "amount_not_positive"),
    ({"amount": "0.00"}, "amount_not_positive"),
    ({"amount": "500.01"}, "refund_too_large"),
    ({"amount": "1000000000.00"}, "amount_too_large"),
    ({"amount": "9" * 25}, "field_invalid"),
    ({"payment_order_id": "another"}, "payment_order_unknown"),
    ({"payment_order_id": "po_01kafm6e8r4t1d1w9p7zq3x5yv", "amount": "1.00"}, "payment_order_unknown"),
    ({"payment_order_id": ""}, "field_invalid"),
    ({"payment_order_id": 7}, "field_invalid"),
    ({"payment_order_id": "o" * 65}, "field_invalid"),
    ({"reason": ""}, "field_invalid"),
    ({"reason": "r" * 501}, "field_invalid"),
    ({"reason": "a\x00b"}, "text_invalid"),
    ({"reason": "paid with 4000 0566 5566 5556"}, "card_data_forbidden"),
    ({"reason": 1}, "field_invalid"),
    ({"currency": "INR"}, "field_unknown"),
    ({"origin": "psp"}, "field_unknown"),
    ({"note": "his card is 4000056655665556"}, "card_data_forbidden"),
    ({"payment_order_id": "4000-0566-5566-5556"}, "card_data_forbidden"),
    ({"amount": 4000056655665556}, "card_data_forbidden"),
    ([], "field_invalid"),
    ("all", "field_invalid"),
]


@pytest.mark.parametrize(("body", "code"), BODIES)
async def test_what_cannot_be_refunded_changes_nothing(shop: Shop, body: Any, code: str) -> None:
    payment = await shop.paid(shop.checkout())
    before = await rows(shop)
    answer = await shop.post(f"/v1/payments/{payment['id']}/refunds", body)
    problem = refused(answer, 422, code)
    assert "4000056655665556" not in str(problem)
    if code == "refund_too_large":
        assert problem["refundable"] == "500.00"
    assert await rows(shop) == before
    assert (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json() == {"object": "list", "data": []}


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "1.5"), ("KWD", "1.0001"), ("KWD", "1.001")])
async def test_decimals_are_those_of_the_currency_and_of_the_psp(shop: Shop, currency: str, amount: str) -> None:
    payment = await shop.paid(shop.checkout(), currency=currency, orders=[("anna", "500")])
    refused(await shop.refund(payment["id"], amount=amount), 422, "amount_precision")


async def test_a_body_and_a_key_are_needed(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    path, http = f"/v1/payments/{payment['id']}/refunds", shop.paysaga.http
    refused(await http.post(path, json={}, headers=shop.headers), 400, "idempotency_key_missing")
    refused(await shop.post(path, {}, key="k" * 256), 400, "idempotency_key_invalid")
    refused(await shop.post(path, {}, key="4000056655665556"), 422, "card_data_forbidden")
    keyed = shop.headers | {"Idempotency-Key": str(uuid4())}
    refused(await http.post(path, content=b"{", headers=keyed | {"Content-Type": "application/json"}), 400,
            "malformed_json")  # fmt: skip
    refused(await http.post(path, headers=keyed), 415, "unsupported_media_type")
    assert (await shop.get(path)).json()["data"] == []


async def test_one_of_several_orders_has_to_be_named_and_to_be_the_paths(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), orders=TWO)
    anna, bo = payment["payment_orders"]
    before = await rows(shop)
    refused(await shop.refund(payment["id"]), 422, "payment_order_required")
    refused(await shop.refund(payment["id"], amount="1.00"), 422, "payment_order_required")
    refused(await shop.refund(anna["id"], payment_order_id=bo["id"]), 422, "payment_order_unknown")
    problem = refused(await shop.refund(anna["id"], amount="300.01"), 422, "refund_too_large")
    assert problem["refundable"] == "300.00"
    assert await rows(shop) == before


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"confirm": False}, "NOT_STARTED"),
        ({"token": "pm_card_threeDSecure2Required"}, "REQUIRES_ACTION"),
        ({"token": "pm_upi_processing"}, "PENDING"),
        ({"capture": "manual"}, "AUTHORIZED"),
        ({"token": "pm_card_chargeDeclined"}, "FAILED"),
    ],
)
async def test_what_was_not_paid_is_not_refunded(shop: Shop, fields: dict[str, Any], status: str) -> None:
    payment = await shop.paid(shop.checkout(), **fields)
    assert payment["status"] == status
    before = await rows(shop)
    refused(await shop.refund(payment["id"]), 409, "payment_not_settled")
    refused(await shop.refund(payment["id"], amount="1.00"), 409, "payment_not_settled")
    assert await rows(shop) == before


async def test_of_a_partial_capture_only_what_was_taken_is_refunded(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), capture="manual")
    await shop.post(f"/v1/payments/{payment['id']}/capture", {"amount": "300.00"})
    problem = refused(await shop.refund(payment["id"], amount="300.01"), 422, "refund_too_large")
    assert problem["refundable"] == "300.00"
    assert (await shop.refunded(payment["id"]))["amount"] == "300.00"
    refused(await shop.refund(payment["id"]), 409, "nothing_to_refund")
    assert refused(await shop.refund(payment["id"], amount="0.01"), 422, "refund_too_large")["refundable"] == "0.00"


async def test_what_the_buyers_bank_has_taken_is_not_given_back_as_well(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    await shop.paysaga.sandbox.dispute(await shop.reference(payment["id"]), amount=30000)
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    order = (await shop.payment(payment["id"]))["payment_orders"][0]
    assert (order["refundable_amount"], order["dispute_status"]) == ("200.00", "NEEDS_RESPONSE")
    assert refused(await shop.refund(payment["id"], amount="200.01"), 422, "refund_too_large")["refundable"] == "200.00"


async def test_without_funds_and_without_credit_nothing_is_set_aside(shop: Shop) -> None:
    await shop.set_merchant("anna", platform_fee_on_refund="kept")
    payment, key = await shop.paid(shop.checkout()), str(uuid4())
    before = await rows(shop)
    problem = refused(await shop.refund(payment["id"], key=key), 422, "wallet_insufficient")
    assert problem["missing"] == "15.00"
    assert await rows(shop) == before
    await shop.set_merchant("anna", allow_negative_balance=True, status="CLOSED")
    refused(await shop.refund(payment["id"], key=key), 422, "wallet_insufficient")
    part = await shop.refund(payment["id"], key=key, amount="485.00")
    assert (part.status_code, part.json()["status"]) == (201, "SUCCEEDED"), "a closed seller pays from what is left"


async def test_a_frozen_seller_still_refunds_even_on_credit(shop: Shop) -> None:
    await shop.set_merchant("anna", platform_fee_on_refund="kept", allow_negative_balance=True)
    payment = await shop.paid(shop.checkout())
    await shop.set_merchant("anna", status="FROZEN")
    assert (await shop.refunded(payment["id"]))["status"] == "SUCCEEDED"
    assert (await shop.get("/v1/wallets/anna")).json()["balances"][0]["owed"] == "15.00"


@pytest.mark.parametrize(
    "name", ["nobody", "re_01kafm6e8q9v7s2c4n0b8k6h3j", "{payment}", "a b", "%00", "4000056655665556", "é"]
)
async def test_a_refund_that_is_not_there(shop: Shop, name: str) -> None:
    payment = await shop.paid(shop.checkout(), confirm=False)
    refused(await shop.get(f"/v1/refunds/{name.format(payment=payment['id'])}"), 404, "refund_not_found")


async def test_a_payment_that_is_not_there_has_no_refunds(shop: Shop) -> None:
    for name in ("nobody", new_id("pay"), new_id("po"), new_id("re")):
        refused(await shop.get(f"/v1/payments/{name}/refunds"), 404, "payment_not_found")
        refused(await shop.refund(name), 404, "payment_not_found")


# --- keys ---


async def test_refusals_do_not_burn_the_key(shop: Shop) -> None:
    payment, key = await shop.paid(shop.checkout()), str(uuid4())
    refused(await shop.refund(payment["id"], key=key, amount="500.01"), 422, "refund_too_large")
    refused(await shop.refund(payment["id"], key=key, amount="0"), 422, "amount_not_positive")
    refused(await shop.refund("nobody", key=key), 404, "payment_not_found")
    answer = await shop.refund(payment["id"], key=key, amount="499.99")
    assert (answer.status_code, answer.json()["status"]) == (201, "SUCCEEDED")
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize("amount", [None, "100.00"])
async def test_a_replay_answers_with_the_first_refund(shop: Shop, amount: str | None) -> None:
    """Also where "all that is left" would be nothing by now."""
    payment, key = await shop.paid(shop.checkout()), str(uuid4())
    body: dict[str, Any] = {} if amount is None else {"amount": amount}
    first = await shop.refund(payment["id"], key=key, **body)
    again = await shop.refund(payment["id"], key=key, **body)
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert len((await shop.paysaga.sandbox.log(payment["checkout_id"])).refunded) == 1


async def test_a_replay_tells_what_became_of_the_refund(shop: Shop) -> None:
    payment, key = await shop.paid(shop.checkout(), "pm_card_pendingRefund"), str(uuid4())
    first = await shop.refund(payment["id"], key=key)
    assert (first.status_code, first.json()["status"]) == (202, "PENDING")
    await shop.refund_until(first.json()["id"], "SUCCEEDED")
    again = await shop.refund(payment["id"], key=key)
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (201, first.json()["id"], "SUCCEEDED")


async def test_a_key_stands_for_one_request(shop: Shop) -> None:
    payment, other, key = await shop.paid(shop.checkout()), await shop.paid(shop.checkout()), str(uuid4())
    first = (await shop.refund(payment["id"], key=key, amount="1.00")).json()
    others: list[dict[str, Any]] = [{"amount": "2.00"}, {}, {"amount": "1.00", "reason": "duplicate"}]
    for body in others:
        problem = refused(await shop.refund(payment["id"], key=key, **body), 422, "idempotency_key_reused")
        assert problem["first_object"] == first["id"]
    refused(await shop.refund(other["id"], key=key, amount="1.00"), 422, "idempotency_key_reused")
    assert (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"] == [first]
    assert (await shop.get(f"/v1/payments/{other['id']}/refunds")).json()["data"] == []
