"""Payments and refunds in lists: every filter, pages that stay, one's own tenant alone; and found by other names."""

import json
from typing import Any

import pytest
from sqlalchemy import event

from db import search
from db.search import Wanted
from tests.api import objects
from tests.api.problem import refused
from tests.audit.command import paysaga_command
from tests.support.deployment import Deployment
from tests.support.shop import Shop


async def ids(shop: Shop, path: str, **filters: Any) -> list[str]:
    """All pages, of two entries each."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await shop.get(path, limit=2, **filters, **cursor)).raise_for_status().json()
        found += [row["id"] for row in page["data"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_payments_and_refunds_are_listed_and_found(shop: Shop) -> None:
    checkout = shop.checkout()
    first = await shop.paid(checkout, orders=[("anna", "300.00"), ("bo", "200.00")])
    declined = (await shop.pay(shop.checkout(), "pm_card_chargeDeclined")).json()
    third = await shop.paid(shop.checkout(), orders=[("bo", "12.34")])
    reference = await shop.reference(first["id"])
    everything = [third["id"], declined["id"], first["id"]]
    assert await ids(shop, "/v1/payments") == everything
    for filters, expected in (
        ({"status": "FAILED"}, [declined["id"]]),
        ({"seller_account": "bo"}, [third["id"], first["id"]]),
        ({"amount": "12.34", "currency": "INR"}, [third["id"]]),
        ({"reference": reference}, [first["id"]]),
        ({"reference": checkout}, [first["id"]]),
        ({"reference": first["payment_orders"][1]["payment_order_id"]}, [first["id"]]),
        ({"buyer_id": first["buyer"]["id"]}, everything),
        ({"buyer_id": "nobody"}, []),
        ({"since": third["created_at"]}, [third["id"]]),
        ({"until": declined["created_at"]}, [first["id"]]),
    ):
        assert await ids(shop, "/v1/payments", **filters) == expected, filters

    for name in (checkout, reference):
        assert (await shop.payment(name))["id"] == first["id"]
    bo = first["payment_orders"][1]["payment_order_id"]
    of_bo = await shop.refunded(first["id"], payment_order_id=bo, amount="1.00")
    whole = await shop.refunded(third["id"])
    assert await ids(shop, "/v1/refunds") == [whole["id"], of_bo["id"]]
    for filters, expected in (
        ({"seller_account": "anna"}, []),
        ({"seller_account": "bo"}, [whole["id"], of_bo["id"]]),
        ({"amount": "1.00", "currency": "INR"}, [of_bo["id"]]),
        ({"reference": whole["reference"]}, [whole["id"]]),
        ({"reference": reference}, [of_bo["id"]]),
        ({"reference": checkout}, [of_bo["id"]]),
        ({"status": "FAILED"}, []),
        ({"since": whole["created_at"]}, [whole["id"]]),
    ):
        assert await ids(shop, "/v1/refunds", **filters) == expected, filters
    assert (await shop.get(f"/v1/refunds/{whole['reference']}")).json()["id"] == whole["id"]
    for path in ("/v1/payments", "/v1/refunds"):
        refused(await shop.get(path, amount="1.00"), 422, "currency_required")
        refused(await shop.get(path, amount="1.001", currency="INR"), 422, "amount_precision")
        refused(await shop.get(path, format="csv"), 422, "format_unavailable")
        refused(await shop.get(path, cursor=json.dumps("x")), 422, "cursor_invalid")

    environment = shop.paysaga.environment()
    for arguments, there, not_there in (
        (["payments", "list", "--seller", "bo"], [third["id"], first["id"]], [declined["id"]]),
        (["payments", "list", "--limit", "1"], [third["id"]], [first["id"]]),
        (["payments", "list", "--before", declined["id"]], [first["id"]], [third["id"]]),
        (["refunds", "list", "--reference", whole["reference"]], [whole["id"]], [of_bo["id"]]),
        (["refunds", "list", "--payment", first["id"]], [of_bo["id"]], [whole["id"]]),
    ):
        said = (await paysaga_command(environment, *arguments, "--tenant", shop.tenant)).out
        assert all(one in said for one in there), said
        assert not any(one in said for one in not_there), said
    assert first["id"] in (await paysaga_command(environment, "payments", "show", reference)).out
    for path in ("/v1/merchants", "/v1/disputes", "/v1/discrepancies", "/v1/reviews"):
        refused(await shop.get(path, format="csv"), 422, "format_unavailable")
        assert (await shop.get(path, format="json")).status_code == 200
    refused(await shop.get(f"/v1/payments/{first['id']}/explain", format="csv"), 422, "format_unavailable")


async def test_a_page_of_payments_is_read_in_as_many_queries_as_one_payment(paysaga: Deployment, shop: Shop) -> None:
    for number in range(3):
        await shop.paid(shop.checkout(), orders=[("anna", "1.00"), ("bo", f"{number}.50")])
    counted: list[int] = []
    for limit in (1, 1, 3):  # the first one may have to connect
        statements: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any, told: list[str] = statements) -> None:
            told.append(statement)

        event.listen(paysaga.database.engine.sync_engine, "before_cursor_execute", note)
        try:
            rows = await paysaga.database.read(
                lambda c, n=limit: search.payments(c, shop.tenant, Wanted(), before=None, limit=n)  # type: ignore[misc]
            )
        finally:
            event.remove(paysaga.database.engine.sync_engine, "before_cursor_execute", note)
        assert [[order.position for order in row.orders] for row in rows] == [[0, 1]] * limit
        assert [row.charge.payment_id for row in rows] == [row.id for row in rows]
        counted.append(len(statements))
    assert counted[1] == counted[2] <= 5


@pytest.mark.usefixtures("boundless")
async def test_disputes_and_payouts_are_found_by_the_psps_names(paysaga: Deployment, shop: Shop) -> None:
    other = await paysaga.shop(f"other-{shop.tenant}")
    payment = await shop.paid(shop.checkout())
    at_psp = await paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    payout = (await shop.get(f"/v1/payouts/{await objects.payout(shop)}")).json()
    environment = paysaga.environment()
    for noun, own, name in (
        ("disputes", dispute["id"], at_psp),
        ("payouts", payout["id"], payout["reference"]),
        ("payouts", payout["id"], payout["transfer_reference"]),
    ):
        assert name != own
        assert (await shop.get(f"/v1/{noun}/{name}")).raise_for_status().json()["id"] == own
        refused(await other.get(f"/v1/{noun}/{name}"), 404, f"{noun.removesuffix('s')}_not_found")
        assert own in (await paysaga_command(environment, noun, "show", name)).out
    items = (await shop.get(f"/v1/payouts/{payout['reference']}/items")).raise_for_status().json()
    assert sum(float(item["amount"]) for item in items["data"]) == float(payout["amount"])
    evidence = {"fields": {"shipping_carrier": "India Post"}}
    assert (await shop.post(f"/v1/disputes/{at_psp}/evidence", evidence)).json()["id"] == dispute["id"]
