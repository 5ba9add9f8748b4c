"""`paysaga audit`, and I17, which compares PostgreSQL with Temporal."""

import json
import os

import pytest
from temporalio.client import Client

from db.audit.audit import INVARIANTS
from embedded.stack import EmbeddedStack, settings_environment
from runtime.temporal import connect
from services.audit import audit
from tests.audit.command import paysaga_command
from tests.audit.copies import Copy


@pytest.fixture
async def temporal(servers: EmbeddedStack) -> Client:
    return await connect(servers.settings, None)


@pytest.fixture
def environment(copy: Copy) -> dict[str, str]:
    """Of a person who audits the copy."""
    url = {"PAYSAGA_DATABASE_URL": copy.stack.postgres.url(copy.name, "paysaga")}
    return {**os.environ, **settings_environment(copy.stack.settings), **url}


async def test_postgresql_and_temporal_agree(copy: Copy, temporal: Client) -> None:
    await copy.damage("UPDATE payment SET updated_at = now() - interval '5 minutes'")
    assert await audit(copy.database, temporal) == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            "UPDATE payment SET id = 'pay_lost', status = 'PENDING', updated_at = now() - interval '5 minutes'"
            " WHERE id = :'declined'",
            "PENDING, and no workflow runs for it",
        ),
        (
            "UPDATE payment SET status = 'CANCELLED', updated_at = now() - interval '5 minutes' WHERE id = :'waiting'",
            "CANCELLED, and its workflow still runs",
        ),
        (
            "UPDATE payment SET tenant_id = 'platform', updated_at = now() - interval '5 minutes'"
            " WHERE id = :'waiting'",
            "is filed under PaysagaTenant 'acme'",
        ),
    ],
    ids=["lost", "left over", "misfiled"],
)
async def test_where_they_disagree_is_found(copy: Copy, temporal: Client, damage: str, sentence: str) -> None:
    await copy.damage(damage)
    findings = [finding for finding in await audit(copy.database, temporal) if finding.code == "I17"]
    assert len(findings) == 1
    assert sentence in findings[0].problem


async def test_what_has_just_happened_is_given_its_time(copy: Copy, temporal: Client) -> None:
    await copy.damage("UPDATE payment SET status = 'CANCELLED', updated_at = now() WHERE id = :'waiting'")
    assert not [finding for finding in await audit(copy.database, temporal) if finding.code == "I17"]


async def test_a_clean_audit_says_so(environment: dict[str, str]) -> None:
    said = await paysaga_command(environment, "audit")
    assert (said.code, said.err) == (0, "")
    assert f"The books are in order: {len(INVARIANTS) + 1} invariants hold." in said.out


async def test_a_violation_is_shown_and_is_exit_code_1(copy: Copy, environment: dict[str, str]) -> None:
    await copy.damage(
        "UPDATE wallet SET available = available + 1 WHERE (tenant_id, seller_account) = ('acme', 'anna')"
    )
    said = await paysaga_command(environment, "audit")
    assert said.code == 1
    assert "wallet:anna:available (acme): its postings sum to" in said.out
    assert "2 violations: the books are not in order." in said.out


async def test_the_audit_as_json(copy: Copy, environment: dict[str, str]) -> None:
    await copy.damage("UPDATE wallet SET available = -1 WHERE (tenant_id, seller_account) = ('acme', 'anna')")
    said = await paysaga_command(environment, "audit", "--json")
    document = json.loads(said.out)
    assert (said.code, document["clean"]) == (1, False)
    violated = {i["code"]: i["violations"] for i in document["invariants"] if i["violations"]}
    assert violated == {"I3": 1, "I12": 1, "P11": 1}


async def test_without_temporal_the_books_are_audited_all_the_same(environment: dict[str, str]) -> None:
    said = await paysaga_command(environment | {"PAYSAGA_TEMPORAL_ADDRESS": "127.0.0.1:1"}, "audit")
    assert said.code == 0
    assert "I17 is left out" in said.out


async def test_without_a_database_there_is_one_sentence(environment: dict[str, str]) -> None:
    said = await paysaga_command(environment | {"PAYSAGA_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, "audit")
    assert said.code == 1
    assert said.err == "paysaga: The database does not answer: is the stack running? See PAYSAGA_DATABASE_URL.\n"
