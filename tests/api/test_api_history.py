"""History and books: newest first, in pages that stay put while new payments come in."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.problem import refused
from tests.support.shop import Shop


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_pages_stay_put_while_payments_come_in(shop: Shop) -> None:
    old = [(await shop.paid(shop.checkout()))["payment_orders"][0]["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await shop.get("/v1/transactions/buyer_1", limit=2, **cursor)).json()
        seen += [entry["id"] for entry in page["data"]]
        await shop.paid(shop.checkout())
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == list(reversed(old))


async def test_buyers_and_sellers_see_their_own(shop: Shop) -> None:
    checkout = shop.checkout()
    paid = await shop.paid(checkout, orders=[("anna", "5.00"), ("bo", "7.00")])
    failed = await shop.paid(shop.checkout(), "pm_card_chargeDeclined", orders=[("bo", "9.00")])
    buyer = (await shop.get("/v1/transactions/buyer_1")).json()["data"]
    assert buyer[0]["amount"] == "9.00"
    assert {entry["amount"] for entry in buyer[1:]} == {"7.00", "5.00"}
    assert {entry["buyer_id"] for entry in buyer} == {"buyer_1"}
    bo = (await shop.get("/v1/transactions/bo", role="seller")).json()["data"]
    assert [(entry["payment_id"], entry["status"]) for entry in bo] == [
        (failed["id"], "FAILED"),
        (paid["id"], "SUCCESS"),
    ]
    assert bo[0]["failure"]["code"] == "card_declined"
    assert bo[1]["checkout_id"] == checkout
    only = (await shop.get("/v1/transactions/bo", role="seller", status="FAILED")).json()["data"]
    assert [entry["payment_id"] for entry in only] == [failed["id"]]
    for nobody, role in (("bo", "buyer"), ("buyer_1", "seller"), ("nobody", "buyer"), ("a b", "buyer")):
        assert (await shop.get(f"/v1/transactions/{nobody}", role=role)).json()["data"] == []


async def test_the_books_by_payment_order_account_and_time(shop: Shop) -> None:
    began = datetime.now(UTC)
    first = await shop.paid(shop.checkout(), orders=[("anna", "5.00"), ("bo", "7.00")])
    second = await shop.paid(shop.checkout())
    order = first["payment_orders"][1]["id"]

    async def found(**parameters: Any) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = (await shop.get("/v1/ledger/transactions", **parameters)).json()["data"]
        return data

    of_first = await found(payment_id=first["id"])
    assert {line["payment_id"] for line in of_first} == {first["id"]}
    assert sorted(line["kind"] for line in of_first) == ["capture", "capture", "psp_fee"]
    of_order = await found(payment_order_id=order)
    assert [(line["kind"], line["payment_order_id"]) for line in of_order] == [("capture", order)]
    assert of_order[0]["postings"] == [
        {"account": "psp_clearing:stripe", "currency": "INR", "debit": "7.00", "credit": None},
        {"account": "wallet:bo:pending", "currency": "INR", "debit": None, "credit": "6.79"},
        {"account": "platform_fees", "currency": "INR", "debit": None, "credit": "0.21"},
    ]
    assert {line["payment_id"] for line in await found(account="wallet:bo:pending")} == {first["id"]}
    assert len(await found(since=began.isoformat())) == 5
    assert await found(until=began.isoformat()) == []
    assert await found(since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []
    everything = await found()
    assert everything[0]["payment_id"] == second["id"]
    assert await found(limit=1) == everything[:1]


async def test_the_books_in_pages(shop: Shop) -> None:
    for _ in range(3):
        await shop.paid(shop.checkout())
    whole = (await shop.get("/v1/ledger/transactions")).json()["data"]
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await shop.get("/v1/ledger/transactions", limit=2, **cursor)).json()
        seen += [line["id"] for line in page["data"]]
        await shop.paid(shop.checkout())
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [line["id"] for line in whole]


@pytest.mark.parametrize("path", ["/v1/transactions/buyer_1", "/v1/ledger/transactions", "/v1/merchants"])
@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!!",
        "äöü",
        "%00",
        "AAAA====",
        cursor_of(""),
        cursor_of("order"),
        cursor_of("order:"),
        cursor_of("order:' OR 1=1"),
        cursor_of("ledger:-1"),
        cursor_of("ledger:1e3"),
        cursor_of("ledger:" + "9" * 40),
        cursor_of("ledger:١"),
        cursor_of("merchant:po_01kafm6e8r4t1d1w9p7zq3x5yv"),
        cursor_of("other:1"),
    ],
)
async def test_a_forged_cursor(shop: Shop, path: str, cursor: str) -> None:
    refused(await shop.get(path, cursor=cursor), 422, "cursor_invalid")


async def test_a_cursor_of_another_list(shop: Shop) -> None:
    cursor = (await shop.get("/v1/merchants", limit=1)).json()["next_cursor"]
    for path in ("/v1/transactions/buyer_1", "/v1/ledger/transactions"):
        refused(await shop.get(path, cursor=cursor), 422, "cursor_invalid")


@pytest.mark.parametrize("path", ["/v1/transactions/buyer_1", "/v1/ledger/transactions", "/v1/merchants"])
@pytest.mark.parametrize("limit", ["0", "-1", "201", "abc", "1.5", "", "9" * 400, "1e3", "NaN", "%00"])
async def test_a_limit_is_a_number_from_1_to_200(shop: Shop, path: str, limit: str) -> None:
    refused(await shop.get(path, limit=limit), 422, "field_invalid")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"since": "yesterday"}, "time_invalid"),
        ({"since": "2026-11-20T00:00:00"}, "time_invalid"),
        ({"since": "1763596800"}, "time_invalid"),
        ({"since": "0.5"}, "time_invalid"),
        ({"since": "0001-01-01T00:00:00+23:59"}, "time_invalid"),
        ({"until": "9999-12-31T23:59:59-23:59"}, "time_invalid"),
        ({"until": "99999-01-01T00:00:00Z"}, "time_invalid"),
        ({"since": "\x00"}, "time_invalid"),
        ({"account": "a\x00b"}, "text_invalid"),
        ({"payment_id": "\x00"}, "text_invalid"),
        ({"payment_order_id": "\x00"}, "text_invalid"),
        ({"account": "a" * 121}, "field_invalid"),
    ],
)
async def test_filters_that_cannot_be_read(shop: Shop, parameters: dict[str, str], code: str) -> None:
    refused(await shop.get("/v1/ledger/transactions", **parameters), 422, code)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-20T00:00:00+05:30"])
async def test_any_time_of_the_calendar_can_be_asked_for(shop: Shop, moment: str) -> None:
    for name in ("since", "until"):
        assert (await shop.get("/v1/ledger/transactions", **{name: moment})).status_code == 200


@pytest.mark.parametrize(("name", "value"), [("role", "admin"), ("status", "success"), ("status", "")])
async def test_roles_and_statuses_are_known_words(shop: Shop, name: str, value: str) -> None:
    refused(await shop.get("/v1/transactions/buyer_1", **{name: value}), 422, "field_invalid")
