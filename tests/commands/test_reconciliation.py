"""Commands about reconciliation: over HTTP and at the terminal the same refusals, limits and rows of the audit log."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.api.objects import discrepancy
from tests.api.problem import refused
from tests.audit.command import Said, paysaga_command
from tests.commands.conftest import BY, Both, audit_log, both, same_log
from tests.support.reconciling import upload
from tests.support.shop import Answer, Shop

SOON = datetime.now(UTC) + timedelta(days=2)


# --- a run ---


@pytest.mark.parametrize(
    ("body", "options", "code"),
    [
        (
            {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
            ("--from", "2026-01-02", "--to", "2026-01-01"),
            "window_invalid",
        ),
        (
            {"from": "2025-01-01T00:00:00Z", "to": "2026-02-06T00:00:00Z"},
            ("--from", "2025-01-01", "--to", "2026-02-06"),
            "window_too_long",
        ),
        (
            {"business_date": SOON.date().isoformat()},
            ("--date", SOON.date().isoformat()),
            "window_in_the_future",
        ),
        ({"from": "2026-01-01T00:00:00Z"}, ("--from", "2026-01-01"), "window_invalid"),
        (
            {"business_date": "2026-01-01", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
            ("--date", "2026-01-01", "--from", "2026-01-01", "--to", "2026-01-02"),
            "window_invalid",
        ),
        ({"business_date": "1999-12-31"}, ("--date", "1999-12-31"), "date_invalid"),
        (
            {"subject": "bank", "business_date": "2026-01-01"},
            ("--subject", "bank", "--date", "2026-01-01"),
            "file_required",
        ),
    ],
)
async def test_a_run_that_cannot_be_is_refused_in_the_same_words(
    shop: Shop, body: dict[str, Any], options: tuple[str, ...], code: str
) -> None:
    given = await both(shop, http=("POST", "/v1/reconciliations", body), cli=("reconcile", "run", *BY, *options))
    given.refused(code)


async def test_only_a_few_runs_of_a_tenant_are_under_way(shop: Shop) -> None:
    """Each may copy a million lines; whoever asks for one more is told to wait, and the key is still free."""
    key, body = str(uuid4()), {"business_date": "2026-01-30"}
    await shop.paysaga.sql(
        "INSERT INTO reconciliation_run (id, key, tenant_id, psp, subject, source, margin_s, status, actor, at)"
        " SELECT 'rec_' || $1 || n, $1 || n, $1, 'stripe', 'psp', 'api', 0, 'STAGING', 'test', now()"
        " FROM generate_series(1, 5) n",
        shop.tenant,
    )
    refused(await shop.post("/v1/reconciliations", body, key=key), 409, "reconciliations_under_way")
    await shop.paysaga.sql(
        "UPDATE reconciliation_run SET status = 'FAILED', failure = 'planted' WHERE tenant_id = $1", shop.tenant
    )
    assert (await shop.post("/v1/reconciliations", body, key=key)).status_code == 202


async def test_a_run_is_in_the_audit_log(shop: Shop) -> None:
    given = await both(
        shop,
        http=("POST", "/v1/reconciliations", {"business_date": "2026-01-30"}),
        cli=("reconcile", "run", *BY, "--date", "2026-01-30"),
    )
    given.accepted()
    run_id = re.search(r"rec_[0-9a-z]{26}", given.said.out)
    assert run_id
    by_person = await audit_log(shop, run_id[0])
    same_log(await audit_log(shop, given.http.json()["id"]), by_person)
    assert by_person[0].action == "reconciliation.run"


# --- a file ---


async def both_files(shop: Shop, folder: Path, name: str, content: str) -> tuple[Answer, Said]:
    (folder / name).write_text(content)
    said = await paysaga_command(shop.paysaga.environment(), "reconcile", "run", *BY, "--file", str(folder / name))
    return await upload(shop, content, name=name), said


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.csv", "", "body_empty"),
        (f"{'n' * 197}.csv", "a", "field_invalid"),
        ("4242424242424242.csv", "a", "card_data_forbidden"),
    ],
)
async def test_a_file_that_is_not_kept_is_refused_in_the_same_words(
    shop: Shop, tmp_path: Path, name: str, content: str, code: str
) -> None:
    Both(*await both_files(shop, tmp_path, name, content)).refused(code)


async def test_a_file_is_not_kept_where_its_run_is_refused(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / f"{secrets.token_hex(6)}.csv"
    file.write_text(secrets.token_hex(8))
    window = ("--from", "2026-01-02", "--to", "2026-01-01")
    said = await paysaga_command(shop.paysaga.environment(), "reconcile", "run", *BY, "--file", str(file), *window)
    assert "`from` is not before `to`." in said.err
    assert await shop.paysaga.sql("SELECT FROM settlement_file WHERE name = $1", file.name) == []
    gone = await paysaga_command(
        shop.paysaga.environment(), "reconcile", "run", *BY, "--file", str(tmp_path / "no.csv")
    )
    assert gone.err == f"paysaga: {tmp_path / 'no.csv'} cannot be read: No such file or directory.\n"


async def test_a_file_is_in_the_audit_log(shop: Shop, tmp_path: Path) -> None:
    name = f"{secrets.token_hex(6)}.csv"
    answer, said = await both_files(shop, tmp_path, name, f"no,report\n{secrets.token_hex(8)}")
    assert answer.status_code == 201, answer.text
    assert "could not be carried out" in said.err, "it is no report, and that is said when it is read"
    (row,) = await shop.paysaga.sql("SELECT id FROM settlement_file WHERE name = $1 AND tenant_id = 'platform'", name)
    by_person = await audit_log(shop, row["id"])
    same_log(await audit_log(shop, answer.json()["id"]), by_person)
    assert by_person[0].action == "settlement_file.upload"


# --- a decision ---


def resolve(discrepancy_id: str, decision: str, note: str = "") -> dict[str, Any]:
    return {
        "http": ("POST", f"/v1/discrepancies/{discrepancy_id}/resolve", {"decision": decision, "note": note}),
        "cli": ("reconcile", "resolve", discrepancy_id, decision, *BY, "--note", note),
    }


async def test_decisions(shop: Shop) -> None:
    first, second = await discrepancy(shop), await discrepancy(shop)
    (await both(shop, **resolve("disc_none", "accept", "x"))).refused("discrepancy_not_found")
    for decision, note, code in [
        ("apply_fix", "", "decision_not_allowed"),
        ("to_suspense", "", "decision_not_allowed"),
        ("accept", " ", "note_required"),
        ("accept", "n" * 2001, "field_invalid"),
        ("accept", "4242 4242 4242 4242", "card_data_forbidden"),
    ]:
        (await both(shop, **resolve(first, decision, note))).refused(code)
    assert await audit_log(shop, first) == [], "a refusal leaves nothing"
    by_key = (await both(shop, http=resolve(first, "adjust", "by mail")["http"], cli=("status",))).http
    assert by_key.json()["status"] == "RESOLVED"
    said = await paysaga_command(shop.paysaga.environment(), *resolve(second, "adjust", "by mail")["cli"])
    assert f"{second} is RESOLVED: adjust, booked as lt_" in said.out, said.err
    logs = await audit_log(shop, first), await audit_log(shop, second)
    same_log(*logs, own=("reason", "ledger_transaction"))
    assert logs[0][0].action == "discrepancy.resolve"
    (await both(shop, **resolve(first, "accept", "me too"))).refused("discrepancy_closed")
