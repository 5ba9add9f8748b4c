"""History and books: newest first, in pages that stay put while new payments come in."""

import asyncio
import base64
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api import examples
from api.history import HistoryList
from tests.api.problem import refused
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

Entry = dict[str, Any]


async def history(shop: Shop, user: str, **parameters: Any) -> list[Entry]:
    """One page."""
    data: list[Entry] = (await shop.get(f"/v1/transactions/{user}", **parameters)).raise_for_status().json()["data"]
    return data


async def walk(
    shop: Shop, user: str, between: Callable[[], Awaitable[object]] | None = None, **parameters: Any
) -> list[Entry]:
    """All pages; `between` runs after each of them."""
    seen: list[Entry] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await shop.get(f"/v1/transactions/{user}", **parameters, **cursor)).raise_for_status().json()
        assert not set(keys(seen)) & set(keys(page["data"])), "shown twice"
        seen += page["data"]
        if between is not None:
            await between()
        if page["next_cursor"] is None:
            return seen
        cursor = {"cursor": page["next_cursor"]}


def keys(entries: list[Entry]) -> list[tuple[str, str]]:
    """What tells entries apart: a refund over two orders of a seller is two shares of one id."""
    return [(entry["id"], entry["payment_order_id"]) for entry in entries]


async def disputed(shop: Shop, payment_id: str, **terms: Any) -> Entry:
    """The buyer's bank takes money of the payment back; the dispute, once we know what it wants."""
    await shop.paysaga.sandbox.dispute(await shop.reference(payment_id), **terms)
    return await shop.dispute_until(payment_id, "NEEDS_RESPONSE")


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


ALL_ROLES = pytest.mark.parametrize(("user", "role"), [("buyer_1", "buyer"), ("anna", "seller")])


@ALL_ROLES
async def test_pages_stay_put_while_payments_and_refunds_come_in(shop: Shop, user: str, role: str) -> None:
    """Refunds of what the pages show as well: entries are added at the front alone."""
    orders = [("anna", "60.00"), ("anna", "40.00")]
    old = await asyncio.gather(*(shop.paid(shop.checkout(), orders=orders) for _ in range(3)))
    refundable = [payment["payment_orders"][0]["id"] for payment in old]
    await asyncio.gather(*(shop.refunded(old[n]["id"], payment_order_id=refundable[n], amount="2.00") for n in (0, 2)))
    whole = await history(shop, user, role=role)
    assert sorted(entry["type"] for entry in whole) == ["payment"] * 6 + ["refund"] * 2

    async def meanwhile() -> None:
        refunds = (
            shop.refunded(payment["id"], payment_order_id=order, amount="1.00")
            for payment, order in zip(old, refundable, strict=True)
        )
        await asyncio.gather(shop.paid(shop.checkout(), orders=orders), *refunds)

    seen = await walk(shop, user, meanwhile, role=role, limit=3)
    assert keys(seen) == keys(whole)
    assert len(await history(shop, user, role=role)) == 8 + 3 * 5


@ALL_ROLES
async def test_nothing_is_missed_or_shown_twice_while_others_write(shop: Shop, user: str, role: str) -> None:
    """Writers that run all the while: their numbers are taken in one order and committed in another."""
    old = await asyncio.gather(*(shop.paid(shop.checkout(), orders=[("anna", "90.00")]) for _ in range(6)))
    whole = keys(await history(shop, user, role=role))
    ended = asyncio.Event()

    async def write(payment: Entry) -> None:
        while not ended.is_set():
            await asyncio.gather(shop.paid(shop.checkout()), shop.refunded(payment["id"], amount="1.00"))

    writers = [asyncio.create_task(write(payment)) for payment in old[:3]]
    try:
        for _ in range(5):
            seen = keys(await walk(shop, user, role=role, limit=2))
            assert [key for key in seen if key in whole] == whole
    finally:
        ended.set()
        await asyncio.gather(*writers)


@ALL_ROLES
async def test_pages_of_entries_of_one_moment(shop: Shop, user: str, role: str) -> None:
    """One commit, one time, and a page ends in the middle of it."""
    payment = await shop.paid(shop.checkout(), orders=[("anna", "2.00")] * 12, wait=20)
    assert len({order["created_at"] for order in payment["payment_orders"]}) == 1
    await shop.paysaga.sandbox.refund_by_hand(await shop.reference(payment["id"]), 1200)
    refunds = 12 if role == "seller" else 1
    whole = await eventually(
        lambda: _of_length(shop, user, role=role, type="refund", status="SUCCEEDED", length=refunds), what="booked"
    )
    assert {entry["amount"] for entry in whole} == {"1.00" if role == "seller" else "12.00"}
    seen = keys(await walk(shop, user, role=role, limit=5))
    assert len(seen) == len(set(seen)) == 12 + refunds
    assert seen == keys(await history(shop, user, role=role))


async def _of_length(shop: Shop, user: str, *, length: int, **parameters: Any) -> list[Entry] | None:
    entries = await history(shop, user, **parameters)
    return entries if len(entries) == length else None


async def test_a_payment_its_refund_and_its_dispute(shop: Shop) -> None:
    """The buyer sees what came back, each seller their share, under the same ids."""
    payment = await shop.paid(shop.checkout(), orders=[("anna", "5.00"), ("bo", "7.00")])
    annas, bos = (order["payment_order_id"] for order in payment["payment_orders"])
    other = await shop.paid(shop.checkout(), orders=[("bo", "3.00")])
    asked = {"payment_order_id": annas, "amount": "2.00", "reason": "requested_by_customer"}
    refund = await shop.refunded(payment["id"], **asked)
    dispute = await disputed(shop, payment["id"], amount=1000)
    single = await disputed(shop, other["id"])

    buyer = await history(shop, "buyer_1")
    assert [(e["object"], e["id"], e["payment_order_id"], e["amount"]) for e in buyer[:3]] == [
        ("dispute", single["id"], other["payment_orders"][0]["payment_order_id"], "3.00"),
        ("dispute", dispute["id"], None, "10.00"),
        ("refund", refund["id"], annas, "2.00"),
    ]
    assert buyer[2] | {"created_at": "…"} == {
        "id": refund["id"],
        "object": "refund",
        "type": "refund",
        "payment_id": payment["id"],
        "payment_order_id": annas,
        "amount": "2.00",
        "currency": "INR",
        "status": "SUCCEEDED",
        "origin": "request",
        "reason": "requested_by_customer",
        "failure": None,
        "created_at": "…",
    }
    assert set(buyer[0]) == set(examples.HISTORY["data"][0])
    assert (buyer[0]["status"], buyer[0]["category"]) == ("NEEDS_RESPONSE", "fraudulent")
    assert buyer[0]["evidence_due_at"] > buyer[0]["created_at"]
    now = [await shop.payment(payment["id"]), await shop.payment(other["id"])]
    by_id = {order["id"]: order for shown in now for order in shown["payment_orders"]}
    assert len(buyer[3:]) == 3
    for entry in buyer[3:]:
        more = {name: entry[name] for name in ("type", "checkout_id", "buyer_id")}
        assert entry == by_id[entry["id"]] | more, "an order as its payment shows it"

    anna = await history(shop, "anna", role="seller")
    assert [(e["type"], e["payment_order_id"]) for e in anna] == [(t, annas) for t in ("dispute", "refund", "payment")]
    assert [e["id"] for e in anna[:2]] == [dispute["id"], refund["id"]]
    assert anna[1] == buyer[2]
    bo = await history(shop, "bo", role="seller", type="dispute")
    assert [(e["id"], e["payment_order_id"]) for e in bo][1:] == [(dispute["id"], bos)]
    cents = [int(e["amount"].replace(".", "")) for e in (anna[0], bo[1])]
    assert sum(cents) == 1000, "the shares are the whole"


async def test_a_refund_that_undoes_a_charge_is_the_buyers_alone(shop: Shop) -> None:
    orders = [("anna", "10.00"), ("bo", "20.00")]
    payment = await shop.paid(shop.checkout(), "pm_upi_processing", orders=orders)
    await shop.set_merchant("bo", status="FROZEN")
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    assert (await shop.until(payment["id"]))["status"] == "FAILED"
    refunds = await history(shop, "buyer_1", type="refund")
    assert sorted((e["amount"], e["origin"], e["status"]) for e in refunds) == [
        ("10.00", "compensation", "SUCCEEDED"),
        ("20.00", "compensation", "SUCCEEDED"),
    ]
    assert {e["payment_order_id"] for e in refunds} == {o["payment_order_id"] for o in payment["payment_orders"]}
    for seller, _ in orders:
        assert [e["type"] for e in await history(shop, seller, role="seller")] == ["payment"]


@pytest.mark.parametrize("amounts", [["10.00"], ["10.00", "20.00"]])
async def test_a_refund_of_a_whole_charge_names_the_order_if_there_is_one(shop: Shop, amounts: list[str]) -> None:
    """The PSP takes the money after the cancel: nobody settles it, and all of it goes back at once."""
    token, orders = "pm_card_threeDSecure2Required", [("anna", amount) for amount in amounts]
    payment = await shop.paid(shop.checkout(), token, orders=orders)
    reference = await shop.reference(payment["id"])
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)).json()["status"] == "CANCELLED"
    await shop.paysaga.sandbox.steer(reference, "force_success")
    (refund,) = await eventually(
        lambda: _of_length(shop, "buyer_1", type="refund", status="SUCCEEDED", length=1), what="given back"
    )
    names = [order["payment_order_id"] for order in payment["payment_orders"]]
    assert (refund["origin"], refund["payment_order_id"]) == ("late_charge", names[0] if len(names) == 1 else None)
    assert {e["type"] for e in await history(shop, "anna", role="seller")} == {"payment"}


async def test_a_refund_that_failed_says_why(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_refundFail")
    refund = await shop.refunded(payment["id"])
    failed = await shop.refund_until(refund["id"], "FAILED")
    for user, role in (("buyer_1", "buyer"), ("anna", "seller")):
        (entry,) = await history(shop, user, role=role, status="FAILED")
        assert (entry["id"], entry["failure"]) == (refund["id"], failed["failure"])
        assert entry["failure"]["code"]


async def test_filters_by_type_status_and_time(shop: Shop) -> None:
    paid = await shop.paid(shop.checkout())
    declined = await shop.paid(shop.checkout(), "pm_card_chargeDeclined")
    before_refund = datetime.now(UTC).isoformat()
    refund = await shop.refunded(paid["id"], amount="100.00")
    before_dispute = datetime.now(UTC).isoformat()
    dispute = await disputed(shop, paid["id"], amount=40000)
    order, failed = paid["payment_orders"][0]["id"], declined["payment_orders"][0]["id"]
    everything = [dispute["id"], refund["id"], failed, order]

    for parameters, wanted in (
        ({}, everything),
        ({"type": "payment"}, [failed, order]),
        ({"type": "refund"}, [refund["id"]]),
        ({"type": ["dispute", "refund"]}, everything[:2]),
        ({"type": ["payment", "payment"]}, [failed, order]),
        ({"status": "SUCCESS"}, [order]),
        ({"status": "SUCCEEDED"}, [refund["id"]]),
        ({"status": ["FAILED", "SUCCEEDED", "NEEDS_RESPONSE", "FAILED"]}, everything[:3]),
        ({"status": "PENDING"}, []),
        ({"type": "dispute", "status": "SUCCESS"}, []),
        ({"type": "dispute", "status": ["SUCCESS", "NEEDS_RESPONSE"]}, [dispute["id"]]),
        ({"since": before_refund}, everything[:2]),
        ({"until": before_refund}, everything[2:]),
        ({"since": before_refund, "until": before_dispute}, [refund["id"]]),
        ({"since": before_dispute, "until": before_refund}, []),
        ({"since": before_refund, "type": "payment"}, []),
        ({"until": before_dispute, "status": "SUCCEEDED"}, [refund["id"]]),
    ):
        for user, role in (("buyer_1", "buyer"), ("anna", "seller")):
            found = [entry["id"] for entry in await history(shop, user, role=role, **parameters)]
            assert found == wanted, (role, parameters)
            walked = [entry["id"] for entry in await walk(shop, user, role=role, limit=1, **parameters)]
            assert walked == wanted, (role, parameters)


async def test_another_tenants_refunds_and_disputes_are_not_shown(paysaga: Deployment, shop: Shop) -> None:
    """The same names of buyers and sellers, even the same cursor."""
    other = await paysaga.shop(f"other-{secrets.token_hex(5)}")
    payments = {}
    for one in (shop, other):
        payments[one] = await one.paid(one.checkout())
        await one.refunded(payments[one]["id"], amount="100.00")
        await disputed(one, payments[one]["id"], amount=100)
    for user, role in (("buyer_1", "buyer"), ("anna", "seller")):
        page = (await other.get(f"/v1/transactions/{user}", role=role, limit=1)).json()
        cursor = page["next_cursor"]
        for one, parameters in ((shop, {}), (other, {}), (shop, {"cursor": cursor})):
            entries = await history(one, user, role=role, **parameters)
            assert [entry["type"] for entry in entries] == ["dispute", "refund", "payment"]
            assert {entry["payment_id"] for entry in entries} == {payments[one]["id"]}


def test_the_example_of_a_history_is_one() -> None:
    assert HistoryList.model_validate(examples.HISTORY).model_dump(mode="json") == examples.HISTORY


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
        cursor_of("history"),
        cursor_of("history:"),
        cursor_of("history:' OR 1=1"),
        cursor_of("history:-1"),
        cursor_of("history:1.5"),
        cursor_of("history:" + "9" * 19),
        cursor_of("order:po_01kafm6e8r4t1d1w9p7zq3x5yv"),
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
    if code == "time_invalid":
        refused(await shop.get("/v1/transactions/buyer_1", **parameters), 422, code)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-20T00:00:00+05:30"])
async def test_any_time_of_the_calendar_can_be_asked_for(shop: Shop, moment: str) -> None:
    for name in ("since", "until"):
        for path in ("/v1/ledger/transactions", "/v1/transactions/buyer_1"):
            assert (await shop.get(path, **{name: moment})).status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("role", "admin", "field_invalid"),
        ("status", "success", "status_unknown"),
        ("status", "", "status_unknown"),
        ("status", ["SUCCESS", "DONE"], "status_unknown"),
        ("status", "SUCCESS,FAILED", "status_unknown"),
        ("type", "transfer", "type_unknown"),
        ("type", "PAYMENT", "type_unknown"),
        ("type", "", "type_unknown"),
        ("type", ["payment", "{x}\0"], "type_unknown"),
    ],
)
async def test_roles_types_and_statuses_are_known_words(shop: Shop, name: str, value: str, code: str) -> None:
    refused(await shop.get("/v1/transactions/buyer_1", **{name: value}), 422, code)
