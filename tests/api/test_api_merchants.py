"""Sellers: added once, frozen and unfrozen, closed for ever; their terms; what they are owed."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.problem import refused
from tests.support.deployment import Deployment
from tests.support.shop import Answer, Shop


async def patch(shop: Shop, seller: str, **fields: Any) -> Answer:
    return await shop.paysaga.http.patch(f"/v1/merchants/{seller}", json=fields, headers=shop.headers)


async def test_a_seller_is_added_once(shop: Shop) -> None:
    body = {"seller_account": "dora", "name": "Dora's Dolls", "fee": {"percent": "2.9", "fixed": "0.30"}}
    answer = await shop.post("/v1/merchants", body)
    assert answer.status_code == 201
    merchant = answer.json()
    shown = {name: merchant[name] for name in ("object", "seller_account", "name", "status", "fee", "psp_fee_payer")}
    assert shown == {
        "object": "merchant",
        "seller_account": "dora",
        "name": "Dora's Dolls",
        "status": "ACTIVE",
        "fee": {"percent": "2.9", "fixed": "0.3"},
        "psp_fee_payer": "platform",
    }
    refused(await shop.post("/v1/merchants", body), 409, "merchant_exists")
    for name in ("dora", merchant["id"]):
        assert (await shop.get(f"/v1/merchants/{name}")).json() == merchant


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "field_missing"),
        ({"seller_account": "mer_1"}, "id_invalid"),
        ({"seller_account": "a:b"}, "id_invalid"),
        ({"seller_account": "d", "status": "CLOSED"}, "field_unknown"),
        ({"seller_account": "d", "tenant_id": "other"}, "field_unknown"),
        ({"seller_account": "d", "fee": {"percent": "100.01"}}, "fee_invalid"),
        ({"seller_account": "d", "fee": {"percent": "-1"}}, "field_invalid"),
        ({"seller_account": "d", "fee": {"percent": 2.9}}, "field_invalid"),
        ({"seller_account": "d", "fee": {"percent": "1.23456"}}, "field_invalid"),
        ({"seller_account": "d", "fee": {"fixed": "99999999"}}, "field_invalid"),
        ({"seller_account": "d", "name": "n" * 201}, "field_invalid"),
        ({"seller_account": "d", "psp_fee_payer": "nobody"}, "field_invalid"),
    ],
)
async def test_a_seller_that_is_not_acceptable(shop: Shop, body: dict[str, Any], code: str) -> None:
    refused(await shop.post("/v1/merchants", body), 422, code)


async def test_terms_change_for_new_orders_only(shop: Shop) -> None:
    before = await shop.paid(shop.checkout(), confirm=False)
    changed = await patch(shop, "anna", fee={"percent": "10", "fixed": "1"}, name="Anna", psp_fee_payer="seller")
    assert changed.json()["fee"] == {"percent": "10", "fixed": "1"}
    assert (changed.json()["name"], changed.json()["psp_fee_payer"]) == ("Anna", "seller")
    await shop.post(f"/v1/payments/{before['id']}/confirm")
    after = await shop.paid(shop.checkout())
    fees = await shop.paysaga.sql(
        "SELECT platform_fee FROM payment_order WHERE payment_id = ANY($1) ORDER BY id", [before["id"], after["id"]]
    )
    assert [row["platform_fee"] for row in fees] == [1500, 5100]
    assert (await patch(shop, "anna", name=None)).json()["name"] is None
    assert (await patch(shop, "anna")).json()["fee"] == {"percent": "10", "fixed": "1"}


async def test_closed_is_for_ever(shop: Shop) -> None:
    assert (await patch(shop, "anna", status="FROZEN")).json()["status"] == "FROZEN"
    assert (await patch(shop, "anna", status="ACTIVE")).json()["status"] == "ACTIVE"
    assert (await patch(shop, "anna", status="CLOSED")).json()["status"] == "CLOSED"
    for status in ("ACTIVE", "FROZEN"):
        refused(await patch(shop, "anna", status=status), 409, "merchant_closed")
    assert (await patch(shop, "anna", status="CLOSED", name="gone")).json()["name"] == "gone"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"status": "OPEN"}, "field_invalid"),
        ({"seller_account": "other"}, "field_unknown"),
        ({"fee": {"percent": "101"}}, "fee_invalid"),
    ],
)
async def test_a_change_that_is_not_acceptable(shop: Shop, body: dict[str, Any], code: str) -> None:
    refused(await patch(shop, "anna", **body), 422, code)


async def test_a_change_is_written_to_the_audit_log(shop: Shop) -> None:
    await patch(shop, "anna", status="FROZEN")
    rows = await shop.paysaga.sql("SELECT actor, action, detail FROM audit_log WHERE tenant_id = $1", shop.tenant)
    assert [(row["actor"][:4], row["action"]) for row in rows] == [("key_", "merchant.change")]


@pytest.fixture
async def empty_shop(paysaga: Deployment) -> Shop:
    """Without sellers: those of a usual one are added at one time."""
    return await paysaga.shop(f"shop-{secrets.token_hex(5)}", sellers=())


async def test_the_list_in_pages(empty_shop: Shop) -> None:
    for seller in ("chen", "anna", "bo"):
        await empty_shop.add_seller(seller)
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page = (await empty_shop.get("/v1/merchants", limit=1, **({"cursor": cursor} if cursor else {}))).json()
        seen += [merchant["seller_account"] for merchant in page["data"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (["chen", "anna", "bo"], None)


async def test_the_list_is_in_the_order_of_adding_whatever_the_ids(empty_shop: Shop) -> None:
    """Ids of one millisecond are in random order; and those who were added at one time are neither skipped nor
    repeated."""
    add = (
        "INSERT INTO merchant (id, tenant_id, seller_account, created_at) "
        "SELECT 'mer_' || repeat(substr('zyxwvt', n, 1), 26), $1, 'seller-' || n, "
        "now() + (n / 2) * interval '1 microsecond' FROM generate_series(1, 6) AS n"
    )
    await empty_shop.paysaga.sql(add, empty_shop.tenant)
    seen: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = (await empty_shop.get("/v1/merchants", limit=2, **more)).json()
        seen += [merchant["seller_account"] for merchant in page["data"]]
        if page["next_cursor"] is None:
            break
        more = {"cursor": page["next_cursor"]}
    assert seen == ["seller-1", "seller-3", "seller-2", "seller-5", "seller-4", "seller-6"]


async def test_a_wallet_shows_each_currency(shop: Shop) -> None:
    assert (await shop.get("/v1/wallets/bo")).json() == {"object": "wallet", "seller_account": "bo", "balances": []}
    began = datetime.now(UTC) - timedelta(seconds=1)  # the PSP's clock has whole seconds
    await shop.paid(shop.checkout(), orders=[("bo", "100.00")], currency="USD")
    await shop.paid(shop.checkout(), orders=[("bo", "1000")], currency="JPY")
    await shop.paid(shop.checkout(), orders=[("bo", "10.000")], currency="KWD")
    balances = (await shop.get("/v1/wallets/bo")).json()["balances"]
    possible = {(moment + timedelta(days=2)).date().isoformat() for moment in (began, datetime.now(UTC))}
    for balance in balances:
        (day,) = balance.pop("available_on")
        assert day["date"] in possible
        assert day == {"date": day["date"], "amount": balance["pending"]}
    assert balances == [
        {"currency": "JPY", "pending": "970", "available": "0", "reserved": "0", "owed": "0"},
        {"currency": "KWD", "pending": "9.700", "available": "0.000", "reserved": "0.000", "owed": "0.000"},
        {"currency": "USD", "pending": "97.00", "available": "0.00", "reserved": "0.00", "owed": "0.00"},
    ]
