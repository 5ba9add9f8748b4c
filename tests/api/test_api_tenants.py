"""Who may see and do what: each tenant its own, each key its scopes."""

import secrets
from typing import Any

import pytest

from api.context import SCOPES
from db import api_key
from tests.api.problem import refused
from tests.support.deployment import Deployment
from tests.support.shop import Shop

ROUTES: list[tuple[str, str, str]] = [
    ("POST", "/v1/payments", "payments:write"),
    ("GET", "/v1/payments/{payment}", "payments:read"),
    ("GET", "/v1/payments/{order}", "payments:read"),
    ("GET", "/v1/payments/{name}", "payments:read"),
    ("GET", "/v1/payments/{payment}/explain", "payments:read"),
    ("POST", "/v1/payments/{payment}/confirm", "payments:write"),
    ("POST", "/v1/payments/{payment}/cancel", "payments:write"),
    ("GET", "/v1/transactions/buyer_1", "payments:read"),
    ("POST", "/v1/merchants", "merchants:write"),
    ("PATCH", "/v1/merchants/anna", "merchants:write"),
    ("GET", "/v1/merchants/anna", "merchants:read"),
    ("GET", "/v1/merchants", "merchants:read"),
    ("GET", "/v1/wallets/anna", "ledger:read"),
    ("GET", "/v1/ledger/transactions", "ledger:read"),
]


async def key_with(shop: Shop, scopes: frozenset[str]) -> dict[str, str]:
    secret = api_key.new_secret()
    await shop.paysaga.database.run(lambda c: api_key.create(c, shop.tenant, "narrow", secret, scopes))
    return {"Authorization": f"Bearer {secret}", "Idempotency-Key": secrets.token_hex(8)}


def body_of(shop: Shop, method: str, path: str) -> Any:
    bodies = {
        ("POST", "/v1/payments"): shop.body(shop.checkout()),
        ("POST", "/v1/merchants"): {"seller_account": f"s-{secrets.token_hex(4)}"},
        ("PATCH", "/v1/merchants/anna"): {"name": "Anna"},
    }
    return bodies.get((method, path))


def named(path: str, payment: dict[str, Any]) -> str:
    order = payment["payment_orders"][0]
    return path.format(payment=payment["id"], order=order["id"], name=order["payment_order_id"])


def test_the_documented_scopes_are_those_of_the_keys() -> None:
    assert frozenset(SCOPES) == api_key.SCOPES
    assert {scope for _, _, scope in ROUTES} == api_key.SCOPES


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_each_route_needs_its_one_scope(shop: Shop, method: str, path: str, scope: str) -> None:
    payment = await shop.paid(shop.checkout(), confirm=False)
    path = named(path, payment)
    all_but_it = await key_with(shop, api_key.SCOPES - {scope})
    answer = await shop.paysaga.http.request(method, path, json=body_of(shop, method, path), headers=all_but_it)
    assert scope in refused(answer, 403, "scope_missing")["detail"]
    none = await key_with(shop, frozenset())
    answer = await shop.paysaga.http.request(method, path, json=body_of(shop, method, path), headers=none)
    refused(answer, 403, "scope_missing")
    it_alone = await key_with(shop, frozenset({scope}))
    answer = await shop.paysaga.http.request(method, path, json=body_of(shop, method, path), headers=it_alone)
    assert answer.status_code in (200, 201, 202), answer.text
    if method != "PATCH" and not path.endswith("/merchants"):
        assert (await shop.payment(payment["id"]))["id"] == payment["id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path, _ in ROUTES if "{" in path] + [("PATCH", "/v1/merchants/of-one")],
)
async def test_another_tenants_object_is_not_there(paysaga: Deployment, method: str, path: str) -> None:
    one = await paysaga.shop(f"one-{secrets.token_hex(5)}", sellers=("anna", "of-one"))
    other = await paysaga.shop(f"other-{secrets.token_hex(5)}", sellers=("anna",))
    payment = await one.paid(one.checkout(), confirm=False)
    path = named(path, payment)
    body = {"status": "FROZEN"} if method == "PATCH" else None
    headers = other.headers | {"Idempotency-Key": secrets.token_hex(8)}
    answer = await paysaga.http.request(method, path, json=body, headers=headers)
    refused(answer, 404, "merchant_not_found" if "merchants" in path else "payment_not_found")
    unknown = await paysaga.http.request(method, path.replace(path.split("/")[3], "nobody"), json=body, headers=headers)
    assert unknown.content == answer.content, "unknown and another's cannot be told apart"
    assert (await one.payment(payment["id"]))["status"] == "NOT_STARTED"
    assert (await one.get("/v1/merchants/of-one")).json()["status"] == "ACTIVE"


async def test_another_tenants_history_wallet_and_books_are_empty(paysaga: Deployment) -> None:
    one = await paysaga.shop(f"one-{secrets.token_hex(5)}", sellers=("anna", "of-one"))
    other = await paysaga.shop(f"other-{secrets.token_hex(5)}", sellers=("anna",))
    payment = await one.paid(one.checkout(), orders=[("anna", "500.00"), ("of-one", "1.00")])
    order = payment["payment_orders"][0]
    assert len((await one.get("/v1/ledger/transactions", payment_id=payment["id"])).json()["data"]) > 0
    mine = (await one.get("/v1/ledger/transactions", limit=1)).json()
    for parameters in (
        {},
        {"payment_id": payment["id"]},
        {"payment_order_id": order["id"]},
        {"account": "wallet:anna:pending"},
        {"cursor": mine["next_cursor"]},
    ):
        assert (await other.get("/v1/ledger/transactions", **parameters)).json()["data"] == [], parameters
    for user, role in (("buyer_1", "buyer"), ("anna", "seller"), ("of-one", "seller")):
        assert (await other.get(f"/v1/transactions/{user}", role=role)).json()["data"] == []
    assert (await other.get("/v1/wallets/anna")).json()["balances"] == []
    refused(await other.get("/v1/wallets/of-one"), 404, "merchant_not_found")
    names = [merchant["seller_account"] for merchant in (await other.get("/v1/merchants")).json()["data"]]
    assert names == ["anna"]
    merchant = (await one.get("/v1/merchants/of-one")).json()
    refused(await other.get(f"/v1/merchants/{merchant['id']}"), 404, "merchant_not_found")
    refused(await other.pay(other.checkout(), orders=[("of-one", "1.00")]), 422, "merchant_unknown")
