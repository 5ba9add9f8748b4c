"""A database of an earlier version, filled by the demo: what it is after the migrations of today."""

import gzip
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from config.settings import DEVELOPMENT_API_KEY
from db.core.database import FEW, Database
from db.core.keyring import Keyring
from db.core.migrate import grant_login, migrate
from db.people.reseal import MOVED
from db.reconciliation import file as files
from embedded.stack import EmbeddedStack
from services import keyring as keyrings
from services.audit import audit
from tests.support.databases import drop_database
from tests.support.deployment import Deployment
from tests.support.keys import ring
from tests.support.shop import Shop

DUMP = Path(__file__).with_name("dumps") / "0006.sql.gz"
KEYS = "k1:nkeHSz4rVjzYTxawfOExFCku1EYQagi6vaYqFxgmEgg="  # see dumps/README.md

PAID = "pay_01m8jqv1fs7eg9pcr60qtywhjw"
REFUNDED = "pay_01m8jqv4xzptbzm60gqcp4wgpq"
REFUND = "re_01m8jqv5232jzybgmas0ckxkan"
DISPUTE = "dp_01m8jqv6w2dw8ha94hyddw4yy0"
NET = "480.00"  # of 500.00 at the 4 % of seller_nour
PAYOUT = "pt_01m8jqvscsev5cthcx5eg23r9x"


@pytest.fixture
async def migrated(servers: EmbeddedStack) -> AsyncIterator[tuple[str, dict[str, int]]]:
    """(name of the database, rows of each table before the migration)."""
    name = f"old{secrets.token_hex(4)}"
    await servers.postgres.create_database(name)
    url = servers.postgres.url(name)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(gzip.decompress(DUMP.read_bytes()).decode())
        before = await rows(connection)
    finally:
        await connection.close()
    await migrate(url, revision="0021")
    files = await servers.postgres.sql(FILES, database=name)
    await migrate(url)
    assert await servers.postgres.sql(FILES, database=name) == files, "what was there is a partition, and not a copy"
    await grant_login(url, servers.postgres.url(name, "paysaga"))
    yield name, before
    await drop_database(servers.postgres, name)


FILES = """
    SELECT split_part(relname, '_2', 1), pg_relation_filenode(oid) FROM pg_class
    WHERE relkind = 'r' AND relname ~ '^(ledger_posting|payment_order_transition|outbox|audit_log)(_[0-9]+)?$'
      AND pg_relation_size(oid) > 0
    ORDER BY 1
"""
"""The files of the tables that are partitioned by month."""

MADE_AT = "2026-11-29 04:09:30+00"
"""Something is always under way, and the audit asks for how long: what was in time then is late by today's clock."""


async def stop_the_clock(connection: "asyncpg.Connection[Any]") -> None:
    """Let `now()` be the moment of the dump, for the connections to come."""
    await connection.execute(
        "CREATE SCHEMA clock;"
        "CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql"
        f" AS $$ SELECT timestamptz '{MADE_AT}' $$;"
        f'ALTER DATABASE "{await connection.fetchval("SELECT current_database()")}"'
        " SET search_path = clock, pg_catalog, public"
    )


async def rows(connection: "asyncpg.Connection[Any]") -> dict[str, int]:
    """Table → number of rows."""
    names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name: await connection.fetchval(f'SELECT count(*) FROM public."{name}"') for (name,) in names}


async def test_no_row_is_lost_and_the_books_are_sound(
    servers: EmbeddedStack, migrated: tuple[str, dict[str, int]]
) -> None:
    name, before = migrated
    assert min(before.values()) > 0, "the dump has rows in every table"
    assert sum(before.values()) > 3000
    url = servers.postgres.url(name)
    await migrate(url, action="check")  # raises where the models and the schema differ
    connection = await asyncpg.connect(url)
    try:
        after = await rows(connection)
        tokens = await connection.fetch("SELECT id, token FROM payment WHERE token IS NOT NULL")
        chunks = await connection.fetch("SELECT file_id, data FROM settlement_file_chunk WHERE no = 0 LIMIT 1")
        await stop_the_clock(connection)
    finally:
        await connection.close()
    assert {table: after[table] for table in before} == before
    keyring = Keyring.parse(KEYS)
    assert all(keyring.decrypt(row["token"], bound_to=f"{row['id']}:token").startswith("pm_") for row in tokens)
    database = Database(url, pool_size=FEW)
    try:
        old = await database.read(lambda c: files.chunk(c, keyring, chunks[0]["file_id"], 0))
        assert old == chunks[0]["data"], "files that were kept in clear are still read"
        assert await audit(database) == []
        rotated = await keyrings.rotate(database, keyring)
        assert rotated.done["dispute_evidence.fields"] > 0
        assert {name: rotated.in_use[name] for name in MOVED} == {name: {} for name in MOVED}
        assert await audit(database) == []
    finally:
        await database.close()
    await servers.postgres.sql(f'ALTER DATABASE "{name}" RESET search_path', database=name)
    await migrate(url, action="downgrade", revision="0021")
    await migrate(url)
    connection = await asyncpg.connect(url)
    try:
        assert await rows(connection) | before == await rows(connection), "it can be taken back, and made again"
        await connection.execute(
            "INSERT INTO public.outbox (id, tenant_id, type, schema_version, object_id, payload, at)"
            " VALUES ('evt_new', 'platform', 'x', 1, 'x', '{}', now())"
        )
    finally:
        await connection.close()


async def test_the_application_goes_on(
    servers: EmbeddedStack, migrated: tuple[str, dict[str, int]], tmp_path: Path
) -> None:
    """It shows what was there, and takes a new payment for a seller who was there."""
    name, _ = migrated
    keys = SecretStr(f"{ring(2)},{KEYS}")  # the first is of the servers too, which replay at the end
    deployment = Deployment(servers, tmp_path, f"{name}copy", template=name, encryption_keys=keys, poll_max_s=600.0)
    async with deployment as paysaga:
        shop = Shop(paysaga, "dev", DEVELOPMENT_API_KEY)
        late = await audit(paysaga.database)  # by today's clock

        async def shown(path: str, **parameters: str) -> dict[str, Any]:
            answer = await shop.get(path, **parameters)
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

        payment = await shown(f"/v1/payments/{PAID}")
        assert (payment["status"], payment["amount"], payment["currency"]) == ("SUCCESS", "500.00", "INR")
        explained = await shown(f"/v1/payments/{REFUNDED}/explain")
        assert [refund["amount"] for refund in explained["refunds"]] == ["33.33", "33.33", "33.34"]
        refund = await shown(f"/v1/refunds/{REFUND}")
        assert (refund["status"], refund["amount"], refund["payment_id"]) == ("SUCCEEDED", "33.33", REFUNDED)
        assert (await shown(f"/v1/disputes/{DISPUTE}"))["status"] == "WON"
        payout = await shown(f"/v1/payouts/{PAYOUT}")
        assert (payout["status"], payout["amount"], payout["currency"]) == ("PAID", "2323.20", "EUR")
        wallet = await shown("/v1/wallets/seller_nour")
        assert [(b["currency"], b["available"]) for b in wallet["balances"]] == [("INR", "7531.92")]
        period = {"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z", "currency": "INR"}
        statement = await shown("/v1/merchants/seller_nour/statement", **period)
        assert statement["lines"]
        assert statement["closing"]["available"] == "7531.92"
        for noun in ("disputes", "merchants", "payouts"):
            assert (await shown(f"/v1/{noun}"))["data"], noun

        new = await shop.paid(shop.checkout("after"), orders=[("seller_nour", "500.00")])
        assert (await shop.until(new["id"]))["status"] == "SUCCESS"
        assert (await shown("/v1/wallets/seller_nour"))["balances"][0]["pending"] == NET
        assert [finding for finding in await audit(paysaga.database) if finding not in late] == []
