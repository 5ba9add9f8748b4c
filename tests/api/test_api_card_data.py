"""A card number is refused however it is written. That it is nowhere afterwards: tests/e2e/test_canaries.py."""

from typing import Any

import pytest

from tests.api.problem import refused
from tests.api.test_api_validation import changed
from tests.support.shop import Shop

CANARY = "4000056655665556"
"""A test number of Visa debit that no other test uses."""

PLACES = [
    ("checkout_id", CANARY),
    ("buyer.id", f"buyer-{CANARY}"),
    ("buyer.email", f"{CANARY}@example.com"),
    ("payment_method.token", f"pm_{CANARY}"),
    ("payment_method.token", CANARY),
    ("payment_orders.0.payment_order_id", "4000-0566-5566-5556"),
    ("payment_orders.0.seller_account", CANARY),
    ("payment_orders.0.amount", CANARY),
    ("payment_orders.0.amount", int(CANARY)),
    ("payment_orders.0.currency", CANARY),
    ("metadata", {"note": f"card {CANARY}"}),
    ("metadata", {"note": "4000 0566 5566 5556 12/34 123"}),
    ("metadata", {"note": "4000.0566.5566.5556"}),
    ("metadata", {"note": "４０００ ０５６６ ５５６６ ５５５６"}),
    ("metadata", {"note": f"cc{CANARY}"}),
    ("metadata", {"note": f"{CANARY}ab"}),
    ("metadata", {"note": "4000\N{EN DASH}0566\N{EN DASH}5566\N{EN DASH}5556"}),
    ("metadata", {"card_pan": "x"}),
    ("metadata", {"note": "his cvc is 123"}),
    ("metadata", {"cvc": "123"}),
    ("metadata", {"CardNumber": "x"}),
    ("metadata", {CANARY: "x"}),
    ("metadata", {"deep": {"deeper": [{"deepest": CANARY}]}}),
    ("metadata", {"number": float(CANARY)}),
    ("card", {"number": CANARY, "exp": "12/34", "cvc": "123"}),
    ("payment_method.security_code", "123"),
    (CANARY, "x"),
]


@pytest.mark.parametrize(("path", "value"), PLACES)
async def test_card_data_is_refused_anywhere_in_a_checkout(shop: Shop, path: str, value: Any) -> None:
    body = changed(shop.body(shop.checkout(), metadata={}), path, value)
    problem = refused(await shop.post("/v1/payments", body), 422, "card_data_forbidden")
    assert CANARY not in str(problem)


async def test_card_data_is_refused_as_a_key_and_in_a_merchant(shop: Shop) -> None:
    refused(await shop.pay(shop.checkout(), key=CANARY), 422, "card_data_forbidden")
    alias = shop.headers | {"X-Idempotency-Key": CANARY}
    answer = await shop.paysaga.http.post("/v1/payments", json=shop.body(shop.checkout()), headers=alias)
    refused(answer, 422, "card_data_forbidden")
    merchant = {"seller_account": "dora", "name": CANARY}
    refused(await shop.post("/v1/merchants", merchant), 422, "card_data_forbidden")
    patch = await shop.paysaga.http.patch("/v1/merchants/anna", json={"name": CANARY}, headers=shop.headers)
    refused(patch, 422, "card_data_forbidden")
