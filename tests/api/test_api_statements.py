"""Balances at any moment and a seller's statement, over HTTP: what they say is what was posted."""

import csv
import io
import secrets
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from db.ledger import posting as ledger
from db.ledger import statement, wallet
from db.merchant import change
from domain.ledger import Kind, Posting, Transaction
from domain.statement import WORDS
from domain.status import MerchantStatus
from tests.api.problem import refused
from tests.support.deployment import Deployment
from tests.support.shop import Answer, Shop

PARTS = ("pending", "available", "reserved", "owed", "total")
TURNOVER = ("gross", "fee", "net")
EVER = {"from": "2020-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z", "currency": "INR"}


async def accounts(shop: Shop, **parameters: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await shop.get("/v1/ledger/accounts", **parameters)).raise_for_status().json()
    return found


async def statement_of(shop: Shop, seller: str = "anna", **parameters: Any) -> dict[str, Any]:
    answer = await shop.get(f"/v1/merchants/{seller}/statement", **(EVER | parameters))
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def settled(shop: Shop, **fields: Any) -> dict[str, Any]:
    return await shop.until((await shop.paid(shop.checkout(), **fields))["id"], "SUCCESS")


async def booked(shop: Shop, at: str, *lines: tuple[str, int], currency: str = "INR", **names: Any) -> None:
    """A correction of a person's, at any time: what a statement says of the past must not depend on when it is read."""
    postings = tuple(Posting(account=account, currency=currency, amount=amount) for account, amount in lines)
    transaction = Transaction(kind=Kind.ADJUSTMENT, source_id=f"adj_{secrets.token_hex(8)}", postings=postings, **names)

    async def work(connection: Any) -> None:
        new = await ledger.post(connection, shop.tenant, [transaction], datetime.fromisoformat(at))
        await wallet.apply(connection, shop.tenant, new)

    await shop.paysaga.database.run(work)


def rows(answer: Answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.raise_for_status().text)))


def add(*amounts: dict[str, str]) -> dict[str, str]:
    return {part: f"{sum(Decimal(amount[part]) for amount in amounts):.2f}" for part in PARTS}


# --- accounts ---


async def test_the_trial_balance_of_a_sale(shop: Shop) -> None:
    await settled(shop)
    found = await accounts(shop)
    assert found["next_cursor"] is None
    by_name = {row["account"]: (row["debit"], row["credit"]) for row in found["data"]}
    assert by_name["wallet:anna:pending"] == (None, "485.00")
    assert by_name["platform_fees"] == (None, "15.00")
    fee = Decimal(by_name["psp_fees"][0] or 0)
    assert by_name["psp_clearing:stripe"] == (f"{500 - fee:.2f}", None)
    assert found["totals"] == [{"currency": "INR", "debit": "500.00", "credit": "500.00"}]


async def test_pages_of_the_trial_balance(shop: Shop) -> None:
    await settled(shop, orders=[("anna", "10.00"), ("bo", "20.00"), ("chen", "30.00")])
    await settled(shop, currency="USD", orders=[("anna", "5.00")])
    whole = await accounts(shop)
    seen: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await accounts(shop, limit=2, **cursor)
        assert (page["totals"] is None) == bool(seen)
        seen += page["data"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == whole["data"]
    assert [row["currency"] for row in seen] == sorted(row["currency"] for row in seen)
    assert [total["currency"] for total in whole["totals"]] == ["INR", "USD"]
    for total in whole["totals"]:
        assert total["debit"] == total["credit"]


async def test_a_balance_at_a_past_moment(shop: Shop) -> None:
    await booked(shop, "2021-03-01T12:00:00Z", ("wallet:anna:available", -500), ("adjustments", 500))
    await booked(shop, "2021-06-01T12:00:00Z", ("wallet:anna:available", 200), ("adjustments", -200))
    path = "/v1/ledger/accounts/wallet:anna:available"
    expected = {
        "2021-01-01T00:00:00Z": None,
        "2021-03-01T12:00:00Z": None,  # before this moment
        "2021-03-01T12:00:00.000001Z": "5.00",
        "2021-06-01T13:30:00+01:30": "5.00",
        "2021-06-01T13:30:01+01:30": "3.00",
        "2099-01-01T00:00:00Z": "3.00",
    }
    for at, credit in expected.items():
        found = (await shop.get(path, at=at)).raise_for_status().json()
        assert found["balances"] == [{"currency": "INR", "debit": None, "credit": credit}], at
        (row,) = [row for row in (await accounts(shop, at=at))["data"] if row["account"].startswith("wallet:")]
        assert (row["debit"], row["credit"], row["kind"]) == (None, credit, "liability")
    now = (await shop.get(path)).raise_for_status().json()
    assert (now["at"], now["balances"][0]["credit"]) == (None, "3.00")
    march = await accounts(shop, at="2021-04-01T00:00:00Z")
    assert march["totals"] == [{"currency": "INR", "debit": "5.00", "credit": "5.00"}]
    assert march["at"] == "2021-04-01T00:00:00Z"


async def test_an_account_of_two_currencies(shop: Shop) -> None:
    await settled(shop, orders=[("anna", "10.00")])
    await settled(shop, currency="JPY", orders=[("anna", "1000")])
    found = (await shop.get("/v1/ledger/accounts/wallet:anna:pending")).raise_for_status().json()
    assert [(b["currency"], b["credit"]) for b in found["balances"]] == [("INR", "9.70"), ("JPY", "970")]


@pytest.mark.parametrize("name", ["wallet:nobody:available", "x", "%00", "wallet", "a%0Ab", "1" * 300])
async def test_an_account_that_is_not_there(shop: Shop, name: str) -> None:
    refused(await shop.get(f"/v1/ledger/accounts/{name}"), 404, "account_not_found")


async def test_another_tenants_books_are_not_seen(paysaga: Deployment) -> None:
    one, other = [await paysaga.shop(f"books-{secrets.token_hex(5)}") for _ in range(2)]
    await settled(one)
    page = await accounts(one, limit=1)
    assert await accounts(other) == {
        "object": "trial_balance", "at": None, "data": [], "totals": [], "next_cursor": None,
    }  # fmt: skip
    assert (await accounts(other, cursor=page["next_cursor"]))["data"] == []
    refused(await other.get("/v1/ledger/accounts/wallet:anna:pending"), 404, "account_not_found")
    assert (await statement_of(other))["lines"] == []


# --- statements ---


async def test_a_statement_adds_up_whatever_happened(shop: Shop) -> None:
    """Each bucket on its own: opening and all lines are the closing balance, which is what the wallet shows."""
    paid = await settled(shop, orders=[("anna", "300.00"), ("bo", "200.00")])
    order = paid["payment_orders"][0]
    refund = await shop.refunded(paid["id"], payment_order_id=order["id"], amount="100.00")
    await shop.refund_until(refund["id"], "SUCCEEDED")
    found = await statement_of(shop)
    assert [line["description"] for line in found["lines"]] == [
        "sale",
        "set aside for a refund",
        "refunded to the buyer",
    ]
    sale, reserve, refunded = found["lines"]
    assert sale["change"] == {"pending": "291.00", "available": "0.00", "reserved": "0.00", "owed": "0.00",
                              "total": "291.00"}  # fmt: skip
    assert reserve["change"] == {"pending": "-97.00", "available": "0.00", "reserved": "97.00", "owed": "0.00",
                                 "total": "0.00"}  # fmt: skip
    assert refunded["change"]["total"] == "-97.00"
    assert [tuple(line[part] for part in TURNOVER) for line in found["lines"]] == [
        ("300.00", "9.00", "291.00"),
        ("0.00", "0.00", "0.00"),
        ("-100.00", "-3.00", "-97.00"),
    ]
    assert found["totals"] == {"gross": "200.00", "fee": "6.00", "net": "194.00"}
    assert found["totals"]["net"] == found["closing"]["total"]
    for line in found["lines"]:
        assert (line["payment_id"], line["order_id"]) == (paid["id"], order["id"])
        assert line["payment_order_id"] == order["payment_order_id"]
    assert [line["reference"] for line in found["lines"]] == [None, refund["id"], refund["id"]]
    assert add(found["opening"], *(line["change"] for line in found["lines"])) == found["closing"]
    running = found["opening"]
    for line in found["lines"]:
        running = add(running, line["change"])
        assert line["balance"] == running
    (shown,) = (await shop.get("/v1/wallets/anna")).json()["balances"]
    assert {part: found["closing"][part] for part in PARTS[:4]} == {part: shown[part] for part in PARTS[:4]}


async def test_the_fee_of_the_psp_is_the_sellers_where_the_seller_bears_it(shop: Shop) -> None:
    """What the lines call fees is what the books have on the accounts of fees."""
    await shop.paysaga.database.run(lambda c: change(c, shop.tenant, "anna", {"psp_fee_payer": "seller"}))
    paid = await settled(shop)
    found = await statement_of(shop)
    books = (await shop.get("/v1/ledger/transactions", payment_id=paid["id"])).json()["data"]
    kept = sum(
        Decimal(line["credit"] or 0) for row in books for line in row["postings"] if line["account"].endswith("_fees")
    )
    assert kept > Decimal("15.00"), "ours, and the PSP's"
    assert found["totals"] == {"gross": "500.00", "fee": f"{kept:.2f}", "net": f"{500 - kept:.2f}"}
    for line in found["lines"]:
        assert Decimal(line["gross"]) - Decimal(line["fee"]) == Decimal(line["net"]) == Decimal(line["change"]["total"])


async def test_periods_fit_together(shop: Shop) -> None:
    """What ends one opens the next, and both are the balances of that moment."""
    for month in range(1, 7):
        at = f"2021-{month:02}-01T00:00:00Z"
        await booked(shop, at, ("wallet:anna:available", -100 * month), ("adjustments", 100 * month))
    await booked(shop, "2021-03-15T00:00:00Z", ("receivable:anna", 70), ("wallet:anna:available", -70))
    edges = ["2021-01-01T00:00:00Z", "2021-03-01T00:00:00Z", "2021-03-15T00:00:01Z", "2021-07-01T00:00:00Z"]
    parts = [await statement_of(shop, **{"from": a, "to": b}) for a, b in pairwise(edges)]
    assert [len(part["lines"]) for part in parts] == [2, 2, 3]
    for before, after in pairwise(parts):
        assert before["closing"] == after["opening"]
        (at_edge,) = (await shop.get("/v1/ledger/accounts/wallet:anna:available", at=after["from"])).json()["balances"]
        assert at_edge["credit"] == after["opening"]["available"]
    whole = await statement_of(shop, **{"from": edges[0], "to": edges[-1]})
    assert [line["transaction_id"] for line in whole["lines"]] == [
        line["transaction_id"] for part in parts for line in part["lines"]
    ] or len(whole["lines"]) == 7
    assert (whole["opening"]["total"], whole["closing"]["total"]) == ("0.00", "21.00")
    assert (whole["closing"]["available"], whole["closing"]["owed"]) == ("21.70", "0.70")


async def test_a_long_period_is_read_in_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as in one piece, also where the postings of two transactions are mixed."""
    await settled(shop, orders=[("anna", "1.00")] * 9)
    for _ in range(4):
        await booked(shop, "2021-01-01T00:00:00Z", ("wallet:anna:pending", 5), ("wallet:anna:available", -5))
    whole = await statement_of(shop)
    period = statement.Period(
        shop.tenant, "anna", "INR", datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
    )
    for size in (1, 2, 3, 13, 14):
        monkeypatch.setattr(statement, "_PAGE", size)
        entries = [entry async for entry in statement.statement(shop.paysaga.database.read, period)]
        lines = [entry.transaction_id for entry in entries[1:-1]]  # type: ignore[union-attr]
        assert lines == [line["transaction_id"] for line in whole["lines"]], size
        assert len(lines) == 13
        assert f"{entries[-1].balance.total / 100:.2f}" == whole["closing"]["total"]


async def test_the_seller_by_our_own_id(shop: Shop) -> None:
    await settled(shop)
    ours = (await shop.get("/v1/merchants/anna")).json()["id"]
    assert await statement_of(shop, ours) == await statement_of(shop)


# --- CSV ---


async def test_the_same_as_csv(shop: Shop) -> None:
    await settled(shop)
    await settled(shop, orders=[("anna", "20.00")])
    found = await statement_of(shop)
    path = "/v1/merchants/anna/statement"
    asked = await shop.get(path, **EVER, format="csv")
    headers = shop.headers | {"Accept": "text/csv"}
    accepted = await shop.paysaga.http.get(path, params=EVER, headers=headers)
    assert asked.text == accepted.text
    assert asked.headers["content-type"].startswith("text/csv")
    assert asked.headers["content-disposition"] == 'attachment; filename="statement-anna-INR-20200101-20990101.csv"'
    opening, *lines, totals, closing = rows(asked)
    assert (totals["description"], {part: totals[part] for part in TURNOVER}) == ("totals", found["totals"])
    assert (opening["description"], opening["at"]) == ("opening balance", EVER["from"])
    assert (closing["description"], closing["at"]) == ("closing balance", EVER["to"])
    assert {part: closing[f"balance_{part}"] for part in PARTS} == found["closing"]
    for line, shown in zip(lines, found["lines"], strict=True):
        assert {part: line[part] for part in PARTS} == shown["change"]
        assert {part: line[part] for part in TURNOVER} == {part: shown[part] for part in TURNOVER}
        assert {part: line[f"balance_{part}"] for part in PARTS} == shown["balance"]
        for name in ("at", "description", "kind", "transaction_id", "payment_order_id", "payment_id", "order_id"):
            assert line[name] == shown[name], name
        assert line["currency"] == "INR"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/csv, application/json;q=0.9", "text/csv"),
        ("text/csv, application/json", "application/json"),
        ("text/html, text/csv;q=0.1", "text/csv"),
        ("text/csv;q=much", "application/json"),
        ("image/png", "application/json"),
    ],
)
async def test_what_is_accepted_decides(shop: Shop, accept: str, media_type: str) -> None:
    headers = shop.headers | {"Accept": accept}
    answer = await shop.paysaga.http.get("/v1/merchants/anna/statement", params=EVER, headers=headers)
    assert answer.headers["content-type"].partition(";")[0] == media_type


async def test_a_text_that_looks_like_a_formula_is_none(shop: Shop) -> None:
    """A client's own id may begin with `-`; an amount that does is a number."""
    body = shop.body(shop.checkout(), orders=[("anna", "500.00")])
    body["payment_orders"][0]["payment_order_id"] = formula = f"-1-{secrets.token_hex(4)}x"
    paid = await shop.until((await shop.post("/v1/payments", body)).json()["id"], "SUCCESS")
    refund = await shop.refunded(paid["id"], amount="100.00")
    await shop.refund_until(refund["id"], "SUCCEEDED")
    _, sale, reserve, *_ = rows(await shop.get("/v1/merchants/anna/statement", **EVER, format="csv"))
    assert sale["payment_order_id"] == f"'{formula}"
    assert reserve["pending"] == "-97.00"


def test_every_kind_has_words() -> None:
    assert set(WORDS) == set(Kind)


async def test_the_books_as_csv(shop: Shop) -> None:
    """The whole of a list, however its pages are; and what it says is what the pages say."""
    for orders in ([("anna", "10.00"), ("bo", "20.00")], [("anna", "5.00")]):
        await settled(shop, orders=orders)
    written = await shop.get("/v1/ledger/accounts", format="csv")
    assert written.headers["content-disposition"] == 'attachment; filename="trial-balance.csv"'
    shown = (await accounts(shop))["data"]
    names = ("account", "kind", "currency", "debit", "credit")
    assert [tuple(row[name] for name in names) for row in rows(written)] == [
        tuple(row[name] or "" for name in names) for row in shown
    ]
    assert {row["tenant_id"] for row in rows(written)} == {shop.tenant}
    past = rows(await shop.get("/v1/ledger/accounts", format="csv", at="2020-01-01T00:00:00Z", limit=1))
    assert [(row["debit"], row["credit"]) for row in past] == [("", "")]
    books = (await shop.get("/v1/ledger/transactions", limit=200)).json()["data"]
    lines = rows(await shop.get("/v1/ledger/transactions", format="csv"))
    assert [(row["transaction_id"], row["account"], row["debit"], row["credit"]) for row in lines] == [
        (row["id"], line["account"], line["debit"] or "", line["credit"] or "")
        for row in books
        for line in row["postings"]
    ]
    assert {row["at"] for row in lines} == {row["at"] for row in books}
    debit, credit = (sum(Decimal(row[side] or 0) for row in lines) for side in ("debit", "credit"))
    assert debit == credit > 0
    sales = rows(await shop.get("/v1/ledger/transactions", format="csv", account="wallet:bo:pending"))
    assert {row["transaction_id"] for row in sales} == {
        row["id"] for row in books if any(line["account"] == "wallet:bo:pending" for line in row["postings"])
    }
    newest = rows(await shop.get("/v1/ledger/transactions", format="csv", limit=1))
    assert {row["transaction_id"] for row in newest} == {books[0]["id"]}


# --- bad input ---


@pytest.mark.parametrize(
    ("change_to", "code"),
    [
        ({"from": None}, "field_missing"),
        ({"to": None}, "field_missing"),
        ({"currency": None}, "field_missing"),
        ({"from": "yesterday"}, "time_invalid"),
        ({"from": "2026-01-01"}, "time_invalid"),
        ({"to": "0001-01-01T00:00:00+14:00"}, "time_invalid"),
        ({"from": "2099-01-02T00:00:00Z"}, "period_invalid"),
        ({"currency": "XXQ"}, "currency_unknown"),
        ({"currency": "inr"}, "currency_unknown"),
        ({"currency": "RUPEES"}, "field_invalid"),
        ({"format": "xml"}, "field_invalid"),
    ],
)
async def test_a_statement_that_cannot_be_made(shop: Shop, change_to: dict[str, Any], code: str) -> None:
    parameters = {name: value for name, value in (EVER | change_to).items() if value is not None}
    refused(await shop.get("/v1/merchants/anna/statement", **parameters), 422, code)


async def test_bad_input_of_the_books(shop: Shop) -> None:
    refused(await shop.get("/v1/ledger/accounts", at="now"), 422, "time_invalid")
    refused(await shop.get("/v1/ledger/accounts", cursor="x"), 422, "cursor_invalid")
    refused(await shop.get("/v1/ledger/accounts/psp_clearing:stripe", at="1"), 422, "time_invalid")
    for seller in ("nobody", "a%00b", "x" * 100):
        refused(await shop.get(f"/v1/merchants/{seller}/statement", **EVER), 404, "merchant_not_found")


async def test_a_frozen_seller_has_a_statement_as_well(shop: Shop) -> None:
    await settled(shop)
    await shop.paysaga.database.run(lambda c: change(c, shop.tenant, "anna", {"status": MerchantStatus.FROZEN}))
    assert (await statement_of(shop))["closing"]["total"] == "485.00"
