"""Months of the large tables, in a database of their own that grows older as the tests go on."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg
import pytest
from temporalio.testing import ActivityEnvironment

from activities.sweep import Retention, SweepActivities
from bench import partitions_books
from db import month
from db.audit.audit import INVARIANTS, run_audit
from db.core.database import FEW, Database, LockTimeout
from db.ledger import posting as ledger
from domain.ids import new_id
from domain.ledger import Kind, Transaction, psp_fee
from embedded.stack import EmbeddedStack
from runtime.workflow_client import WorkflowClient
from tests.support.databases import copy_database, drop_database
from tests.support.eventually import eventually

Connection = Any  # asyncpg.Connection is generic in its type stubs alone
TABLES = ("ledger_posting", "payment_order_transition", "outbox", "audit_log")


class Books:
    """A database; `months` is how many of them have begun after the first."""

    def __init__(self, database: Database, owner: Connection, url: str) -> None:
        self.database, self.owner, self.url = database, owner, url
        self.months = 0

    async def post(self, name: str) -> None:
        """Book something at the present month."""
        fee = Transaction(kind=Kind.PSP_FEE, source_id=f"stripe:{name}", postings=psp_fee("stripe", 20, "INR"))
        await self.database.run(lambda c: ledger.post(c, "platform", [fee], datetime.now(UTC)))

    async def turn(self) -> int | None:
        """Begin the next month, as the sweeper does when it comes."""
        begun: int | None = await self.owner.fetchval(
            "SELECT month_begin(make_date(2000 + min(month) / 100, min(month) % 100, 15) + make_interval(months => $1))"
            " FROM month",
            self.months + 1,
        )
        self.months += begun is not None
        return begun

    async def first(self) -> int:
        """The month in which the migration was made."""
        found: int = await self.owner.fetchval("SELECT min(month) FROM month")
        return found

    async def months_of(self, table: str, where: str) -> list[int]:
        """The month of each row's partition."""
        rows = await self.owner.fetch(f"SELECT tableoid::regclass::text FROM {table} WHERE {where} ORDER BY seq")
        return [int(row[0][-4:]) for row in rows]

    async def problems(self, *codes: str) -> list[str]:
        checked = await run_audit(self.database, [one for one in INVARIANTS if one.code in codes])
        return [f"{finding.object_id}: {finding.problem}" for one in checked for finding in one.findings]


@pytest.fixture
async def books(servers: EmbeddedStack) -> AsyncIterator[Books]:
    postgres, name = servers.postgres, f"months{secrets.token_hex(4)}"
    await copy_database(postgres, name)
    database, owner = Database(postgres.url(name, "paysaga"), pool_size=2), await asyncpg.connect(postgres.url(name))
    yield Books(database, owner, postgres.url(name, "paysaga"))
    await owner.close()
    await database.close()
    await drop_database(postgres, name)


async def test_each_month_has_its_rows_and_the_whole_has_all(books: Books) -> None:
    this = await books.first()
    await books.post("before")
    begun = await books.turn()
    await books.post("after")
    assert await books.months_of("ledger_posting", "true") == [this, this, begun, begun]
    numbers = [row["seq"] for row in await books.owner.fetch("SELECT seq FROM ledger_transaction ORDER BY seq")]
    assert [number // month.SIZE for number in numbers] == [0, begun], "the transactions are numbered with them"

    newest = await books.database.read(lambda c: ledger.page(c, "platform", ledger.Wanted(), limit=1))
    rest = await books.database.read(
        lambda c: ledger.page(c, "platform", ledger.Wanted(), before=newest[0].seq, limit=1)
    )
    assert [(t.source_id, len(t.postings)) for t in (*newest, *rest)] == [("stripe:after", 2), ("stripe:before", 2)]
    for name in ("before", "after"):
        read = await books.database.read(lambda c, n=name: ledger.postings_of(c, Kind.PSP_FEE, f"stripe:{n}"))  # type: ignore[misc]
        assert len(read) == 2
    assert await books.turn() is not None
    assert await books.problems("I1", "I2", "I11", "P15") == []


async def test_a_month_begins_once_and_only_where_it_can(books: Books) -> None:
    assert await books.database.run(month.begin) is None, "this month has begun"
    begun = await books.turn()
    books.months -= 1
    assert (await books.turn(), await books.owner.fetchval("SELECT max(month) FROM month")) == (None, begun)
    far = "SELECT month_begin(now() + make_interval(months => $1))"
    assert await books.owner.fetchval(far, month.AHEAD + 1) is None, "it has no partitions"
    await books.post("still")
    assert set(await books.months_of("ledger_posting", "true")) == {begun}


async def test_nobody_is_between_two_numbers_when_a_month_begins(books: Books) -> None:
    """Else a transaction and its postings would be of two months."""
    app = await asyncpg.connect(books.url)
    try:
        async with app.transaction():
            await app.execute(
                "INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)"
                " VALUES ('lt_x', 'platform', 'capture', 'x', now())"
            )
            with pytest.raises(asyncpg.LockNotAvailableError):
                await books.turn()
            await app.execute(
                "INSERT INTO ledger_account (tenant_id, name, currency, kind)"
                " VALUES ('platform', 'bank', 'INR', 'asset'), ('platform', 'suspense', 'INR', 'liability')"
            )
            await app.execute(
                "INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)"
                " VALUES ('platform', 'lt_x', 'bank', 'INR', 5), ('platform', 'lt_x', 'suspense', 'INR', -5)"
            )
    finally:
        await app.close()
    assert await books.turn() is not None
    assert await books.problems("P15") == []


async def test_postings_go_on_while_a_month_begins(books: Books) -> None:
    async def post_many(name: str) -> None:
        for number in range(20):
            await books.post(f"{name}-{number}")

    async def begin() -> None:
        await eventually(lambda: books.owner.fetchval("SELECT count(*) >= 10 FROM ledger_transaction"))
        begun = None
        while begun is None:
            with suppress(asyncpg.LockNotAvailableError):
                begun = await books.turn()

    await asyncio.gather(post_many("a"), post_many("b"), begin())
    assert len(set(await books.months_of("ledger_posting", "true"))) == 2
    assert await books.owner.fetchval("SELECT count(*) FROM ledger_transaction") == 40, "none was refused"
    assert await books.problems("I1", "I11", "P15") == []


async def test_partitions_are_made_ahead_and_a_missing_one_is_told_of(books: Books) -> None:
    assert await books.database.run(month.make_one) is None, "the migration has made them"
    following = await books.owner.fetchval("SELECT month_of(date_trunc('month', now()) + interval '1 month')")
    lost = f"audit_log_{following}"
    await books.owner.execute(f"DROP TABLE months.{lost}")
    assert await books.problems("P15") == [f"{lost}: the partition is missing"]
    assert await books.turn() is None, "the month would have no place for its rows"

    app = await asyncpg.connect(books.url)
    try:
        async with app.transaction():  # somebody writes: a partition is made beside it
            await app.execute(
                "INSERT INTO audit_log (tenant_id, actor, action, object_id, detail)"
                " VALUES ('platform', 'olga', 'task.close', 'task_x', '{}')"
            )
            assert await books.database.run(month.make_one) == f"months.{lost}"
    finally:
        await app.close()
    assert (await books.database.run(month.make_one), await books.problems("P15")) == (None, [])
    assert await books.turn() is not None


async def test_what_was_made_is_as_the_first_one_is(books: Books) -> None:
    """Rules, keys and indexes; and the application reaches no partition but through its table."""
    begun = await books.turn()
    shape = """
        SELECT array(SELECT tgname::text FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal ORDER BY 1),
               array(SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = c.oid ORDER BY 1),
               array(SELECT regexp_replace(pg_get_indexdef(indexrelid), '^.* USING', '') FROM pg_index
                     WHERE indrelid = c.oid ORDER BY 1)
        FROM pg_class c WHERE c.oid = to_regclass($1)
    """
    for table in TABLES:
        this = await books.first()
        first, later = f"months.{table}_{this}", f"months.{table}_{begun}"
        assert await books.owner.fetchrow(shape, first) == await books.owner.fetchrow(shape, later), table
        for part in (first, later):
            assert not await books.owner.fetchval("SELECT has_table_privilege('paysaga', $1, 'SELECT')", part)
            if table != "outbox":
                with pytest.raises(asyncpg.RestrictViolationError):
                    await books.owner.execute(f"TRUNCATE {part}")


async def test_a_lookup_reads_one_month(books: Books) -> None:
    await books.post("before")
    await books.turn()
    query = f"SELECT p.amount FROM ledger_transaction t JOIN ledger_posting p ON {month.OF_TRANSACTION} WHERE t.id = $1"
    found = await books.owner.fetchval("SELECT id FROM ledger_transaction")
    async with books.owner.transaction():
        await books.owner.execute("SET LOCAL enable_hashjoin = off")
        await books.owner.execute("SET LOCAL enable_mergejoin = off")
        await books.owner.execute("SET LOCAL enable_seqscan = off")
        plan = await books.owner.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {query}", found)
    lines = "\n".join(row[0] for row in plan)
    scanned = [line for line in lines.splitlines() if "ledger_posting_" in line and "never executed" not in line]
    assert len(re.findall(r"on ledger_posting_\d{4}", "\n".join(scanned))) == 1, lines


async def test_a_month_that_does_not_begin_is_told_of(books: Books) -> None:
    name = await books.owner.fetchval("SELECT current_database()")
    await books.owner.execute(
        "CREATE SCHEMA clock; GRANT USAGE ON SCHEMA clock TO PUBLIC;"
        " CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql AS"
        " $$ SELECT date_trunc('month', pg_catalog.now(), 'UTC') + interval '1 month 25 hours' $$;"
        f"ALTER DATABASE {name} SET search_path = clock, pg_catalog, public"
    )
    later = Database(books.url, pool_size=FEW)
    try:
        (found,) = await run_audit(later, [one for one in INVARIANTS if one.code == "P15"])
        assert [finding.problem for finding in found.findings] == [
            "the month has not begun: rows go on into the one before"
        ]
        await books.turn()
        (found,) = await run_audit(later, [one for one in INVARIANTS if one.code == "P15"])
        assert found.findings == []
    finally:
        await later.close()


EVENT = """
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    VALUES ($1, 'platform', 'payment_order.created', 1, $2, '{}', $3)
"""
STEP = """
    INSERT INTO payment_order_transition (tenant_id, payment_id, order_id, to_status, reason, actor, at)
    VALUES ('platform', 'pay_x', $1, 'EXECUTING', 'created', 'k', $2)
"""


async def test_the_outbox_goes_by_whole_months_that_nobody_waits_for(books: Books) -> None:
    drop, old = month.drop_oldest_events, timedelta(days=90)
    await books.owner.execute("SET session_replication_role = replica")  # a step without its payment
    at = await books.owner.fetchval("SELECT now()")
    for name, when in (("po_old", at - timedelta(days=200)), ("po_new", at)):
        await books.owner.execute(EVENT, new_id("evt"), name, when)
        await books.owner.execute(STEP, name, when)
        if name == "po_old":
            await books.turn()
    assert await books.problems("P3") == []
    assert await books.database.run(lambda c: drop(c, old)) is None, "it has just ended"
    await books.owner.execute(
        "UPDATE month SET begun_at = now() - interval '91 days' WHERE month = (SELECT max(month) FROM month)"
    )
    await books.owner.execute("INSERT INTO outbox_todo SELECT 1, seq FROM outbox WHERE object_id = 'po_old'")
    assert await books.database.run(lambda c: drop(c, old)) is None, "a sink has still to be given its event"
    await books.owner.execute("DELETE FROM outbox_todo")

    reader = await asyncpg.connect(books.url)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT payload FROM outbox")
            with pytest.raises(LockTimeout):
                await books.database.run(lambda c: drop(c, old))
    finally:
        await reader.close()
    assert await books.database.run(lambda c: drop(c, old)) is not None
    assert [json.loads(row["payload"]) for row in await books.owner.fetch("SELECT payload FROM outbox")] == [{}]
    assert await books.database.run(lambda c: drop(c, old)) is None, "its month has not ended"
    assert await books.problems("P3", "I14", "R8") == [], "the steps of what is gone are not looked for"
    await books.owner.execute("DELETE FROM outbox WHERE object_id = 'po_new'")
    assert await books.problems("P3") == ["po_new: 1 step(s) and 0 event(s) payment_order.created"]


async def test_the_sweeper_does_all_of_it(books: Books) -> None:
    kept = timedelta(days=90)
    sweeper = SweepActivities(
        books.database,
        cast(WorkflowClient, None),  # nothing is in the inbox
        cast(Any, None),
        after_s=60.0,
        retention=Retention(payloads=kept, keys=kept, events=kept),
    )
    before = await books.owner.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'months'::regnamespace")
    following = await books.owner.fetchval("SELECT month_of(date_trunc('month', now()) + interval '1 month')")
    await books.owner.execute(f"DROP TABLE months.outbox_{following}, months.audit_log_{following}")
    await books.owner.execute("INSERT INTO month (month, begun_at) VALUES (9999, now() - interval '91 days')")
    gone = f"months.outbox_{await books.first()}"

    await ActivityEnvironment().run(sweeper.sweep_inbox)
    assert await books.problems("P15") == [f"{gone.removeprefix('months.')}: the partition is missing"]
    assert await books.owner.fetchval("SELECT to_regclass($1)", gone) is None, "its month had ended"
    after = await books.owner.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'months'::regnamespace")
    assert after < before


async def test_the_application_cannot_shorten_what_is_kept(books: Books) -> None:
    with pytest.raises(Exception, match="30 days at least"):
        await books.database.run(lambda c: month.drop_oldest_events(c, timedelta(days=29)))


async def test_the_bench_of_months_fits_the_tables(books: Books) -> None:
    """Its rows, its payments and its lookups, which nobody would miss for weeks."""
    await partitions_books.prepare(books.owner)
    await partitions_books.fill(books.owner, 1, 2)
    await books.owner.execute(partitions_books.WAITING)
    for before, now, _ in partitions_books.QUERIES.values():
        query = (now or before).format(of_transaction=month.OF_TRANSACTION)
        assert (await books.owner.prepare(query)).get_attributes()
    shop = await partitions_books.Shop.opened(books.url)
    await shop.pay(1)
    await shop.database.close()
    assert await books.owner.fetchval("SELECT status FROM payment WHERE tenant_id = 'shop'") == "SUCCESS"
