"""The audit log over HTTP: who did what, from where; in pages, filtered, and as a file."""

import csv
import io
import json
import secrets
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from db import api_key
from db.audit_log import AuditEntry
from services.audit_log import entry_csv
from tests.api.problem import refused
from tests.support.deployment import Deployment
from tests.support.shop import Shop


async def log_of(shop: Shop, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await shop.get("/v1/audit-log", **parameters)).raise_for_status().json()["data"]
    return found


def done(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["action"], row["object_id"]) for row in rows]


async def other_key(shop: Shop, name: str) -> tuple[str, dict[str, str]]:
    secret = api_key.new_secret()
    key_id = await shop.paysaga.database.run(lambda c: api_key.create(c, shop.tenant, name, secret))
    return key_id, {"Authorization": f"Bearer {secret}", "Idempotency-Key": secrets.token_hex(8)}


async def test_a_row_says_who_did_what_from_where(shop: Shop) -> None:
    paid = await shop.until((await shop.paid(shop.checkout()))["id"], "SUCCESS")
    # Nobody here is a proxy: what the header claims is not believed.
    headers = shop.headers | {"Idempotency-Key": str(uuid4()), "X-Forwarded-For": "203.0.113.7"}
    path = f"/v1/payments/{paid['id']}/refunds"
    answer = await shop.paysaga.http.post(path, json={"amount": "1.00"}, headers=headers)
    refund = answer.raise_for_status().json()
    refunded, created = await log_of(shop)
    assert done([refunded, created]) == [("refund.create", refund["id"]), ("payment.create", paid["id"])]
    for row in (refunded, created):
        assert (row["object"], row["tenant_id"], row["address"]) == ("audit_entry", shop.tenant, "127.0.0.1")
        assert row["actor"].startswith("key_")
        assert row["key"]
        assert "key" not in row["detail"]
        assert shop.secret not in json.dumps(row)
    assert created["detail"] == {"amount": "500.00", "currency": "INR", "sellers": "anna"}
    assert refunded["detail"] == {"payment": paid["id"], "amount": "1.00", "currency": "INR"}


async def test_filters_pages_and_files(shop: Shop) -> None:
    key_id, headers = await other_key(shop, "back office")
    ids = [(await shop.paid(shop.checkout(), confirm=False))["id"] for _ in range(2)]
    cancel = await shop.paysaga.http.post(f"/v1/payments/{ids[0]}/cancel", headers=headers)
    assert cancel.is_success, cancel.text
    whole = await log_of(shop)
    cancelled, second, first = whole
    for parameters, rows in (
        ({"object_id": ids[0]}, [cancelled, first]),
        ({"actor": key_id}, [cancelled]),
        ({"actor": "back office"}, [cancelled]),
        ({"actor": "nobody"}, []),
        ({"action": "payment"}, whole),
        ({"action": "payment.create"}, [second, first]),
        ({"action": "pay"}, []),
        ({"action": "payment_"}, []),
        ({"since": second["at"]}, [cancelled, second]),
        ({"until": second["at"]}, [first]),
        ({"since": first["at"], "until": cancelled["at"], "object_id": ids[1]}, [second]),
    ):
        assert await log_of(shop, **parameters) == rows, parameters
    page = (await shop.get("/v1/audit-log", limit=2)).json()
    assert page["data"] == [cancelled, second]
    last = (await shop.get("/v1/audit-log", limit=2, cursor=page["next_cursor"])).json()
    assert (last["data"], last["next_cursor"]) == ([first], None)
    as_csv = await shop.get("/v1/audit-log", format="csv")
    assert as_csv.headers["content-disposition"] == 'attachment; filename="audit-log.csv"'
    lines = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [line | {"seq": int(line["seq"]), "detail": json.loads(line["detail"])} for line in lines] == [
        {name: value for name, value in row.items() if name != "object"} for row in whole
    ]
    accepted = await shop.paysaga.http.get(
        "/v1/audit-log", params={"action": "payment.create"}, headers=shop.headers | {"Accept": "application/jsonl"}
    )
    assert accepted.headers["content-type"].startswith("application/jsonl")
    assert [json.loads(line) for line in accepted.text.splitlines()] == [second, first]
    behind = await shop.get("/v1/audit-log", format="csv", limit=1, cursor=page["next_cursor"])
    assert [line["object_id"] for line in csv.DictReader(io.StringIO(behind.text))] == [ids[0]]


async def test_another_tenants_rows_are_not_seen(paysaga: Deployment) -> None:
    one, other = [await paysaga.shop(f"log-{secrets.token_hex(5)}") for _ in range(2)]
    paid = [await one.paid(one.checkout(), confirm=False) for _ in range(2)]
    page = (await one.get("/v1/audit-log", limit=1)).json()
    for parameters in ({}, {"object_id": paid[0]["id"]}, {"cursor": page["next_cursor"]}, {"format": "jsonl"}):
        answer = (await other.get("/v1/audit-log", **parameters)).raise_for_status()
        assert answer.text == "" if "format" in parameters else answer.json()["data"] == [], parameters


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"since": "yesterday"}, "time_invalid"),
        ({"cursor": "x"}, "cursor_invalid"),
        ({"limit": 0}, "field_invalid"),
        ({"format": "xml"}, "field_invalid"),
        ({"actor": ""}, "field_invalid"),
        ({"object_id": "a\x00b"}, "text_invalid"),
        ({"format": "csv", "action": "a\x00b"}, "text_invalid"),
    ],
)
async def test_a_filter_that_cannot_be_meant(shop: Shop, parameters: dict[str, Any], code: str) -> None:
    refused(await shop.get("/v1/audit-log", **parameters), 422, code)


def test_a_name_that_looks_like_a_formula_is_none() -> None:
    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    line = entry_csv(AuditEntry(7, "shop", at, "=1+1", "@key", None, "payment.cancel", "pay_1", {"note": "=2"}))
    (cells,) = csv.reader(io.StringIO(line))
    assert cells == [
        "7",
        "2026-03-10T12:00:00Z",
        "shop",
        "'=1+1",
        "'@key",
        "",
        "payment.cancel",
        "pay_1",
        '{"note": "=2"}',
    ]
