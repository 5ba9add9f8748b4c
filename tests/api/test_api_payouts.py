"""Payouts: asked for, refused, shown with what they pay, cancelled; the schedule; pages."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from api import examples
from api.payout.shapes import PayoutDetail
from db.payout.release import release
from domain.payout import ReleaseFundsStep
from domain.status import PayoutStatus
from tests.api.problem import refused
from tests.api.rows import rows
from tests.support.deployment import Deployment
from tests.support.payouts import at_the_psp, earn, request, until, wallet, with_account
from tests.support.shop import Answer, Shop


@pytest.fixture(autouse=True)
async def money_at_once(paysaga: Deployment) -> AsyncIterator[None]:
    """The sandbox lets charges go at once, and its payouts arrive soon; other tests want it as it is."""
    await paysaga.sandbox.configure(available_delay_s=0, check_available_balance=False, payout_delay_s=0.3)
    yield
    await paysaga.sandbox.configure(available_delay_s=172_800, check_available_balance=True, payout_delay_s=2)


async def stays_on_its_way(shop: Shop) -> None:
    """From now on nothing arrives by itself, so that a payout stays on its way."""
    await shop.paysaga.sandbox.configure(payout_delay_s=None)


async def ask(shop: Shop, key: str | None = None, **body: Any) -> Answer:
    return await shop.post("/v1/payouts", {"seller_account": "anna"} | body, key=key)


async def items(shop: Shop, payout_id: str, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        (await shop.get(f"/v1/payouts/{payout_id}/items", **parameters)).raise_for_status().json()["data"]
    )
    return found


# --- asked for ---


async def test_all_that_is_available_is_paid(shop: Shop) -> None:
    account = await with_account(shop, "anna")
    paid = await earn(shop, "500.00", "100.00")
    answer = await ask(shop)
    assert answer.status_code == 202, answer.text
    payout = answer.json()
    assert answer.headers["location"] == f"/v1/payouts/{payout['id']}"
    assert (payout["object"], payout["amount"], payout["currency"]) == ("payout", "582.00", "INR")
    assert (payout["account"], payout["business_date"], payout["cancel_requested"]) == (account, None, False)
    assert (await wallet(shop))["available"] == "0.00"
    shown = await until(shop, payout["id"], "PAID")
    assert [step["to_status"] for step in shown["transitions"]] == ["REQUESTED", "TRANSFERRED", "IN_TRANSIT", "PAID"]
    assert shown["reference"].startswith("po_")
    assert shown["arrival_at"]
    assert shown["trace_id"], "by which the seller's bank finds it"
    truth = await at_the_psp(shop.paysaga.sandbox, payout["id"])
    assert [(p["amount"], p["account"], p["status"]) for p in truth["payouts"]] == [(58200, account, "paid")]
    listed = await items(shop, payout["id"])
    orders = [payment["payment_orders"][0] for payment in paid]
    assert [(i["amount"], i["order_id"], i["payment_order_id"]) for i in listed] == [
        ("485.00", orders[0]["id"], orders[0]["payment_order_id"]),
        ("97.00", orders[1]["id"], orders[1]["payment_order_id"]),
    ]
    assert {(i["description"], i["kind"], i["part_of"], i["returned"]) for i in listed} == {
        ("became available", "release", None, False)
    }


async def test_what_is_due_first_is_paid_first_wherever_its_row_lies(shop: Shop) -> None:
    await with_account(shop, "anna")
    paid = [await shop.paid(shop.checkout(), orders=[("anna", amount)]) for amount in ("500.00", "100.00", "300.00")]
    for payment in paid:
        await shop.until(payment["id"], "SUCCESS")
    orders = [payment["payment_orders"][0]["id"] for payment in paid]
    for order in orders[:2]:  # what is written again lies behind the others
        await shop.paysaga.sql("UPDATE payment_order SET updated_at = now() WHERE id = $1", order)

    async def reading_the_whole_table(connection: AsyncConnection) -> None:
        for way in ("indexscan", "indexonlyscan", "bitmapscan"):
            await connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        now = datetime.now(UTC)
        await release(connection, ReleaseFundsStep(due_at=now, at=now), of=(shop.tenant, "anna"))

    await shop.paysaga.database.run(reading_the_whole_table)
    payout = (await ask(shop)).json()
    assert [item["order_id"] for item in await items(shop, payout["id"])] == orders


async def test_what_is_due_becomes_available_first(shop: Shop) -> None:
    await with_account(shop, "anna")
    await shop.paid(shop.checkout())
    assert (await wallet(shop))["available"] == "0.00"
    assert (await request(shop))["amount"] == "485.00"


async def test_a_part_and_then_the_rest(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "100.00", "100.00")
    first = await request(shop, amount="150.00", currency="INR")
    rest = await request(shop)
    assert rest["amount"] == "44.00"
    assert [(i["amount"], i["part_of"]) for i in await items(shop, first["id"])] == [
        ("97.00", None),
        ("53.00", "97.00"),
    ]
    assert [(i["amount"], i["part_of"]) for i in await items(shop, rest["id"])] == [("44.00", "97.00")]


async def test_who_wants_to_wait_for_the_end_does(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    answer = await shop.post("/v1/payouts", {"seller_account": "anna"}, wait=20)
    assert (answer.status_code, answer.json()["status"]) == (201, "PAID"), answer.text


async def test_a_payout_that_fails_is_back_in_the_wallet(shop: Shop) -> None:
    await with_account(shop, "anna", "acct_payoutFails")
    await earn(shop, "500.00")
    payout = await request(shop)
    shown = await until(shop, payout["id"], "FAILED")
    assert shown["failure"]["code"]
    assert (await wallet(shop))["available"] == "485.00"
    assert [i["returned"] for i in await items(shop, payout["id"])] == [True]


async def test_one_the_psp_refuses_at_once_has_ended(shop: Shop) -> None:
    await with_account(shop, "anna", "acct_transferRefused")
    await earn(shop, "500.00")
    answer = await shop.post("/v1/payouts", {"seller_account": "anna"}, wait=20)
    assert (answer.status_code, answer.json()["status"]) == (201, "FAILED")
    assert answer.json()["failure"]["message"]


# --- refused ---


async def test_who_is_not_there_is_not_paid(shop: Shop) -> None:
    refused(await ask(shop, seller_account="nobody"), 404, "merchant_not_found")


async def test_a_frozen_seller_is_not_paid(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    await shop.set_merchant("anna", status="FROZEN")
    refused(await ask(shop), 409, "merchant_not_active")


async def test_a_seller_without_an_account_is_not_paid(shop: Shop) -> None:
    await earn(shop, "500.00")
    refused(await ask(shop), 422, "payout_account_missing")


async def test_nothing_is_paid_of_nothing(shop: Shop) -> None:
    await with_account(shop, "anna")
    refused(await ask(shop), 422, "nothing_to_pay_out")
    refused(await ask(shop, currency="INR"), 422, "nothing_to_pay_out")
    await earn(shop, "500.00")
    refused(await ask(shop, currency="USD"), 422, "nothing_to_pay_out")


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("485.01", "payout_exceeds_available"),
        ("0", "amount_not_positive"),
        ("0.00", "amount_not_positive"),
        ("-1", "amount_invalid"),
        ("1e3", "amount_invalid"),
        ("1.001", "amount_precision"),
        ("9999999999.00", "amount_too_large"),
        (100, "amount_invalid"),
    ],
)
async def test_an_amount_that_is_not_acceptable(shop: Shop, amount: Any, code: str) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    before = await rows(shop)
    problem = refused(await ask(shop, amount=amount), 422, code)
    if code == "payout_exceeds_available":
        assert problem["available"] == "485.00"
    assert await rows(shop) == before


async def test_amounts_are_what_the_psp_can_move(shop: Shop) -> None:
    """Stripe takes three-decimal currencies in steps of ten."""
    await with_account(shop, "anna")
    await shop.paid(shop.checkout(), orders=[("anna", "10.030")], currency="KWD")
    refused(await ask(shop, amount="1.001"), 422, "amount_precision")
    assert (await request(shop))["amount"] == "9.720"
    assert (await wallet(shop, currency="KWD"))["available"] == "0.009"


async def test_the_currency_is_said_where_there_are_several(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    key = str(uuid4())
    first = await ask(shop, key, amount="1.00")
    await earn(shop, "10.00", currency="USD")
    assert "INR, USD" in refused(await ask(shop), 422, "currency_required")["detail"]
    assert (await request(shop, currency="USD"))["amount"] == "9.70"
    again = await ask(shop, key, amount="1.00")
    assert again.json()["id"] == first.json()["id"], "what was taken on is answered, whatever came later"


@pytest.mark.parametrize("field", ["destination", "account", "tenant_id", "business_date"])
async def test_nothing_else_can_be_said(shop: Shop, field: str) -> None:
    refused(await ask(shop, **{field: "x"}), 422, "field_unknown")


# --- the key ---


async def test_the_same_request_again_is_the_same_payout(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    key = str(uuid4())
    first = await ask(shop, key, amount="100.00")
    await until(shop, first.json()["id"], "PAID")
    again = await ask(shop, key, amount="100.00")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert (again.json()["id"], again.json()["status"]) == (first.json()["id"], "PAID")
    refused(await ask(shop, key, amount="100.01"), 422, "idempotency_key_reused")
    assert (await wallet(shop))["available"] == "385.00"
    blank: dict[str, Any] = {"Idempotency-Key": ""}
    refused(await shop.post("/v1/payouts", {"seller_account": "anna"}, **blank), 400, KEY_MISSING)


KEY_MISSING = "idempotency_key_missing"


async def test_a_refused_request_does_not_burn_its_key(shop: Shop) -> None:
    await with_account(shop, "anna")
    key = str(uuid4())
    refused(await ask(shop, key), 422, "nothing_to_pay_out")
    await earn(shop, "500.00")
    assert (await ask(shop, key)).status_code == 202


async def test_twenty_at_once_pay_once(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    key = str(uuid4())
    answers = await asyncio.gather(*(ask(shop, key) for _ in range(20)))
    taken = [answer for answer in answers if answer.status_code < 300]
    # 409: the same request is at work; 503: a busy machine did not begin it in time.
    assert {answer.status_code for answer in answers} <= {200, 201, 202, 409, 503}, [one.text for one in answers]
    assert len({answer.json()["id"] for answer in taken}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in taken) == 1
    others = await asyncio.gather(*(ask(shop) for _ in range(5)))
    assert {answer.json()["code"] for answer in others} == {"nothing_to_pay_out"}


# --- cancelled ---


async def test_one_on_its_way_is_cancelled(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    await stays_on_its_way(shop)
    payout = await request(shop)
    await until(shop, payout["id"], "IN_TRANSIT")
    key = str(uuid4())
    answer = await shop.post(f"/v1/payouts/{payout['id']}/cancel", key=key)
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True), answer.text
    await until(shop, payout["id"], "CANCELLED")
    assert (await wallet(shop))["available"] == "485.00"
    again = await shop.post(f"/v1/payouts/{payout['id']}/cancel", key=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert (await shop.post(f"/v1/payouts/{payout['id']}/cancel")).json()["status"] == "CANCELLED"


async def test_one_the_bank_has_is_not_cancelled(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    payout = await request(shop)
    await until(shop, payout["id"], "PAID")
    problem = refused(await shop.post(f"/v1/payouts/{payout['id']}/cancel"), 409, "payout_not_cancellable")
    assert "PAID" in problem["detail"]


# --- shown ---


async def test_an_unknown_payout_is_not_there(shop: Shop) -> None:
    unknown = "pt_01kafm6e8x7f5h9k3n1p4r6t8w"
    for path in (unknown, "nobody", "a%20b", f"{unknown}/items", "schedules", "schedule.", "a-schedule"):
        refused(await shop.get(f"/v1/payouts/{path}"), 404, "payout_not_found")
    refused(await shop.post("/v1/payouts/schedule/cancel"), 405, "method_not_allowed")


async def test_lists_in_pages(shop: Shop) -> None:
    await with_account(shop, "anna")
    await with_account(shop, "bo")
    await earn(shop, "100.00", "100.00", "100.00")
    await earn(shop, "100.00", seller="bo")
    mine = [(await request(shop, amount=f"{n}.00"))["id"] for n in range(1, 4)]
    other = (await request(shop, "bo"))["id"]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await shop.get("/v1/payouts", seller_account="anna", limit=2, **cursor)).json()
        seen += [payout["id"] for payout in page["data"]]
        await request(shop, amount="0.50")
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == list(reversed(mine))
    await until(shop, other, "PAID")
    paid = (await shop.get("/v1/payouts", seller_account="bo", status="PAID")).json()["data"]
    assert [payout["id"] for payout in paid] == [other]
    assert "transitions" not in paid[0]
    assert (await shop.get("/v1/payouts", seller_account="nobody")).json()["data"] == []
    shown = (await shop.get("/v1/payouts", seller_account="anna")).json()["data"]
    answer = await shop.get("/v1/payouts", seller_account="anna", format="csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="payouts.csv"'
    names = ("id", "seller_account", "amount", "currency", "account", "created_at")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [tuple(row[name] for name in names) for row in rows] == [tuple(row[name] for name in names) for row in shown]
    assert {row["tenant_id"] for row in rows} == {shop.tenant}
    for parameters, code in (
        ({"status": "MAYBE"}, "field_invalid"),
        ({"seller_account": "a b"}, "id_invalid"),
        ({"cursor": "eA"}, "cursor_invalid"),
        ({"business_date": "20 November"}, "date_invalid"),
        ({"business_date": "1764000000"}, "date_invalid"),
    ):
        refused(await shop.get("/v1/payouts", **parameters), 422, code)
    assert (await shop.get("/v1/payouts", business_date="2026-11-20")).json()["data"] == [], "no run made them"


async def test_what_a_payout_pays_in_pages(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, *["10.00"] * 5)
    payout = await request(shop)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        path = f"/v1/payouts/{payout['id']}/items"
        page = (await shop.get(path, limit=2, **cursor)).raise_for_status().json()
        seen += [item["transaction_id"] for item in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == len(set(seen)) == 5
    written = csv.DictReader(io.StringIO((await shop.get(path, format="csv")).raise_for_status().text))
    assert [(row["transaction_id"], row["amount"]) for row in written] == [(name, "9.70") for name in seen]
    refused(await shop.get(f"/v1/payouts/{payout['id']}/items", cursor="eA"), 422, "cursor_invalid")


async def test_a_refund_is_deducted_and_named(shop: Shop) -> None:
    await with_account(shop, "anna")
    paid = await earn(shop, "500.00", "100.00")
    await shop.refunded(paid[1]["id"])
    payout = await request(shop)
    assert payout["amount"] == "485.00"
    amounts = {item["description"]: item["amount"] for item in await items(shop, payout["id"])}
    assert amounts["set aside for a refund"].startswith("-")


async def test_sellers_see_payouts_in_their_history(shop: Shop) -> None:
    await with_account(shop, "anna")
    await earn(shop, "500.00")
    payout = await request(shop)
    await until(shop, payout["id"], "PAID")
    data = (await shop.get("/v1/transactions/anna", role="seller")).json()["data"]
    assert [entry["object"] for entry in data] == ["payout", "payment_order"]
    shown = {name: data[0][name] for name in ("id", "type", "amount", "currency", "status", "business_date", "failure")}
    assert shown == {
        "id": payout["id"],
        "type": "payout",
        "amount": "485.00",
        "currency": "INR",
        "status": "PAID",
        "business_date": None,
        "failure": None,
    }
    only = (await shop.get("/v1/transactions/anna", role="seller", type="payout", status="PAID")).json()["data"]
    assert [entry["id"] for entry in only] == [payout["id"]]
    for status in PayoutStatus:
        shown = (await shop.get("/v1/transactions/anna", role="seller", type="payout", status=status)).json()["data"]
        assert [entry["id"] for entry in shown] == ([payout["id"]] if status is PayoutStatus.PAID else [])
    both: Any = ["payout", "payment"]
    mixed = (await shop.get("/v1/transactions/anna", role="seller", type=both, status=["PAID", "SUCCESS"])).json()
    assert mixed["data"] == data
    first = (await shop.get("/v1/transactions/anna", role="seller", limit=1)).json()
    rest = (await shop.get("/v1/transactions/anna", role="seller", cursor=first["next_cursor"])).json()["data"]
    assert [entry["object"] for entry in rest] == ["payment_order"]
    assert (await shop.get("/v1/transactions/buyer_1", type="payout")).json()["data"] == []
    assert (await shop.get("/v1/transactions/anna", role="seller", type="refund")).json()["data"] == []


def test_the_example_of_an_answer_is_one() -> None:
    assert PayoutDetail.model_validate(examples.PAYOUT).model_dump(mode="json") == examples.PAYOUT


# --- the schedule ---


async def scheduled(shop: Shop, **body: Any) -> Answer:
    return await shop.post("/v1/payouts/schedule", {"seller_account": "anna"} | body)


async def test_a_schedule_is_stored_shown_and_replaced(shop: Shop) -> None:
    await with_account(shop, "anna")
    answer = await scheduled(
        shop, interval="weekly", weekdays=["thursday", "monday"], minimum={"INR": "100.00", "JPY": "0"}, delay_days=7
    )
    assert answer.status_code == 200, answer.text
    following = date.fromisoformat(answer.json()["next_payout_on"])
    assert following.weekday() in (0, 3)
    assert -1 <= (following - datetime.now(UTC).date()).days <= 7
    assert answer.json() == {
        "object": "payout_schedule",
        "seller_account": "anna",
        "interval": "weekly",
        "weekdays": ["monday", "thursday"],
        "monthdays": [],
        "minimum": {"INR": "100.00"},
        "delay_days": 7,
        "next_payout_on": following.isoformat(),
    }
    assert (await shop.get("/v1/payouts/schedule/anna")).json() == answer.json()
    replaced = (await scheduled(shop, interval="monthly", monthdays=[31, 15, 15])).json()
    assert (replaced["weekdays"], replaced["monthdays"]) == ([], [15, 31])
    assert (replaced["minimum"], replaced["delay_days"]) == ({}, 0)
    log = await shop.paysaga.sql("SELECT action FROM audit_log WHERE tenant_id = $1 ORDER BY seq", shop.tenant)
    assert [row["action"] for row in log][-2:] == ["payout.schedule"] * 2


async def test_who_cannot_be_paid_is_never_due(shop: Shop) -> None:
    assert (await scheduled(shop, interval="daily")).json()["next_payout_on"] is None, "no account"
    await with_account(shop, "anna")
    shown = (await shop.get("/v1/payouts/schedule/anna")).json()
    assert shown["interval"] == "daily"
    assert shown["next_payout_on"] is not None
    await shop.set_merchant("anna", status="FROZEN")
    assert (await shop.get("/v1/payouts/schedule/anna")).json()["next_payout_on"] is None
    await shop.set_merchant("anna", status="ACTIVE")
    assert (await scheduled(shop, interval="manual")).json()["next_payout_on"] is None


BAD_SCHEDULES: list[tuple[dict[str, Any], str]] = [
    ({"interval": "hourly"}, "field_invalid"),
    ({"interval": "weekly"}, "payout_schedule_invalid"),
    ({"interval": "weekly", "weekdays": []}, "payout_schedule_invalid"),
    ({"interval": "weekly", "weekdays": ["someday"]}, "field_invalid"),
    ({"interval": "weekly", "weekdays": ["monday"], "monthdays": [1]}, "payout_schedule_invalid"),
    ({"interval": "daily", "weekdays": ["monday"]}, "payout_schedule_invalid"),
    ({"interval": "monthly"}, "payout_schedule_invalid"),
    ({"interval": "monthly", "monthdays": [0]}, "field_invalid"),
    ({"interval": "monthly", "monthdays": [32]}, "field_invalid"),
    ({"interval": "monthly", "monthdays": [True]}, "field_invalid"),
    ({"interval": "manual", "monthdays": [1]}, "payout_schedule_invalid"),
    ({"interval": "daily", "delay_days": -1}, "field_invalid"),
    ({"interval": "daily", "delay_days": 366}, "field_invalid"),
    ({"interval": "daily", "minimum": {"INR": 100}}, "amount_invalid"),
    ({"interval": "daily", "minimum": {"INR": "1.001"}}, "amount_precision"),
    ({"interval": "daily", "minimum": {"INR": "-1"}}, "amount_invalid"),
    ({"interval": "daily", "minimum": {"XXY": "1"}}, "currency_unknown"),
    ({"interval": "daily", "unknown": 1}, "field_unknown"),
]


@pytest.mark.parametrize(("body", "code"), [*BAD_SCHEDULES, ({}, "field_missing")])
async def test_a_schedule_that_is_none(shop: Shop, body: dict[str, Any], code: str) -> None:
    refused(await scheduled(shop, **body), 422, code)


async def test_a_schedule_of_nobody(shop: Shop) -> None:
    refused(await shop.post("/v1/payouts/schedule", {"seller_account": "no", "interval": "daily"}), 404, NO_MERCHANT)
    refused(await shop.get("/v1/payouts/schedule/nobody"), 404, NO_MERCHANT)


NO_MERCHANT = "merchant_not_found"


# --- the merchant's terms, and the wallet ---


async def terms(shop: Shop, **payout: Any) -> Answer:
    return await shop.paysaga.http.patch("/v1/merchants/anna", json={"payout": payout}, headers=shop.headers)


async def test_a_merchant_takes_and_shows_its_payouts(shop: Shop) -> None:
    none: dict[str, Any] = {
        "account": None,
        "interval": "manual",
        "weekdays": [],
        "monthdays": [],
        "minimum": {},
        "delay_days": 0,
    }
    assert (await shop.get("/v1/merchants/anna")).json()["payout"] == none
    said = {"account": "acct_paysOut_dora", "interval": "weekly", "weekdays": ["friday"], "minimum": {"INR": "5.00"}}
    made = await shop.post("/v1/merchants", {"seller_account": "dora", "payout": said})
    assert made.json()["payout"] == none | said
    changed = (await terms(shop, interval="weekly", weekdays=["friday"], minimum={"INR": "5.00"})).json()
    assert changed["payout"] == none | said | {"account": None}
    assert (await terms(shop, account="acct_1")).json()["payout"] == none | said | {"account": "acct_1"}
    monthly = (await terms(shop, interval="monthly", monthdays=[1], delay_days=3)).json()["payout"]
    assert (monthly["interval"], monthly["weekdays"], monthly["monthdays"]) == ("monthly", [], [1])
    assert (monthly["minimum"], monthly["delay_days"], monthly["account"]) == ({"INR": "5.00"}, 3, "acct_1")
    removed = (await terms(shop, account=None, minimum={})).json()["payout"]
    assert (removed["account"], removed["minimum"], removed["interval"]) == (None, {}, "monthly")


@pytest.mark.parametrize(
    ("payout", "code"),
    [
        *BAD_SCHEDULES,
        ({"weekdays": ["monday"]}, "payout_schedule_invalid"),
        ({"monthdays": [1]}, "payout_schedule_invalid"),
        ({"account": ""}, "field_invalid"),
        ({"account": "acct_1/../x"}, "field_invalid"),
        ({"account": "a" * 256}, "field_invalid"),
    ],
)
async def test_terms_that_are_not_acceptable(shop: Shop, payout: dict[str, Any], code: str) -> None:
    before = await rows(shop)
    refused(await terms(shop, **payout), 422, code)
    refused(await shop.post("/v1/merchants", {"seller_account": "dora", "payout": payout}), 422, code)
    assert await rows(shop) == before


async def test_a_wallet_says_when_money_becomes_available(shop: Shop) -> None:
    await shop.set_merchant("anna", payout={"delay_days": 3})
    await shop.paid(shop.checkout(), orders=[("anna", "100.00"), ("anna", "200.00")])
    await shop.set_merchant("anna", payout={"delay_days": 5})
    await shop.paid(shop.checkout())
    shown = await wallet(shop)
    today = datetime.now(UTC).date()
    days: Any = shown["available_on"]
    assert (shown["pending"], shown["available"]) == ("776.00", "0.00")
    assert [day["amount"] for day in days] == ["291.00", "485.00"]
    dates = [date.fromisoformat(day["date"]) for day in days]
    assert dates[1] - dates[0] == timedelta(days=2)
    assert timedelta(days=2) < dates[0] - today <= timedelta(days=3)
    await with_account(shop, "anna")
    refused(await ask(shop), 422, "nothing_to_pay_out")
