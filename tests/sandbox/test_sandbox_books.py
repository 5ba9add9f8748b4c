"""Balance transactions with what is behind them, settlement files, and lies planted in both."""

import asyncio
import csv
import io
import signal
import sqlite3
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as Xml
from zoneinfo import ZoneInfo

import pytest

from tests.sandbox.conftest import of

if TYPE_CHECKING:
    from tests.sandbox.conftest import Psp

NAMES = {"c": "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"}
FOREVER = 4_000_000_000


async def text_of(psp: "Psp", path: str) -> tuple[str, str]:
    """A settlement file: media type and content."""
    headers = {"Authorization": f"Bearer {psp.key}"}
    async with psp.session.get(f"{psp.server.url}/_control{path}", headers=headers) as response:
        assert response.ok, await response.text()
        return response.content_type, await response.text()


async def report(psp: "Psp", start: int = 0, end: int = FOREVER, more: str = "") -> list[dict[str, str]]:
    """The itemized report, parsed."""
    path = f"/reports/itemized?interval_start={start}&interval_end={end}{more}"
    kind, text = await text_of(psp, path)
    assert kind == "text/csv"
    return list(csv.DictReader(io.StringIO(text)))


async def statement(psp: "Psp", start: int = 0, end: int = FOREVER) -> Any:
    """The bank statement's only Stmt, parsed."""
    kind, text = await text_of(psp, f"/bank/statement?from={start}&to={end}")
    assert kind == "application/xml"
    (found,) = Xml.fromstring(text).findall("c:BkToCstmrStmt/c:Stmt", NAMES)  # noqa: S314
    return found


def signed(node: Any) -> Decimal:
    """The amount of a balance or an entry."""
    amount = Decimal(node.findtext("c:Amt", namespaces=NAMES))
    return amount if node.findtext("c:CdtDbtInd", namespaces=NAMES) == "CRDT" else -amount


def checked(found: Any) -> list[Any]:
    """The entries of a statement whose balances fit them."""
    opening, closing = (signed(node) for node in found.findall("c:Bal", NAMES))
    entries: list[Any] = found.findall("c:Ntry", NAMES)
    assert opening + sum(signed(entry) for entry in entries) == closing
    return entries


def reference(entry: Any) -> str:
    """The end-to-end id of an entry."""
    found: str = entry.findtext("c:NtryDtls/c:TxDtls/c:Refs/c:EndToEndId", namespaces=NAMES)
    return found


async def test_lines_bring_what_is_behind_them(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"available_delay_s": 0, "fee": {"percent": 0, "fixed": 30}})
    intent = await psp.pay(amount=50_000, currency="usd", metadata={"charge": "ch_1"})
    disputed = await psp.pay(amount=2_000, currency="usd", metadata={"charge": "ch_2"})
    wanted: Any = {"payment_intent": intent.id, "amount": 100, "metadata": {"refund": "re_1"}}
    await psp.v1.refunds.create_async(wanted)
    await psp.control("POST", f"/payment_intents/{disputed.id}/dispute", {})
    transfer = await psp.send(metadata={"payout": "po_1"})
    await psp.v1.transfers.reversals.create_async(transfer.id, {"amount": 10})
    await psp.pay_out(None, 500)
    listed = await psp.v1.balance_transactions.list_async({"expand": ["data.source", "data.source.charge"]})
    lines: Any = {line.type: line.source for line in listed.data}
    assert set(lines) == {"charge", "refund", "adjustment", "transfer", "transfer_refund", "payout"}
    charge = next(line.source for line in reversed(listed.data) if line.type == "charge")
    assert (charge.metadata.to_dict(), charge.payment_intent) == ({"charge": "ch_1"}, intent.id)  # type: ignore[union-attr]
    assert lines["refund"].metadata.to_dict() == {"refund": "re_1"}
    assert lines["refund"].charge.metadata.to_dict() == {"charge": "ch_1"}
    assert lines["adjustment"].payment_intent == disputed.id
    assert lines["adjustment"].charge.metadata.to_dict() == {"charge": "ch_2"}
    assert lines["transfer"].metadata.to_dict() == {"payout": "po_1"}
    assert (lines["transfer_refund"].transfer, lines["payout"].object) == (transfer.id, "payout")
    only = await psp.v1.balance_transactions.list_async({"type": "transfer", "currency": "usd"})
    assert [line.source for line in only.data] == [transfer.id]
    there: Any = await psp.v1.balance_transactions.list_async({"expand": ["data.source"]}, of("acct_paysOut"))
    assert [line.source.object for line in there.data] == ["refund", "charge"]


async def test_the_report_adds_up_to_the_balance(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"available_delay_s": 0})
    intent = await psp.pay(amount=50_000, currency="usd", metadata={"charge": "ch_1", "payment": "pay_1"})
    wanted: Any = {"payment_intent": intent.id, "amount": 1_234, "metadata": {"refund": "re_1"}}
    refund = await psp.v1.refunds.create_async(wanted)
    await psp.pay(amount=700, currency="jpy")
    await psp.control("POST", f"/payment_intents/{intent.id}/dispute", {"amount": 100})
    transfer = await psp.send(metadata={"payout": "po_1"})
    await psp.v1.transfers.reversals.create_async(transfer.id, {"amount": 10})
    await psp.control("POST", "/platform_payouts", {"currency": "usd", "amount": 500})
    rows = await report(psp)
    balance = await psp.v1.balance.retrieve_async()
    for part, digits in (("usd", 2), ("jpy", 0)):
        total = sum(Decimal(row["net"]) for row in rows if row["currency"] == part)
        (held,) = (item.amount for item in balance.available if item.currency == part)
        assert total == Decimal(held).scaleb(-digits)
        for row in rows:
            assert Decimal(row["gross"]) - Decimal(row["fee"]) == Decimal(row["net"])
    by_source = {row["source_id"]: row for row in rows}
    charge: Any = intent.latest_charge
    assert {row["gross"] for row in rows if row["currency"] == "jpy"} == {"700"}
    row = by_source[charge.id]
    assert (row["gross"], row["fee"], row["net"]) == ("500.00", "14.80", "485.20")
    assert (row["payment_metadata[charge]"], row["payment_metadata[payment]"]) == ("ch_1", "pay_1")
    assert (row["payment_intent_id"], row["charge_id"], row["payment_method_type"]) == (intent.id, charge.id, "card")
    assert time.strptime(row["created_utc"], "%Y-%m-%d %H:%M:%S")
    row = by_source[refund.id]
    assert (row["gross"], row["refund_metadata[refund]"], row["payment_metadata[charge]"]) == ("-12.34", "re_1", "ch_1")
    assert (by_source[transfer.id]["transfer_metadata[payout]"], by_source[transfer.id]["connected_account_id"]) == (
        "po_1",
        "acct_paysOut",
    )
    assert {row["reporting_category"] for row in rows} == {
        "charge",
        "refund",
        "dispute",
        "transfer",
        "transfer_reversal",
        "payout",
    }
    now = int((await psp.control("GET", "/account"))["now"])
    assert await report(psp, 0, now - 1_000) == []
    assert await report(psp, now + 1_000) == []
    there = await report(psp, more="&account=acct_paysOut")
    assert [row["net"] for row in there] == ["100.00", "-0.10"]


async def test_the_bank_statement(psp: "Psp") -> None:
    assert checked(await statement(psp)) == []
    await psp.fund()
    paid = []
    for amount in (10_000, 2_345):
        payout = await psp.control("POST", "/platform_payouts", {"currency": "usd", "amount": amount})
        paid.append(payout["id"])
        await psp.control("POST", f"/payouts/{payout['id']}/pay")
    await psp.send()
    other = await psp.pay_out("acct_paysOut")
    await psp.control("POST", f"/payouts/{other.id}/pay")
    entries = checked(await statement(psp))
    assert [(reference(entry), signed(entry)) for entry in entries] == [
        (paid[0], Decimal("100.00")),
        (paid[1], Decimal("23.45")),
    ]
    first = entries[0]
    assert first.find("c:Amt", NAMES).get("Ccy") == "USD"
    assert first.findtext("c:Sts/c:Cd", namespaces=NAMES) == "BOOK"
    assert first.findtext("c:NtryDtls/c:TxDtls/c:RmtInf/c:Ustrd", namespaces=NAMES) == f"STRIPE {paid[0]}"
    await psp.control("POST", "/clock/advance", {"seconds": 86_400})
    await psp.control("POST", f"/payouts/{paid[0]}/return")
    now = int((await psp.control("GET", "/account"))["now"])
    later = await statement(psp, now - 1_000)
    assert [(reference(entry), signed(entry)) for entry in checked(later)] == [(paid[0], Decimal("-100.00"))]
    assert [signed(node) for node in later.findall("c:Bal", NAMES)] == [Decimal("123.45"), Decimal("23.45")]
    iban = later.findtext("c:Acct/c:Id/c:IBAN", namespaces=NAMES)
    assert int(iban[4:] + "1314" + iban[2:4]) % 97 == 1


async def test_files_as_they_come_in_real_life(psp: "Psp") -> None:
    """Stripe's nine default columns, local times, no payouts; a bank that names no payout, or by a name of its own."""
    real = {"report_columns": "default", "report_payouts": False, "local_timezone": "Asia/Kolkata"}
    await psp.control("PATCH", "/account", real | {"bank_names": "nothing", "trace_delay_s": None})
    await psp.fund()
    payout = await psp.control("POST", "/platform_payouts", {"currency": "usd", "amount": 1_000})
    await psp.control("POST", f"/payouts/{payout['id']}/pay")
    _, text = await text_of(psp, f"/reports/itemized?interval_start=0&interval_end={FOREVER}")
    header, *rows = text.splitlines()
    assert header == "balance_transaction_id,created,available_on,currency,gross,fee,net,reporting_category,description"
    assert [row.split(",")[7] for row in rows] == ["charge"]
    local = datetime.fromisoformat(rows[0].split(",")[1]).replace(tzinfo=ZoneInfo("Asia/Kolkata"))
    (charge,) = [line for line in (await psp.v1.balance_transactions.list_async()).data if line.type == "charge"]
    assert local.timestamp() == charge.created
    (entry,) = checked(await statement(psp))
    assert reference(entry) == "NOTPROVIDED"
    assert entry.findtext("c:NtryDtls/c:TxDtls/c:RmtInf/c:Ustrd", namespaces=NAMES) == "STRIPE PAYOUT"
    assert entry.findtext("c:BookgDt/c:Dt", namespaces=NAMES) == f"{local:%Y-%m-%d}"
    await psp.control("PATCH", "/account", {"bank_names": "trace_id"})
    (entry,) = checked(await statement(psp))
    before: Any = (await psp.v1.payouts.retrieve_async(payout["id"])).trace_id
    assert (before.status, before.value) == ("pending", None)
    told = await psp.control("POST", f"/payouts/{payout['id']}/trace")
    assert told["trace_id"] == {"status": "supported", "value": reference(entry)}
    await psp.control("POST", f"/payouts/{payout['id']}/trace", status=409)
    (event,) = (await psp.v1.events.list_async({"type": "payout.updated"})).data
    assert event.data.object["trace_id"]["value"] == reference(entry)
    await psp.control("PATCH", "/account", {"trace_supported": False, "trace_delay_s": 0})
    other = await psp.control("POST", "/platform_payouts", {"currency": "usd", "amount": 2_000})
    paid = await psp.control("POST", f"/payouts/{other['id']}/pay")
    assert paid["trace_id"] == {"status": "unsupported", "value": None}
    assert sorted(reference(entry) for entry in checked(await statement(psp)))[1] == "NOTPROVIDED"
    await psp.control("PATCH", "/account", {"local_timezone": "Mars/Olympus"}, status=422)


async def test_a_bank_that_lies(psp: "Psp") -> None:
    await psp.fund()
    ids = []
    for _ in range(2):
        payout = await psp.control("POST", "/platform_payouts", {"currency": "usd", "amount": 1_000})
        ids.append(payout["id"])
        await psp.control("POST", f"/payouts/{payout['id']}/pay")
    await psp.control("PATCH", f"/payouts/{ids[0]}/bank", {"amount": 999})
    await psp.control("PATCH", f"/payouts/{ids[1]}/bank", {"hidden": True})
    entry = {"amount": 55, "currency": "USD", "reference": "WHO", "text": "cash & <carry>", "credit": False}
    await psp.control("POST", "/bank/entries", entry, status=201)
    entries = checked(await statement(psp))
    assert [(reference(item), signed(item)) for item in entries] == [
        (ids[0], Decimal("9.99")),
        ("WHO", Decimal("-.55")),
    ]
    assert entries[1].findtext("c:NtryDtls/c:TxDtls/c:RmtInf/c:Ustrd", namespaces=NAMES) == "cash & <carry>"
    await psp.control("PATCH", f"/payouts/{ids[0]}/bank", {"amount": None})
    assert [signed(item) for item in checked(await statement(psp))] == [Decimal(10), Decimal("-.55")]


async def test_books_that_lie(psp: "Psp") -> None:
    charge: Any = (await psp.fund(1_000)).latest_charge
    (line,) = (await psp.v1.balance_transactions.list_async()).data
    created = line.created - 500
    spec = {"type": "charge", "amount": 70, "fee": 7, "currency": "usd", "description": "?", "source": "ch_nobody"}
    planted = await psp.control("POST", "/balance_transactions", spec | {"created": created}, status=201)
    double = await psp.control("POST", f"/balance_transactions/{line.id}/duplicate", status=201)
    assert (double["source"], double["id"] != line.id) == (charge.id, True)
    listed = await psp.v1.balance_transactions.list_async({"expand": ["data.source"]})
    assert [(item.id, item.net) for item in listed.data] == [
        (double["id"], 1_000),
        (line.id, 1_000),
        (planted["id"], 63),
    ]
    changed = await psp.control(
        "PATCH", f"/balance_transactions/{line.id}", {"amount": 990, "fee": 5, "currency": "eur"}
    )
    assert (changed["net"], changed["currency"]) == (985, "eur")
    found = await psp.v1.balance_transactions.retrieve_async(line.id)
    assert (found.amount, found.fee, found.net, found.currency) == (990, 5, 985, "eur")
    assert {row["balance_transaction_id"]: row["net"] for row in await report(psp)} == {
        line.id: "9.85",
        double["id"]: "10.00",
        planted["id"]: "0.63",
    }
    moved = await psp.control("PATCH", f"/balance_transactions/{double['id']}", {"created": created - 10})
    early: Any = {"created": {"lt": line.created}}
    assert [item.id for item in (await psp.v1.balance_transactions.list_async(early)).data] == [
        planted["id"],
        moved["id"],
    ]
    await psp.control("PATCH", f"/balance_transactions/{line.id}", {"hidden": True})
    for rows in (await report(psp), (await psp.v1.balance_transactions.list_async()).data):
        assert len(rows) == 2
    assert (await psp.v1.balance_transactions.retrieve_async(line.id)).id == line.id
    # The balance knows better.
    assert [(item.currency, item.amount) for item in (await psp.v1.balance.retrieve_async()).available] == [
        ("usd", 1_000)
    ]
    await psp.control("PATCH", f"/balance_transactions/{line.id}", {"hidden": False})
    assert len(await report(psp)) == 3
    await psp.stranger().control("PATCH", f"/balance_transactions/{line.id}", {"hidden": True}, status=404)


async def test_money_out_survives_a_kill(mortal: "Psp") -> None:
    psp, server = mortal, mortal.server
    await psp.control("PATCH", "/account", {"payout_delay_s": 1_000})
    await psp.fund()
    transfer = await psp.send("acct_payoutFails", key="t")
    payout = await psp.pay_out("acct_payoutFails", key="p")
    (line,) = (await psp.v1.balance_transactions.list_async({"source": transfer.id})).data
    await psp.control("PATCH", f"/balance_transactions/{line.id}", {"amount": -1})
    own = await psp.control("POST", "/platform_payouts", {"currency": "usd"})
    # In a thread, so that the client meanwhile learns that its connections are gone.
    await asyncio.to_thread(server.end, signal.SIGKILL)
    await asyncio.to_thread(server.start)
    assert (await psp.send("acct_payoutFails", key="t")).id == transfer.id
    assert (await psp.pay_out("acct_payoutFails", key="p")).id == payout.id
    await psp.control("POST", "/clock/advance", {"seconds": 1_000})
    failed = await psp.v1.payouts.retrieve_async(payout.id, {}, of("acct_payoutFails"))
    assert (failed.status, failed.failure_code) == ("failed", "account_closed")
    assert [reference(entry) for entry in checked(await statement(psp))] == [own["id"]]
    assert (await psp.v1.balance_transactions.retrieve_async(line.id)).amount == -1
    log = await psp.log()
    assert [len(log[kind]) for kind in ("charges", "transfers", "payouts")] == [1, 1, 2]


async def test_a_hundred_thousand_lines_are_read_page_by_page(mortal: "Psp", tmp_path: Path) -> None:
    psp, server = mortal, mortal.server
    await psp.fund(1_000)
    (line,) = (await psp.v1.balance_transactions.list_async()).data
    await asyncio.to_thread(server.end)
    with sqlite3.connect(tmp_path / "psp.db") as db:
        # Some 100,000 lines before the real one, a second apart.
        db.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
            INSERT INTO balance_transactions (id, account, created, doc)
            SELECT 'txn_' || i, account, created - i, json_set(doc, '$.id', 'txn_' || i, '$.created', created - i)
            FROM balance_transactions, n"""
        )
    db.close()
    await asyncio.to_thread(server.start)
    window: Any = {"gte": line.created - 90_000, "lt": line.created - 89_500}
    started_at = time.monotonic()
    found: list[str] = []
    wanted: Any = {"created": window, "limit": 100}
    while True:
        page = await psp.v1.balance_transactions.list_async(wanted)
        found += [item.id for item in page.data]
        if not page.has_more:
            break
        wanted |= {"starting_after": page.data[-1].id}
    assert found == [f"txn_{i}" for i in range(89_501, 90_001)]
    assert [item.id for item in (await psp.v1.balance_transactions.list_async({"type": "payout"})).data] == []
    await psp.send(amount=900)
    # Far above what it takes, far below what looking at every line for every page would take.
    assert time.monotonic() - started_at < 5


@pytest.mark.parametrize("path", ["/reports/itemized", "/bank/statement?from=1", "/reports/itemized?interval_start=x"])
async def test_a_report_needs_its_interval(psp: "Psp", path: str) -> None:
    await psp.control("GET", path, status=422)
