"""What can be read and is not acceptable: 422 with a code, and the key is free for the corrected request."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.problem import refused
from tests.support.shop import Shop


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`body` with one member set; `path` as in the problem document: `payment_orders.0.amount`."""
    *parents, name = path.split(".")
    place: Any = body
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[name] = value
    return body


AMOUNTS: list[tuple[Any, str, str]] = [
    (500, "INR", "amount_invalid"),
    (500.0, "INR", "amount_invalid"),
    (None, "INR", "amount_invalid"),
    (True, "INR", "amount_invalid"),
    (["500.00"], "INR", "amount_invalid"),
    ({"amount": "500.00"}, "INR", "amount_invalid"),
    ("", "INR", "amount_invalid"),
    (" 500.00", "INR", "amount_invalid"),
    ("500.00 ", "INR", "amount_invalid"),
    ("500,00", "INR", "amount_invalid"),
    ("1,000.00", "INR", "amount_invalid"),
    ("+500.00", "INR", "amount_invalid"),
    ("-500.00", "INR", "amount_invalid"),
    ("5e2", "INR", "amount_invalid"),
    ("0x10", "INR", "amount_invalid"),
    ("00500.00", "INR", "amount_invalid"),
    (".50", "INR", "amount_invalid"),
    ("500.", "INR", "amount_invalid"),
    ("NaN", "INR", "amount_invalid"),
    ("Infinity", "INR", "amount_invalid"),
    ("five hundred", "INR", "amount_invalid"),
    ("５００.００", "INR", "amount_invalid"),
    ("0", "INR", "amount_not_positive"),
    ("0.00", "INR", "amount_not_positive"),
    ("500.000", "INR", "amount_precision"),
    ("500.001", "INR", "amount_precision"),
    ("500.0", "JPY", "amount_precision"),
    ("500.00", "JPY", "amount_precision"),
    ("1.0001", "KWD", "amount_precision"),
    ("1.234", "KWD", "amount_precision"),  # the PSP wants the third decimal to be 0
    ("1000000000.00", "INR", "amount_too_large"),
    ("99999999999999.00", "INR", "amount_too_large"),
    ("1000000.00", "INR", "amount_too_large"),  # ours to take, above the PSP's eight digits
    ("0.49", "INR", "amount_too_small"),
    ("49", "JPY", "amount_too_small"),
    ("0.49", "USD", "amount_too_small"),
]


@pytest.mark.parametrize(("amount", "currency", "code"), AMOUNTS)
async def test_amounts(shop: Shop, amount: Any, currency: str, code: str) -> None:
    answer = await shop.pay(shop.checkout(), orders=[("anna", amount)], currency=currency)
    refused(answer, 422, code)


@pytest.mark.parametrize("amount", ["9" * 25, "9" * 90_000])
async def test_an_amount_of_too_many_digits(shop: Shop, amount: str) -> None:
    problem = refused(await shop.pay(shop.checkout(), orders=[("anna", amount)]), 422, "field_invalid")
    assert problem["errors"][0]["field"] == "payment_orders.0.amount"


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("0.50", "INR", "0.50"),
        ("500", "INR", "500.00"),
        ("500.5", "USD", "500.50"),
        ("50", "JPY", "50"),
        ("1.230", "KWD", "1.230"),
        ("1.23", "KWD", "1.230"),
        ("999999.99", "INR", "999999.99"),
    ],
)
async def test_amounts_that_are_fine(shop: Shop, amount: str, currency: str, shown: str) -> None:
    payment = await shop.paid(shop.checkout(), orders=[("anna", amount)], currency=currency)
    assert (payment["status"], payment["amount"], payment["payment_orders"][0]["amount"]) == ("SUCCESS", shown, shown)


@pytest.mark.parametrize(
    ("currency", "code"),
    [
        ("XYZ", "currency_unknown"),
        ("inr", "currency_unknown"),
        ("{x}", "currency_unknown"),
        ("XAU", "currency_unknown"),
        ("KRW", "currency_not_settled"),
        ("CHF", "currency_not_settled"),
        ("", "field_invalid"),
        ("IN", "field_invalid"),
        ("RUPEE", "field_invalid"),
        (356, "field_invalid"),
        (None, "field_invalid"),
    ],
)
async def test_currencies(shop: Shop, currency: Any, code: str) -> None:
    refused(await shop.pay(shop.checkout(), currency=currency, orders=[("anna", "500")]), 422, code)


FIELDS: list[tuple[str, Any, str]] = [
    ("extra", 1, "field_unknown"),
    ("id", "pay_mine", "field_unknown"),
    ("tenant_id", "another", "field_unknown"),
    ("status", "SUCCESS", "field_unknown"),
    ("buyer.name", "B", "field_unknown"),
    ("payment_method.last4", "4242", "field_unknown"),
    ("payment_orders.0.platform_fee", "0", "field_unknown"),
    ("payment_orders.0.status", "SUCCESS", "field_unknown"),
    ("buyer", None, "field_invalid"),
    ("buyer", [], "field_invalid"),
    ("buyer.id", 7, "field_invalid"),
    ("buyer.email", "nobody", "field_invalid"),
    ("buyer.email", "a b@c", "field_invalid"),
    ("buyer.email", "a@" + "b" * 300, "field_invalid"),
    ("payment_method.type", "cash", "field_invalid"),
    ("payment_method.token", "", "field_invalid"),
    ("payment_method.token", "pm card", "field_invalid"),
    ("payment_method.token", "t" * 256, "field_invalid"),
    ("payment_orders", [], "field_invalid"),
    ("payment_orders", {}, "field_invalid"),
    ("payment_orders", None, "field_invalid"),
    ("capture", "later", "field_invalid"),
    ("on_authorization_expiry", "later", "field_invalid"),
    ("confirm", "yes", "field_invalid"),
    ("confirm", 1, "field_invalid"),
    ("on_partial_failure", "panic", "field_invalid"),
    ("metadata", [], "field_invalid"),
    ("metadata", {"k": 1}, "field_invalid"),
    ("metadata", {"k": {"deep": "1"}}, "field_invalid"),
    ("metadata", {"k": None}, "field_invalid"),
    ("metadata", {"": "v"}, "field_invalid"),
    ("metadata", {"k" * 41: "v"}, "field_invalid"),
    ("metadata", {"k": "v" * 501}, "field_invalid"),
    ("metadata", {f"k{n}": "v" for n in range(21)}, "field_invalid"),
    *((field, "", "id_invalid") for field in ("checkout_id", "buyer.id", "payment_orders.0.payment_order_id")),
    ("checkout_id", "a b", "id_invalid"),
    ("checkout_id", "a/b", "id_invalid"),
    ("checkout_id", "ä", "id_invalid"),
    ("checkout_id", "a\n", "id_invalid"),
    ("checkout_id", "c" * 65, "field_invalid"),
    ("checkout_id", "pay_1", "id_invalid"),
    ("buyer.id", "key_1", "id_invalid"),
    ("payment_orders.0.payment_order_id", "po_1", "id_invalid"),
    ("payment_orders.0.payment_order_id", "pay_1", "id_invalid"),
    ("payment_orders.0.seller_account", "mer_1", "id_invalid"),
    ("payment_orders.0.seller_account", "nobody", "merchant_unknown"),
]


@pytest.mark.parametrize(("path", "value", "code"), FIELDS)
async def test_fields(shop: Shop, path: str, value: Any, code: str) -> None:
    answer = await shop.post("/v1/payments", changed(shop.body(shop.checkout()), path, value))
    problem = refused(answer, 422, code)
    if code in ("field_unknown", "id_invalid"):
        assert problem["errors"][0]["field"] == path


@pytest.mark.parametrize("missing", ["buyer", "payment_method", "payment_orders"])
async def test_missing_fields(shop: Shop, missing: str) -> None:
    body = shop.body(shop.checkout())
    del body[missing]
    assert refused(await shop.post("/v1/payments", body), 422, "field_missing")["errors"][0]["field"] == missing


async def test_every_wrong_field_is_named_at_once(shop: Shop) -> None:
    body = changed(changed(shop.body(shop.checkout()), "buyer.id", "?"), "payment_orders.0.amount", 5)
    problem = (await shop.post("/v1/payments", body)).json()
    assert {error["field"]: error["code"] for error in problem["errors"]} == {
        "buyer.id": "id_invalid",
        "payment_orders.0.amount": "amount_invalid",
    }


async def test_orders_that_do_not_go_together(shop: Shop) -> None:
    body = shop.body(shop.checkout(), orders=[("anna", "1.00"), ("bo", "1.00")])
    mixed = changed(body, "payment_orders.1.currency", "USD")
    refused(await shop.post("/v1/payments", mixed), 422, "currency_mixed")

    twice = shop.body(shop.checkout(), orders=[("anna", "1.00"), ("bo", "1.00")])
    twice["payment_orders"][1]["payment_order_id"] = twice["payment_orders"][0]["payment_order_id"]
    refused(await shop.post("/v1/payments", twice), 422, "payment_order_repeated")

    many = shop.body(shop.checkout(), orders=[("anna", "1.00")] * 51)
    refused(await shop.post("/v1/payments", many), 422, "field_invalid")

    finest = shop.body(shop.checkout(), orders=[("anna", "1.001"), ("bo", "1.009")], currency="KWD")
    refused(await shop.post("/v1/payments", finest), 422, "amount_precision")


async def test_small_orders_may_share_a_charge_that_is_large_enough(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), orders=[("anna", "0.30"), ("bo", "0.20")])
    assert (payment["status"], payment["amount"]) == ("SUCCESS", "0.50")


async def test_a_frozen_or_closed_merchant(shop: Shop) -> None:
    await shop.set_merchant("anna", status="FROZEN")
    refused(await shop.pay(shop.checkout()), 422, "merchant_not_active")
    refused(await shop.pay(shop.checkout(), orders=[("bo", "1.00"), ("anna", "1.00")]), 422, "merchant_not_active")
    await shop.set_merchant("anna", status="ACTIVE")
    assert (await shop.paid(shop.checkout()))["status"] == "SUCCESS"
    await shop.set_merchant("anna", status="CLOSED")
    refused(await shop.pay(shop.checkout()), 422, "merchant_not_active")


async def test_a_refused_request_writes_nothing_and_does_not_burn_its_key(shop: Shop) -> None:
    checkout, key = shop.checkout(), str(uuid4())
    refused(await shop.pay(checkout, key=key, orders=[("anna", "0")]), 422, "amount_not_positive")
    refused(await shop.pay(checkout, key=key, orders=[("nobody", "1.00")]), 422, "merchant_unknown")
    refused(await shop.pay(checkout, key=key, currency="CHF"), 422, "currency_not_settled")
    told = "(SELECT * FROM outbox WHERE type NOT LIKE 'merchant.%') AS told"
    for table in ("payment", "payment_order", "charge", "idempotency_key", told):
        rows = await shop.paysaga.sql(f"SELECT count(*) AS n FROM {table} WHERE tenant_id = $1", shop.tenant)
        assert rows[0]["n"] == 0, table
    answer = await shop.pay(checkout, key=key)
    assert (answer.status_code, answer.json()["status"]) == (201, "SUCCESS")
    assert "idempotent-replayed" not in answer.headers
