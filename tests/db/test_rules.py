"""The rules that PostgreSQL enforces by itself, tried with the application's own login."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from domain.ids import new_id
from embedded.stack import EmbeddedStack
from tests.support.databases import copy_database

Connection = Any  # asyncpg.Connection is generic in its type stubs alone


@pytest.fixture(scope="module")
async def database(servers: EmbeddedStack) -> str:
    await copy_database(servers.postgres, "rules")
    return "rules"


@pytest.fixture
async def app(servers: EmbeddedStack, database: str) -> AsyncIterator[Connection]:
    """The application's login."""
    connection = await asyncpg.connect(servers.postgres.url(database, "paysaga"))
    yield connection
    await connection.close()


@pytest.fixture
async def owner(servers: EmbeddedStack, database: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(servers.postgres.url(database))
    yield connection
    await connection.close()


async def post(
    connection: Connection, *lines: tuple[str, str, int], source: str | None = None, kind: str = "capture"
) -> str:
    """One ledger transaction with its lines, in a database transaction of its own."""
    identity = new_id("lt")
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)"
            " VALUES ($1, 'platform', $2, $3, now())",
            identity,
            kind,
            source or identity,
        )
        for account, currency, amount in lines:
            await line(connection, identity, account, currency, amount)
    return identity


async def line(connection: Connection, transaction: str, account: str, currency: str, amount: int) -> None:
    await connection.execute(
        "INSERT INTO ledger_account (tenant_id, name, currency, kind) VALUES ('platform', $1, $2, 'asset')"
        " ON CONFLICT DO NOTHING",
        account,
        currency,
    )
    await connection.execute(
        "INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)"
        " VALUES ('platform', $1, $2, $3, $4)",
        transaction,
        account,
        currency,
        amount,
    )


async def test_a_balanced_transaction_is_accepted(app: Connection) -> None:
    identity = await post(app, ("bank", "INR", 500), ("suspense", "INR", -500), ("bank", "EUR", 3), ("x", "EUR", -3))
    assert await app.fetchval("SELECT count(*) FROM ledger_posting WHERE transaction_id = $1", identity) == 4


@pytest.mark.parametrize(
    "lines",
    [
        [("bank", "INR", 500), ("suspense", "INR", -499)],
        [("bank", "INR", 500), ("suspense", "EUR", -500)],
        [("bank", "INR", 500)],
        [],
    ],
)
async def test_an_unbalanced_transaction_is_refused_at_commit(app: Connection, lines: list[Any]) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await post(app, *lines)


async def test_a_line_of_zero_is_refused(app: Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await post(app, ("bank", "INR", 0), ("suspense", "INR", 0))


async def test_a_fact_is_booked_once(app: Connection) -> None:
    await post(app, ("bank", "INR", 1), ("suspense", "INR", -1), source="po_1")
    with pytest.raises(asyncpg.UniqueViolationError):
        await post(app, ("bank", "INR", 1), ("suspense", "INR", -1), source="po_1")


async def test_nobody_adds_lines_to_a_committed_transaction(app: Connection, owner: Connection) -> None:
    identity = await post(app, ("bank", "INR", 1), ("suspense", "INR", -1))
    for connection in (app, owner):
        with pytest.raises(asyncpg.RestrictViolationError):
            async with connection.transaction():
                await line(connection, identity, "bank", "INR", 7)
                await line(connection, identity, "suspense", "INR", -7)


async def test_a_line_needs_its_account_in_that_currency(app: Connection) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with app.transaction():
            await app.execute(
                "INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)"
                " VALUES ('lt_x', 'platform', 'capture', 'x', now())"
            )
            await app.execute(
                "INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)"
                " VALUES ('platform', 'lt_x', 'nowhere', 'INR', 1)"
            )


@pytest.mark.parametrize(
    "table", ["ledger_transaction", "ledger_posting", "ledger_account", "payment_order_transition", "audit_log"]
)
async def test_what_is_written_stays(app: Connection, owner: Connection, table: str) -> None:
    await post(app, ("bank", "INR", 1), ("suspense", "INR", -1))
    column = {"audit_log": "actor", "payment_order_transition": "reason", "ledger_account": "kind"}.get(
        table, "tenant_id"
    )
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)
    if table == "audit_log":
        columns = "tenant_id, actor, action, object_id, detail"
        await app.execute(f"INSERT INTO audit_log ({columns}) VALUES ('platform', 'a', 'b', 'c', '{{}}')")
    if table.startswith("ledger") or table == "audit_log":
        for statement in (
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
        ):
            with pytest.raises(asyncpg.RestrictViolationError):
                await owner.execute(statement)


async def test_a_note_alone_can_be_forgotten_in_the_audit_log(app: Connection, owner: Connection) -> None:
    columns = "tenant_id, actor, action, object_id, detail"
    values = """'platform', 'olga', 'task.close', 'task_forget', '{"kind": "stuck", "note": "Asha rang"}'"""
    await app.execute(f"INSERT INTO audit_log ({columns}) VALUES ({values})")
    for login, refusal in ((app, asyncpg.InsufficientPrivilegeError), (owner, asyncpg.RestrictViolationError)):
        await login.execute("SET paysaga.forgetting = 'on'")
        with pytest.raises(refusal):
            await login.execute("UPDATE audit_log SET actor = 'bo', detail = '{}' WHERE object_id = 'task_forget'")
        await login.execute("RESET paysaga.forgetting")
    for changed in (1, 0):
        assert await app.fetchval("SELECT forget_notes(ARRAY['task_forget'])") == changed
    row = await owner.fetchrow("SELECT actor, detail FROM audit_log WHERE object_id = 'task_forget'")
    assert (row["actor"], json.loads(row["detail"])) == ("olga", {"kind": "stuck", "note": "forgotten"})


OF_A_TIME = ("idempotency_key", "person_email", "outbox_todo", "notification_setting")
"""Keys whose time is over, the addresses of who is forgotten, the notes of what is still to be published, and settings
that no longer hold, which the audit log keeps."""


async def test_the_application_deletes_nothing_anywhere_else(app: Connection, owner: Connection) -> None:
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in [row["tablename"] for row in tables]:
        if table not in OF_A_TIME:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(f"DELETE FROM {table}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(f"TRUNCATE {table}")


PLATFORM_WIDE = (
    "payout_run", "payout_trace", "ledger_seal", "ledger_seal_row", "reconciliation_line", "settlement_file_chunk",
    "login_throttle", "month", "event_sink", "outbox_todo",
)  # fmt: skip
"""One run pays the sellers of all tenants, one chain seals the whole ledger, tenants share one account at the PSP, one
broker has everybody's events."""


async def test_every_other_table_has_a_tenant(owner: Connection) -> None:
    without = await owner.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        f" AND tablename NOT IN {('tenant', 'alembic_version', *PLATFORM_WIDE)}"
        " EXCEPT SELECT table_name FROM information_schema.columns"
        " WHERE column_name = 'tenant_id' AND is_nullable = 'NO'"
    )
    assert [row["tablename"] for row in without] == []


async def test_an_end_is_an_end_and_an_amount_is_fixed(app: Connection, owner: Connection) -> None:
    await owner.execute(
        "INSERT INTO payment (id, tenant_id, buyer_id, amount, currency, status, psp, method, token,"
        " on_partial_failure, metadata) VALUES ('pay_1', 'platform', 'b', 100, 'INR', 'FAILED', 'stripe', 'card',"
        " '', 'compensate_all', '{}')"
    )
    with pytest.raises(asyncpg.RestrictViolationError):
        await app.execute("UPDATE payment SET status = 'SUCCESS' WHERE id = 'pay_1'")
    with pytest.raises(asyncpg.RestrictViolationError):
        await app.execute("UPDATE payment SET amount = 1 WHERE id = 'pay_1'")
