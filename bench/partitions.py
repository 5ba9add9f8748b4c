"""`python -m bench.partitions`: ten million rows in the large tables, as one table each and in twelve months.

It measures how lookups are made in either, what the migration of the filled tables takes, what a payment costs beside
what it made one month of and beside the twelve, and what it takes to make, begin and drop a month.
`PAYSAGA_BENCH_ROWS` (10000000) makes it another size. JSON at the end; exit code 1 where a lookup reads months that it
need not, or the audit of the months finds something.
"""

# ruff: noqa: S608 - the queries are put together from constants of these files

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import asyncpg
from rich.console import Console
from rich.table import Table

from bench import partitions_books as books
from bench.costs import Processes
from db import month
from db.audit.audit import INVARIANTS, run_audit
from db.core.database import Database
from db.core.migrate import grant_login, migrate
from embedded.errors import StackError
from embedded.stack import EmbeddedStack, free_settings
from services.audit import DATABASE_TIMEOUT_S

T = TypeVar("T")

MONTHS = 12
_ROUNDS, _PAYMENTS, _WARM = 24, 50, 150
_WHOLE, _PARTED = "whole", "parted"


@dataclass(frozen=True)
class Lookup:
    """One query. `months`: the partitions that were read, without those of months to come; `blocks`: pages of 8 kB;
    `indexes`: whether nothing was read but through one."""

    name: str
    months: int
    blocks: int
    plan_ms: float
    run_ms: float
    indexes: bool


@dataclass
class Report:
    """The measurements; times in seconds unless their name says milliseconds, CPU in milliseconds a payment."""

    rows: int
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    migration_s: float = 0.0
    times_s: dict[str, float] = field(default_factory=dict)
    cpu_ms: dict[str, float] = field(default_factory=dict)
    lookups: dict[str, list[Lookup]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """One sentence for each thing that is not as it should be."""
        found = list(self.findings)
        found += [f"{one.name} reads a table from end to end" for one in self.lookups[_PARTED] if not one.indexes]
        one_month = {"postings of a transaction", "postings of a seller since a number", "audit log, newest page"}
        found += [
            f"{one.name} reads {one.months} months"
            for one in self.lookups[_PARTED]
            if one.name in one_month and one.months > 1
        ]
        return found


async def run(rows: int, console: Console) -> Report:
    report = Report(rows)
    with tempfile.TemporaryDirectory(prefix="paysaga-bench-", ignore_cleanup_errors=True) as folder:
        async with EmbeddedStack(free_settings(Path(folder) / "home"), pieces={"postgres"}) as stack:
            console.print(f"{rows:,} rows, a table each, and in {MONTHS} months …")
            whole, parted = await _opened(stack, _WHOLE, revision="0021"), await _opened(stack, _PARTED)
            await asyncio.gather(_fill_whole(whole, rows), _fill_months(parted, rows, report))
            for name, owner in ((_WHOLE, whole), (_PARTED, parted)):
                report.lookups[name] = await _lookups(owner, rows // books.ROWS, is_parted=name == _PARTED)
            report.sizes = await _sizes(parted)
            _show_lookups(report, console)
            await whole.close()
            report.migration_s = await _timed(migrate(stack.postgres.url(_WHOLE)))
            console.print(f"migration of the filled tables: {report.migration_s:.1f} s")
            report.cpu_ms = await _payments(stack)
            console.print(
                "PostgreSQL, CPU ms a payment: " + ", ".join(f"{k} {v:.2f}" for k, v in report.cpu_ms.items())
            )
            await _audited(stack, report)
            await _retention(parted, report)
            for what, seconds in report.times_s.items():
                console.print(f"{what}: {1000 * seconds:,.0f} ms")
            await parted.close()
    return report


async def _opened(stack: EmbeddedStack, name: str, *, revision: str = "head") -> asyncpg.Connection:
    await stack.postgres.create_database(name)
    url = stack.postgres.url(name)
    await migrate(url, revision=revision)
    await grant_login(url, stack.postgres.url(name, "paysaga"))
    owner = await asyncpg.connect(url)
    await books.prepare(owner)
    return owner


async def _timed(work: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _done(owner: asyncpg.Connection, statement: str, *values: Any) -> float:
    """The time of it, once it gets its locks: autovacuum has them now and then, and a sweep tries again as well."""
    while True:
        try:
            return await _timed(owner.fetchval(statement, *values))
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(1.0)


async def _fill_whole(owner: asyncpg.Connection, rows: int) -> None:
    await books.fill(owner, 1, rows // books.ROWS)
    await owner.execute("VACUUM ANALYZE")


async def _fill_months(owner: asyncpg.Connection, rows: int, report: Report) -> None:
    """As many payments in each month; the first is this one, and the last is the present then."""
    each = rows // books.ROWS // MONTHS
    making, beginning = [], []
    for n in range(MONTHS):
        if n:
            ahead = "now() + make_interval(months => $1)"
            make = f"SELECT month_make({ahead}, {month.AHEAD})"
            making += [await _done(owner, make, n) for _ in books.TABLES]
            beginning.append(await _done(owner, f"SELECT month_begin({ahead})", n))
        await books.fill(owner, n * each + 1, (n + 1) * each)
    await owner.execute(books.WAITING)
    await owner.execute("VACUUM ANALYZE")
    report.times_s |= {"make a partition": median(making), "begin a month": median(beginning)}


# --- lookups ---


async def _lookups(owner: asyncpg.Connection, payments: int, *, is_parted: bool) -> list[Lookup]:
    """Each of a row in the middle, or of the newest ones."""
    middle = f"{payments // 2:026x}"
    newest = await owner.fetchval("SELECT max(seq) FROM ledger_posting")
    latest = await owner.fetchval("SELECT max(month) FROM month") if is_parted else 0
    values: Mapping[str, Any] = {
        "lt": f"lt_{middle}",
        "pay": f"pay_{middle}",
        "zero": 0,
        "end": 2**62,
        "recent": newest - payments // 10,
    }
    found = []
    for name, (whole, parted, value) in books.QUERIES.items():
        query = (parted or whole) if is_parted else whole
        query = query.format(of_transaction=month.OF_TRANSACTION)
        explained = []
        for _ in range(3):  # the first reads from the disk, and reads the catalog
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
            explained.append(json.loads(await owner.fetchval(explain, values[value]))[0])
        found.append(_lookup(name, explained[-1], latest))
    return found


def _lookup(name: str, explained: dict[str, Any], latest: int) -> Lookup:
    nodes = list(_nodes(explained["Plan"]))
    scans = [node for node in nodes if "Relation Name" in node and node["Actual Loops"] > 0]
    large = {node["Relation Name"] for node in scans if node["Relation Name"].startswith(books.TABLES)}
    to_come = {one for one in large if one[-4:].isdigit() and int(one[-4:]) > latest}
    return Lookup(
        name,
        months=len(large - to_come),
        blocks=explained["Plan"]["Shared Hit Blocks"] + explained["Plan"]["Shared Read Blocks"],
        plan_ms=explained["Planning Time"],
        run_ms=explained["Execution Time"],
        indexes=all(node["Node Type"] != "Seq Scan" or not node["Actual Rows"] for node in scans),
    )


def _nodes(plan: dict[str, Any]) -> "list[dict[str, Any]]":
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


async def _sizes(owner: asyncpg.Connection) -> dict[str, dict[str, int]]:
    """Bytes by table: in all, of one month in the middle, and of each index."""
    sizes = {}
    for table in books.TABLES:
        months = await owner.fetch(
            "SELECT inhrelid, pg_total_relation_size(inhrelid) AS size, pg_indexes_size(inhrelid) AS indexes"
            f" FROM pg_inherits WHERE inhparent = '{table}'::regclass ORDER BY inhrelid::regclass::text"
        )
        sizes[table] = {
            "all": sum(row["size"] for row in months),
            "indexes": sum(row["indexes"] for row in months),
            "month": months[MONTHS // 2]["size"],
        }
    return sizes


# --- what a payment costs ---


async def _payments(stack: EmbeddedStack) -> dict[str, float]:
    """PostgreSQL's CPU a payment, in many short rounds by turns: beside what the migration made one month of, and
    beside as many rows in twelve; medians, and that of the ratios of each round."""
    shops = {name: await books.Shop.opened(stack.postgres.url(name, "paysaga")) for name in (_WHOLE, _PARTED)}
    processes = Processes({"postgres": stack.pid_of("postgres")})
    costs: dict[str, list[float]] = {name: [] for name in shops}
    n = 0
    try:
        for number in range(_ROUNDS + 1):
            for name in list(shops) if number % 2 else reversed(list(shops)):
                before = processes.cpu_s()["postgres"]
                for _ in range(_PAYMENTS if number else _WARM):
                    n += 1
                    await shops[name].pay(n)
                if number:
                    costs[name].append(1000 * (processes.cpu_s()["postgres"] - before) / _PAYMENTS)
                else:  # a shop that was opened just now has no statistics
                    await stack.postgres.sql(f"ANALYZE {', '.join(books.OF_A_SHOP)}", database=name)
    finally:
        for shop in shops.values():
            await shop.database.close()
    ratio = median(parted / whole for whole, parted in zip(costs[_WHOLE], costs[_PARTED], strict=True))
    return {**{name: round(median(values), 3) for name, values in costs.items()}, "ratio": round(ratio, 3)}


# --- the end ---


async def _retention(owner: asyncpg.Connection, report: Report) -> None:
    """The oldest month of the outbox goes; then as many rows are deleted, for comparison, one by one."""
    oldest = await owner.fetchval("SELECT min(seq) FROM outbox")
    bound = (await owner.fetchval("SELECT month_of(now() + interval '1 month')")) * month.SIZE
    count = await owner.fetchval("SELECT count(*) FROM outbox WHERE seq BETWEEN $1 AND $2", oldest, bound)
    await owner.execute("UPDATE month SET begun_at = now() - interval '100 days'")
    report.times_s[f"drop a month of {count:,} events"] = await _done(
        owner, "SELECT month_drop_outbox(interval '90 days')"
    )

    async def deleted() -> None:
        await owner.execute("DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT $1)", count)
        await owner.execute("VACUUM outbox")

    report.times_s["delete as many, and vacuum"] = await _timed(deleted())


async def _audited(stack: EmbeddedStack, report: Report) -> None:
    for name in (_WHOLE, _PARTED):
        database = Database(stack.postgres.url(name, "paysaga"), pool_size=1, timeout_s=DATABASE_TIMEOUT_S)
        try:
            checked = await run_audit(database, [one for one in INVARIANTS if one.code == "P15"])
            report.findings += [f"{name}: {finding}" for one in checked for finding in one.findings]
        finally:
            await database.close()


# --- what is shown ---


def _show_lookups(report: Report, console: Console) -> None:
    table = Table(title=f"{report.rows:,} rows: one table, {MONTHS} months", box=None)
    for heading in ("lookup", "blocks", "plan", "ms", "months", "blocks", "plan", "ms"):
        table.add_column(heading, justify="left" if heading == "lookup" else "right", no_wrap=True)
    for whole, parted in zip(report.lookups[_WHOLE], report.lookups[_PARTED], strict=True):
        cells = (f"{whole.blocks:,}", f"{whole.plan_ms:.2f}", f"{whole.run_ms:.2f}", f"{parted.months}")
        table.add_row(whole.name, *cells, f"{parted.blocks:,}", f"{parted.plan_ms:.2f}", f"{parted.run_ms:.2f}")
    console.print(table)
    for name, of in report.sizes.items():
        console.print(f"{name}: " + ", ".join(f"{what} {size / 1e6:,.0f} MB" for what, size in of.items()))


def main() -> None:
    console = Console()
    rows = int(os.environ.get("PAYSAGA_BENCH_ROWS", "10000000"))
    try:
        report = asyncio.run(run(rows, console))
    except StackError as problem:
        sys.exit(f"bench: {problem}")
    problems = report.problems()
    for line in problems:
        console.print(f"[red]{line}[/red]")
    print(json.dumps(asdict(report) | {"problems": problems}))  # noqa: T201
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
