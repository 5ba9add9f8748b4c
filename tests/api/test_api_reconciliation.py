"""Reconciliation over HTTP: runs, files, items, the log, the page, and what is decided about a discrepancy."""

import csv
import io
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from embedded.stack import EmbeddedStack
from services.reconciliation import report_page
from services.reconciliation.log_file import LOG_COLUMNS
from tests.api.problem import refused
from tests.support.deployment import Deployment
from tests.support.reconciling import AT_ONCE, ended, falsify, lines, plant, reconciled, upload
from tests.support.shop import Shop

HOSTILE = "=cmd|'/c calc'!A1 <script>alert(1)</script>"


@pytest.fixture(scope="module")
async def alone(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """A Paysaga with one tenant: the whole account at the PSP is its own. This machine is its proxy."""
    name = f"alone{secrets.token_hex(4)}"
    async with Deployment(
        servers, tmp_path_factory.mktemp(name), name, **AT_ONCE, api_trusted_proxies="127.0.0.1"
    ) as deployment:
        yield deployment


@pytest.fixture(scope="module")
async def books(alone: Deployment) -> tuple[Shop, dict[str, str]]:
    """Five payments, and a PSP that lies about four of them and lists one line about nothing. The shop, and what the
    charges are called."""
    shop = await alone.shop("shop")
    paid = {name: await shop.paid(shop.checkout()) for name in ("fine", "less", "fee", "hidden", "twice")}
    charges = {}
    for name, payment in paid.items():
        (row,) = await alone.sql("SELECT id FROM charge WHERE payment_id = $1", payment["id"])
        charges[name] = row["id"]
    listed = await lines(shop)
    await falsify(shop, listed[charges["less"]]["id"], amount=49_000)
    await falsify(shop, listed[charges["fee"]]["id"], fee=listed[charges["fee"]]["fee"] + 300)
    await falsify(shop, listed[charges["hidden"]]["id"], hidden=True)
    await alone.sandbox.control("POST", f"/balance_transactions/{listed[charges['twice']]['id']}/duplicate", {})
    await plant(shop, 12_300, HOSTILE)
    return shop, charges


def window() -> dict[str, str]:
    now = datetime.now(UTC)
    return {"from": (now - timedelta(hours=2)).isoformat(), "to": (now + timedelta(minutes=2)).isoformat()}


@pytest.fixture(scope="module")
async def run(books: tuple[Shop, dict[str, str]]) -> dict[str, Any]:
    """A dry run over all of it."""
    return await reconciled(books[0], **window())


CLASSES = {"matched": 2, "amount": 1, "fee": 1, "missing_at_psp": 1, "duplicate": 1, "missing_here": 1}


# --- a run ---


async def test_a_run_says_what_it_compared_and_what_it_found(run: dict[str, Any]) -> None:
    told = {name: run[name] for name in ("subject", "source", "apply", "status", "failure", "lines", "opened", "open")}
    assert told == {
        "subject": "psp", "source": "api", "apply": False, "status": "COMPLETED", "failure": None, "lines": 6,
        "opened": 5, "open": 5,
    }  # fmt: skip
    assert run["counts"] == CLASSES
    assert {share["class"]: share["count"] for share in run["classes"]} == CLASSES
    in_question = {share["class"]: share["in_question"] for share in run["classes"]}
    assert in_question["amount"] == [{"amount": "10.00", "currency": "INR"}]
    assert in_question["fee"] == [{"amount": "3.00", "currency": "INR"}]
    assert in_question["missing_here"] == [{"amount": "123.00", "currency": "INR"}]
    assert in_question["matched"] == []


async def test_totals_are_of_both_sides(books: tuple[Shop, dict[str, str]], run: dict[str, Any]) -> None:
    """What is there less what is here is what the discrepancies come to."""
    shop, _ = books
    (total,) = run["totals"]
    found = (await shop.get("/v1/discrepancies")).json()["data"]
    assert total["currency"] == "INR"
    assert cents(total["there"]) - cents(total["ledger"]) == cents(total["difference"])
    assert cents(total["difference"]) == sum(cents(one["difference"]) for one in found)
    (ledger,) = await shop.paysaga.sql(
        "SELECT sum(amount)::bigint AS sum FROM ledger_posting WHERE account = 'psp_clearing:stripe'"
    )
    assert cents(total["ledger"]) == ledger["sum"]


def cents(text: str) -> int:
    return int(text.replace(".", ""))


async def test_the_same_request_under_the_same_key_is_the_same_run(books: tuple[Shop, dict[str, str]]) -> None:
    shop, _ = books
    key, body = str(uuid4()), {"subject": "psp"} | window()
    first = await shop.post("/v1/reconciliations", body, key=key)
    assert (first.status_code, first.json()["status"]) == (202, "STAGING")
    again = await shop.post("/v1/reconciliations", body, key=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    run_id = first.json()["id"]
    assert again.json()["id"] == run_id
    assert first.headers["location"] == again.headers["location"] == f"/v1/reconciliations/{run_id}"
    other = await shop.post("/v1/reconciliations", body | {"apply": True}, key=key)
    refused(other, 422, "idempotency_key_reused")
    done = await ended(shop, run_id)
    assert (done["opened"], done["open"]) == (0, 5), "the same breaks are the same discrepancies"
    assert (await shop.post("/v1/reconciliations", body, key=key)).json()["status"] == "COMPLETED"


async def test_a_key_is_required(books: tuple[Shop, dict[str, str]]) -> None:
    shop, _ = books
    answer = await shop.paysaga.http.post("/v1/reconciliations", json={"subject": "psp"}, headers=shop.headers)
    assert refused(answer, 400, "idempotency_key_missing")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "window_required"),
        ({"subject": "psp"}, "window_required"),
        ({"subject": "moon", "business_date": "2026-01-01"}, "field_invalid"),
        ({"subject": "psp", "business_date": "2026-02-30"}, "date_invalid"),
        ({"subject": "psp", "business_date": 20260101}, "date_invalid"),
        ({"subject": "psp", "business_date": "9999-12-31"}, "date_invalid"),
        ({"subject": "psp", "business_date": "2150-01-01"}, "window_in_the_future"),
        ({"subject": "psp", "from": "2026-01-01T00:00:00Z"}, "window_invalid"),
        ({"subject": "psp", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "window_invalid"),
        ({"subject": "psp", "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "window_invalid"),
        ({"subject": "psp", "from": "2025-01-01T00:00:00Z", "to": "2026-02-06T00:00:00Z"}, "window_too_long"),
        ({"subject": "psp", "from": "2026-01-01", "to": "2026-01-02"}, "time_invalid"),
        ({"subject": "psp", "from": 0, "to": 1}, "time_invalid"),
        ({"subject": "psp", "from": "0001-01-01T00:00:00Z", "to": "0001-01-02T00:00:00Z"}, "time_invalid"),
        ({"subject": "psp", "business_date": "2026-01-01", "file_id": "sf_none", "source": "api"}, "file_required"),
        ({"subject": "psp", "business_date": "2026-01-01", "source": "file"}, "file_required"),
        ({"subject": "bank", "business_date": "2026-01-01"}, "file_required"),
        ({"subject": "psp", "file_id": "sf_none"}, "file_unknown"),
        ({"subject": "psp", "file_id": "'; --"}, "file_unknown"),
        ({"subject": "psp", "business_date": "2026-01-01", "apply": "yes"}, "field_invalid"),
        ({"subject": "psp", "business_date": "2026-01-01", "later": True}, "field_unknown"),
    ],
)
async def test_what_cannot_be_run_is_refused_and_stored_nowhere(
    books: tuple[Shop, dict[str, str]], body: dict[str, Any], code: str
) -> None:
    shop, _ = books
    before = await shop.paysaga.sql("SELECT count(*) FROM reconciliation_run")
    key = str(uuid4())
    refused(await shop.post("/v1/reconciliations", body, key=key), 422, code)
    assert await shop.paysaga.sql("SELECT count(*) FROM reconciliation_run") == before
    assert await shop.paysaga.sql("SELECT 1 FROM idempotency_key WHERE key = $1", key) == [], "its key is not burnt"


async def test_a_day_is_one_of_the_business(books: tuple[Shop, dict[str, str]]) -> None:
    shop, _ = books
    done = await reconciled(shop, business_date="2026-01-31")
    assert (done["business_date"], done["from"], done["to"]) == (
        "2026-01-31",
        "2026-01-31T00:00:00Z",
        "2026-02-01T00:00:00Z",
    )
    assert done["lines"] == 0
    assert done["totals"] == []


async def test_runs_are_listed_newest_first_in_pages(books: tuple[Shop, dict[str, str]], run: dict[str, Any]) -> None:
    shop, _ = books
    second = await reconciled(shop, business_date="2026-01-30")
    pages: list[str] = []
    cursor = None
    while True:
        page = (await shop.get("/v1/reconciliations", limit=1, **({"cursor": cursor} if cursor else {}))).json()
        pages += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages[0] == second["id"]
    assert run["id"] in pages
    assert len(pages) == len(set(pages))
    assert (await shop.get("/v1/reconciliations", subject="bank")).json()["data"] == []
    assert (await shop.get("/v1/reconciliations", status="FAILED")).json()["data"] == []
    refused(await shop.get("/v1/reconciliations", cursor="bm9uc2Vuc2U"), 422, "cursor_invalid")
    refused(await shop.get("/v1/reconciliations", status="DONE"), 422, "field_invalid")


@pytest.mark.parametrize("path", ["", "/items", "/log", "/report"])
async def test_a_run_that_is_not_there(books: tuple[Shop, dict[str, str]], path: str) -> None:
    shop, _ = books
    for name in ("rec_none", "%00", "a" * 300):
        refused(await shop.get(f"/v1/reconciliations/{name}{path}"), 404, "reconciliation_not_found")


# --- items ---


async def test_items_say_what_each_side_says(books: tuple[Shop, dict[str, str]], run: dict[str, Any]) -> None:
    shop, charges = books
    found = (await shop.get(f"/v1/reconciliations/{run['id']}/items")).json()["data"]
    assert sorted(item["class"] for item in found if item["class"] != "matched") == sorted(set(CLASSES) - {"matched"})
    (less,) = (await shop.get(f"/v1/reconciliations/{run['id']}/items", **{"class": "amount"})).json()["data"]
    assert less["object_id"] == charges["less"]
    assert less["sides"]["there"]["amount"] == "490.00"
    assert less["sides"]["record"] == {"amount": "500.00", "currency": "INR", "fee": None}
    assert less["sides"]["ledger"]["amount"] == "500.00"
    assert less["reason"] == f"The PSP lists 490.00 INR for our {charges['less']}, and we booked 500.00 INR."
    assert less["discrepancy_status"] == "OPEN"
    (hidden,) = (await shop.get(f"/v1/reconciliations/{run['id']}/items", **{"class": "missing_at_psp"})).json()["data"]
    assert (hidden["line_no"], hidden["sides"]["there"]) == (None, None)
    pages, cursor = [], None
    for _ in found:
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        page = (await shop.get(f"/v1/reconciliations/{run['id']}/items", limit=1, **more)).json()
        pages += page["data"]
        cursor = page["next_cursor"]
    assert (pages, cursor) == (found, None)


# --- the log ---


async def log_of(shop: Shop, run_id: str) -> list[dict[str, str]]:
    answer = await shop.get(f"/v1/reconciliations/{run_id}/log", format="csv")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="reconciliation-{run_id}.csv"'
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_the_log_has_every_line_with_its_class_and_every_record_without_one(
    books: tuple[Shop, dict[str, str]], run: dict[str, Any]
) -> None:
    shop, charges = books
    log = await log_of(shop, run["id"])
    assert tuple(log[0]) == LOG_COLUMNS
    assert [row["line_no"] for row in log] == ["1", "2", "3", "4", "5", "6", ""]
    classes = [row["class"] for row in log]
    assert {cls: classes.count(cls) for cls in classes} == CLASSES
    fine = next(row for row in log if row["object_id"] == charges["fine"])
    assert (fine["class"], fine["matched_by"], fine["reason"]) == ("matched", "reference", "")
    assert fine["there_amount"] == fine["record_amount"] == fine["ledger_amount"] == "500.00"
    assert fine["there_fee"] == fine["ledger_fee"] != ""
    less = next(row for row in log if row["class"] == "amount")
    assert (less["there_amount"], less["record_amount"], less["ledger_amount"]) == ("490.00", "500.00", "500.00")
    assert less["discrepancy_id"].startswith("disc_")
    hidden = log[-1]
    assert (hidden["class"], hidden["object_id"]) == ("missing_at_psp", charges["hidden"])


async def test_the_log_as_json_lines_says_the_same(books: tuple[Shop, dict[str, str]], run: dict[str, Any]) -> None:
    shop, _ = books
    path = f"/v1/reconciliations/{run['id']}/log"
    answer = await shop.paysaga.http.get(path, headers=shop.headers | {"Accept": "application/jsonl"})
    assert answer.headers["content-type"] == "application/jsonl"
    entries = [json.loads(line) for line in answer.text.splitlines()]
    log = await log_of(shop, run["id"])
    assert [entry["class"] for entry in entries] == [row["class"] for row in log]
    assert entries[0]["there"]["amount"] == log[0]["there_amount"]
    assert (await shop.get(path)).headers["content-type"].startswith("text/csv"), "the default"
    refused(await shop.get(path, format="xlsx"), 422, "field_invalid")


# --- the page ---


async def test_the_page_says_it_to_people_and_loads_nothing(
    books: tuple[Shop, dict[str, str]], run: dict[str, Any]
) -> None:
    shop, _ = books
    answer = await shop.get(f"/v1/reconciliations/{run['id']}/report")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    for part in (
        "Stripe against our books",
        "listed there, unknown here",
        "490.00 INR",
        "Waits for a person",
        "5 open",
    ):
        assert part in answer.text
    for forbidden in ("<script", "http://", "https://", " style=", "<img", "<link", "onload"):
        assert forbidden not in answer.text
    assert 'href="log?format=csv&amp;' in answer.text
    refused(await shop.paysaga.http.get(f"/v1/reconciliations/{run['id']}/report"), 401, "api_key_missing")


# --- files ---

HEADER = "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id,description\r\n"


async def kept(shop: Shop, file_id: str) -> bytes:
    """The bytes of a file; none of them is in clear in the database."""
    rows = await shop.paysaga.sql("SELECT no, data FROM settlement_file_chunk WHERE file_id = $1 ORDER BY no", file_id)
    ring = shop.paysaga.keyring
    return b"".join(ring.decrypt_bytes(row["data"], bound_to=f"{file_id}:{row['no']}") for row in rows)


async def test_a_file_is_uploaded_once(books: tuple[Shop, dict[str, str]]) -> None:
    shop, _ = books
    content = HEADER.encode() + b"" + secrets.token_hex(4).encode()
    first = await upload(shop, content)
    assert first.status_code == 201, first.text
    file = first.json()
    assert (file["kind"], file["name"], file["size"]) == ("psp", "november.csv", len(content))
    again = await upload(shop, content, name="another name.csv")
    assert (again.status_code, again.json()) == (200, file)
    assert (await upload(shop, content, kind="bank", name="b.xml")).json()["id"] != file["id"]
    assert await kept(shop, file["id"]) == content


async def test_the_audit_log_has_the_address_that_a_trusted_proxy_saw(books: tuple[Shop, dict[str, str]]) -> None:
    """The last one of the header: those before it are the client's own words."""
    shop, _ = books
    headers = shop.headers | {"X-Forwarded-For": "198.51.100.9, 203.0.113.7"}
    body = {"seller_account": f"s-{secrets.token_hex(4)}"}
    added = (await shop.paysaga.http.post("/v1/merchants", json=body, headers=headers)).raise_for_status().json()
    (row,) = (await shop.get("/v1/audit-log", object_id=added["id"])).json()["data"]
    assert (row["action"], row["address"]) == ("merchant.create", "203.0.113.7")


async def test_a_file_comes_in_pieces_and_larger_than_other_bodies(books: tuple[Shop, dict[str, str]]) -> None:
    shop, _ = books
    piece = secrets.token_bytes(700_001)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield piece

    answer = await shop.paysaga.http.post(
        "/v1/reconciliations/files",
        params={"kind": "psp", "name": "large.csv"},
        content=pieces(),
        headers=shop.headers | {"Content-Type": "text/csv"},
    )
    assert (answer.status_code, answer.json()["size"]) == (201, 4 * len(piece)), answer.text


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"media_type": "application/json"}, 415, "unsupported_media_type"),
        ({"media_type": "application/xml"}, 415, "unsupported_media_type"),
        ({"kind": "bank", "media_type": "text/csv"}, 415, "unsupported_media_type"),
        ({"kind": "moon"}, 422, "field_invalid"),
        ({"name": ""}, 422, "field_invalid"),
        ({"name": "a\nb"}, 422, "text_invalid"),
        ({"name": "x" * 201}, 422, "field_invalid"),
        ({"name": "4242 4242 4242 4242"}, 422, "card_data_forbidden"),
        ({"content": b""}, 400, "body_empty"),
    ],
)
async def test_what_is_no_file_is_refused(
    books: tuple[Shop, dict[str, str]], how: dict[str, Any], status: int, code: str
) -> None:
    shop, _ = books
    before = await shop.paysaga.sql("SELECT count(*) FROM settlement_file")
    refused(await upload(shop, how.pop("content", b"x"), **{"media_type": "text/csv"} | how), status, code)
    assert await shop.paysaga.sql("SELECT count(*) FROM settlement_file") == before


async def report_of(shop: Shop) -> str:
    """The PSP's own file of the last hours."""
    now = int(datetime.now(UTC).timestamp())
    response = await shop.paysaga.sandbox._http.get(
        f"/_control/reports/itemized?interval_start={now - 7200}&interval_end={now + 60}"
    )
    return str(response.raise_for_status().text)


@pytest.mark.usefixtures("run")
async def test_a_run_over_a_file_finds_what_the_list_has(books: tuple[Shop, dict[str, str]]) -> None:
    shop, _ = books
    file = (await upload(shop, await report_of(shop), name="<b>november</b>.csv")).json()
    done = await reconciled(shop, file_id=file["id"], **window())
    assert (done["source"], done["file"], done["file_id"]) == ("file", "<b>november</b>.csv", file["id"])
    assert done["status"] == "COMPLETED", done["failure"]
    assert done["counts"] == CLASSES
    assert done["opened"] == 0
    page = (await shop.get(f"/v1/reconciliations/{done['id']}/report")).text
    assert "&lt;b&gt;november&lt;/b&gt;.csv" in page
    assert "<b>november" not in page
    assert file["sha256"] in page


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        ("psp", "not,a,report\r\n1,2,3\r\n", "line 1: "),
        ("psp", HEADER + "txn_1,2026-11-20 10:00:00,inr,5x,0,5,charge,ch_1,\r\n", "line 2: "),
        ("psp", HEADER.encode() + b"\xff\xfe\r\n", "line "),
        ("bank", "<Document>", "line 1: "),
        ("bank", "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "line 1: "),
    ],
)
async def test_a_file_that_cannot_be_read_fails_the_run_with_the_line_and_why(
    books: tuple[Shop, dict[str, str]], kind: str, content: str | bytes, why: str
) -> None:
    shop, _ = books
    answer = await upload(shop, content, kind=kind, name="broken")
    assert answer.status_code in (200, 201), answer.text
    done = await reconciled(shop, subject=kind, file_id=answer.json()["id"])
    assert (done["status"], done["counts"], done["classes"]) == ("FAILED", {}, None)
    assert done["failure"].startswith(why), done["failure"]
    problem = refused(await shop.get(f"/v1/reconciliations/{done['id']}/log"), 409, "reconciliation_not_matched")
    assert done["failure"] in problem["detail"]
    page = (await shop.get(f"/v1/reconciliations/{done['id']}/report")).text
    assert "could not be carried out" in page


async def test_a_formula_in_a_file_is_text_in_the_log_and_markup_is_text_on_the_page(
    books: tuple[Shop, dict[str, str]],
) -> None:
    shop, _ = books
    row = '"=1+1<script>",2026-03-05 10:00:00,inr,7.00,0.00,7.00,other_adjustment,"@SUM(A1)",\r\n'
    file = (await upload(shop, HEADER + row)).json()
    done = await reconciled(shop, file_id=file["id"])
    assert done["status"] == "COMPLETED", done["failure"]
    log = await log_of(shop, done["id"])
    (line,) = [one for one in log if one["line_no"] == "1"]
    assert line["reference"] == "'=1+1<script>"
    assert line["there_amount"] == "7.00"
    assert not any(cell.startswith(("=", "+", "@", "\t")) for one in log for cell in one.values())
    page = (await shop.get(f"/v1/reconciliations/{done['id']}/report")).text
    assert "&lt;script&gt;" in page
    assert "<script" not in page


# --- discrepancies ---


async def discrepancy(shop: Shop, cls: str, **more: str) -> dict[str, Any]:
    found = (await shop.get("/v1/discrepancies", status="OPEN", **{"class": cls}, **more)).json()["data"]
    shown: dict[str, Any] = (await shop.get(f"/v1/discrepancies/{found[-1]['id']}")).raise_for_status().json()
    return shown


async def decide(shop: Shop, discrepancy_id: str, decision: str, note: str = "", **how: Any) -> Any:
    return await shop.post(f"/v1/discrepancies/{discrepancy_id}/resolve", {"decision": decision, "note": note}, **how)


async def test_a_discrepancy_shows_its_sides_and_what_can_be_decided(
    books: tuple[Shop, dict[str, str]], run: dict[str, Any]
) -> None:
    shop, charges = books
    shown = await discrepancy(shop, "amount")
    expected = {
        "object": "discrepancy", "psp": "stripe", "subject": "psp", "class": "amount", "status": "OPEN",
        "object_id": charges["less"], "difference": "-10.00", "currency": "INR", "overdue": True,
        "proposed_fix": None, "allowed_decisions": ["adjust", "accept"], "first_run_id": run["id"],
    }  # fmt: skip
    assert {name: shown[name] for name in expected} == expected
    assert run["id"] in [seen["run_id"] for seen in shown["history"]]
    assert shown["history"][0]["reason"] == shown["reason"]


@pytest.mark.usefixtures("run")
async def test_discrepancies_are_listed_by_class_status_and_deadline(books: tuple[Shop, dict[str, str]]) -> None:
    shop, _ = books
    every = (await shop.get("/v1/discrepancies", status="OPEN")).json()["data"]
    assert {one["class"] for one in every} >= {"amount", "fee", "duplicate"}
    overdue = (await shop.get("/v1/discrepancies", overdue=True)).json()["data"]
    assert {one["id"] for one in overdue} == {one["id"] for one in every if one["overdue"]}
    assert (await shop.get("/v1/discrepancies", **{"class": "currency"})).json()["data"] == []
    pages, cursor = [], None
    for _ in every:
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        page = (await shop.get("/v1/discrepancies", status="OPEN", limit=1, **more)).json()
        pages += page["data"]
        cursor = page["next_cursor"]
    assert ([one["id"] for one in pages], cursor) == ([one["id"] for one in every], None)
    refused(await shop.get("/v1/discrepancies", **{"class": "matchless"}), 422, "field_invalid")
    refused(await shop.get("/v1/discrepancies", overdue="perhaps"), 422, "field_invalid")
    refused(await shop.get("/v1/discrepancies/disc_none"), 404, "discrepancy_not_found")
    refused(await decide(shop, "disc_none", "accept", "x"), 404, "discrepancy_not_found")


async def test_a_decision_that_does_not_fit_names_those_that_do(books: tuple[Shop, dict[str, str]]) -> None:
    shop, _ = books
    found = await discrepancy(shop, "amount")
    key = str(uuid4())
    problem = refused(await decide(shop, found["id"], "to_suspense", key=key), 422, "decision_not_allowed")
    assert problem["allowed"] == "adjust, accept"
    refused(await decide(shop, found["id"], "apply_fix"), 422, "decision_not_allowed")
    refused(await decide(shop, found["id"], "accept"), 422, "note_required")
    refused(await decide(shop, found["id"], "shrug"), 422, "field_invalid")
    assert await shop.paysaga.sql("SELECT 1 FROM idempotency_key WHERE key = $1", key) == [], "its key is not burnt"


async def test_a_difference_is_booked_once_and_a_second_decision_hears_of_the_first(
    books: tuple[Shop, dict[str, str]],
) -> None:
    shop, _ = books
    found = await discrepancy(shop, "amount")
    key = str(uuid4())
    first = await decide(shop, found["id"], "adjust", "Stripe confirmed it", key=key)
    assert first.status_code == 200, first.text
    done = first.json()
    (audit,) = await shop.paysaga.sql("SELECT actor, detail FROM audit_log WHERE object_id = $1", found["id"])
    assert (done["status"], done["resolution"], done["note"]) == ("RESOLVED", "adjust", "Stripe confirmed it")
    assert done["resolved_by"] == audit["actor"]
    assert done["allowed_decisions"] == []
    booked = await shop.paysaga.sql(
        "SELECT account, amount FROM ledger_posting WHERE transaction_id = $1 ORDER BY amount",
        done["ledger_transaction_id"],
    )
    assert [(row["account"], row["amount"]) for row in booked] == [
        ("psp_clearing:stripe", -1000),
        ("adjustments", 1000),
    ]
    again = await decide(shop, found["id"], "adjust", "Stripe confirmed it", key=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json() == done
    late = refused(await decide(shop, found["id"], "accept", "me too"), 409, "discrepancy_closed")
    assert (late["resolved_by"], late["resolution"]) == (done["resolved_by"], "adjust")
    assert datetime.fromisoformat(late["resolved_at"]) == datetime.fromisoformat(done["resolved_at"])
    after = await reconciled(shop, **window())
    assert after["opened"] == 0, "it is decided, and finding it once more is no news"


async def test_a_fix_is_applied_by_the_run_that_is_told_to(books: tuple[Shop, dict[str, str]]) -> None:
    """A fee of nothing is booked by rule; another one, by a person's word."""
    shop, _ = books
    await plant(shop, -2_500, "Radar", type="stripe_fee", reporting_category="fee")
    dry = await reconciled(shop, **window())
    (open_fee,) = [one for one in (await shop.get("/v1/discrepancies", status="OPEN")).json()["data"]
                   if one["proposed_fix"] == "book_fee"]  # fmt: skip
    assert dry["fixed"] == 0
    page = (await shop.get(f"/v1/reconciliations/{dry['id']}/report")).text
    assert "Can be settled by rule" in page
    assert "book the fee" in page
    wet = await reconciled(shop, apply=True, **window())
    assert wet["fixed"] == 1
    shown = (await shop.get(f"/v1/discrepancies/{open_fee['id']}")).json()
    assert (shown["status"], shown["resolution"]) == ("FIXED", "book_fee")
    assert "Settled" in (await shop.get(f"/v1/reconciliations/{wet['id']}/report")).text
    line = await plant(shop, -1_500, "Radar", type="stripe_fee", reporting_category="fee")
    await reconciled(shop, **window())
    (second,) = [one for one in (await shop.get("/v1/discrepancies", status="OPEN")).json()["data"]
                 if one["line_reference"] == line["id"]]  # fmt: skip
    key = str(uuid4())
    done = await decide(shop, second["id"], "apply_fix", key=key)
    assert (done.status_code, done.json()["status"]) == (200, "FIXED"), done.text
    again = await decide(shop, second["id"], "apply_fix", key=key)
    assert again.json() == done.json()
    refused(await decide(shop, second["id"], "apply_fix"), 409, "discrepancy_closed")
    postings = await shop.paysaga.sql(
        "SELECT count(*) AS n FROM ledger_transaction WHERE source_id = $1", f"stripe:{line['id']}"
    )
    assert postings[0]["n"] == 1


# --- who may see what ---


async def test_a_tenant_that_shares_the_account_sees_its_own_alone(deploy: Any) -> None:
    paysaga = await deploy(**AT_ONCE)
    one, other = await paysaga.shop("one"), await paysaga.shop("other")
    mine, theirs = await one.paid(one.checkout()), await other.paid(other.checkout())
    names = [row["id"] for payment in (mine, theirs) for row in await paysaga.sql(
        "SELECT id FROM charge WHERE payment_id = $1", payment["id"])]  # fmt: skip
    listed = await lines(one)
    for name in names:
        await falsify(one, listed[name]["id"], amount=1_000)
    await plant(one, 777, "nobody's")
    done = await reconciled(one, **window())
    assert (done["lines"], done["counts"], done["totals"]) == (None, {"amount": 1}, None)
    assert [done[name] for name in ("opened", "closed", "fixed", "asked")] == [None] * 4, "they would be everybody's"
    listed_run = (await one.get("/v1/reconciliations")).json()["data"][0]
    assert (listed_run["id"], listed_run["opened"]) == (done["id"], None)
    for path in ("/items", "/log?format=jsonl", "/report"):
        text = (await one.get(f"/v1/reconciliations/{done['id']}{path}")).text
        assert names[0] in text
        assert names[1] not in text
    (own,) = (await one.get("/v1/discrepancies")).json()["data"]
    assert own["object_id"] == names[0]
    (others,) = (await other.get("/v1/discrepancies")).json()["data"]
    assert others["object_id"] == names[1]
    refused(await one.get(f"/v1/discrepancies/{others['id']}"), 404, "discrepancy_not_found")
    refused(await decide(one, others["id"], "accept", "x"), 404, "discrepancy_not_found")
    refused(await other.get(f"/v1/reconciliations/{done['id']}"), 404, "reconciliation_not_found")
    assert (await other.get("/v1/reconciliations")).json()["data"] == []
    file = (await upload(one, HEADER)).json()
    refused(await one.post("/v1/reconciliations", {"subject": "psp", "file_id": file["id"]}), 403, "account_shared")
    refused(await other.post("/v1/reconciliations", {"subject": "psp", "file_id": file["id"]}), 403, "account_shared")


def test_the_style_of_the_page_is_the_one_that_its_policy_allows() -> None:
    run = {
        "id": "rec_1", "subject": "bank", "psp": "stripe", "source": "file", "file_name": "<i>", "file_sha256": None,
        "status": "STAGING", "failure": None, "apply": False, "fixed": 0, "asked": 0, "opened": 0, "closed": 0,
        "actor": "olga", "created_at": datetime.now(UTC), "completed_at": None, "window_from": None, "window_to": None,
        "business_date": None, "notes": ["<b>"], "outside": None,
    }  # fmt: skip
    page = report_page.render(run, None, datetime.now(UTC), log_link=None)
    assert "It is under way" in page
    assert "<i>" not in page
    assert f'content="{report_page.POLICY.replace(chr(39), "&#39;")}"' in page
