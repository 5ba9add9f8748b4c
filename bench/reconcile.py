"""`python -m bench.reconcile`: a settlement file of a million lines against a million charges, with a thousand planted
discrepancies. Exactly those have to be found, in bounded memory, and a line must not cost more among many than it does
among few. The same then for a fraction of the lines that carry only the PSP's names, which are looked up one by one.

`PAYSAGA_BENCH_LINES` (`100000,1000000`) and `PAYSAGA_BENCH_BREAKS` (1000) make it another size. JSON at the end.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table
from temporalio.testing import ActivityEnvironment

from activities.reconciliation import ReconciliationActivities
from bench import reconcile_books as books
from db.core.database import Database
from db.core.keyring import Keyring
from db.core.migrate import grant_login, migrate
from db.reconciliation import file as reconciliation_file
from db.reconciliation import run as reconciliation
from db.reconciliation.record import Item
from domain.reconciliation.reconciliation import LineClass, NewRun, RunStep, Source, Staged, StageStep, Subject
from embedded.errors import StackError
from embedded.stack import EmbeddedStack, free_settings
from runtime.workflow_client import WorkflowClient

MEMORY_MAX_MB = 512.0
GROWTH_MAX = 1.25
NAMELESS = (50, 10)
"""Of the largest size, so small parts are matched by the PSP's names alone."""
_TIMEOUT_S = 1_800.0


@dataclass(frozen=True)
class Measured:
    """One size. `named`: the lines carry our ids. `wrong`: what was found and not planted, or planted and not found, by
    class and name."""

    orders: int
    named: bool
    lines: int
    planted: int
    found: int
    stage_s: float
    match_s: float
    peak_mb: float
    counts: dict[str, int]
    wrong: list[str] = field(default_factory=list)

    @property
    def total_s(self) -> float:
        return self.stage_s + self.match_s

    @property
    def line_us(self) -> float:
        return 1e6 * self.total_s / max(1, self.lines)


@dataclass(frozen=True)
class Report:
    """The measurements of all sizes."""

    sizes: list[Measured]

    def growth(self, *, named: bool) -> float:
        """The cost of a line in the largest file, by its cost in the smallest."""
        costs = [m.line_us for m in self.sizes if m.named is named]
        return costs[-1] / costs[0] if costs else 1.0

    def problems(self) -> list[str]:
        """One sentence for each thing that is not as it should be."""
        found = [f"{m.orders:,} orders: {wrong}" for m in self.sizes for wrong in m.wrong[:10]]
        found += [f"{m.orders:,} orders: {m.peak_mb:.0f} MB" for m in self.sizes if m.peak_mb >= MEMORY_MAX_MB]
        for named in (True, False):
            # A small file is a matter of milliseconds: what a line costs there says nothing.
            timing = min((m.orders for m in self.sizes if m.named is named), default=0) >= (50_000 if named else 20_000)
            growth = self.growth(named=named)
            if timing and growth > GROWTH_MAX:
                found.append(f"a line {'' if named else 'without our id '}costs {growth:.2f} times as much among many")
        return found


async def measure(stack: EmbeddedStack, folder: Path, orders: int, breaks: int, *, named: bool = True) -> Measured:
    """Load the books and the file of one size, then stage and match as a worker does."""
    name = f"reconcile_{orders}_{'named' if named else 'nameless'}"
    await stack.postgres.create_database(name)
    owner_url, url = stack.postgres.url(name), stack.postgres.url(name, "paysaga")
    await migrate(owner_url)
    await grant_login(owner_url, url)
    planted = books.plant(orders, breaks)
    await books.load(owner_url, planted)
    database = Database(url, pool_size=2)
    try:
        return await _measure(database, folder / f"{name}.csv", planted, named=named)
    finally:
        await database.close()


async def _measure(database: Database, path: Path, planted: books.Planted, *, named: bool) -> Measured:
    await asyncio.to_thread(books.write_file, path, planted, named=named)
    keyring = Keyring({"bench": bytes(32)})
    file_id, _ = await reconciliation_file.store(
        database, keyring, "bench", Subject.PSP, path.name, "bench", _chunks(path)
    )
    new = NewRun(
        key=f"bench-{planted.orders}",
        tenant_id="bench",
        psp="stripe",
        subject=Subject.PSP,
        source=Source.FILE,
        file_id=file_id,
        window_from=books.WINDOW[0],
        window_to=books.WINDOW[1],
        apply=False,
        by="bench",
        at=books.AT,
    )
    run_id = (await database.run(lambda c: reconciliation.open_run(c, new)))["id"]
    await asyncio.to_thread(path.unlink)
    worker = ReconciliationActivities(
        database,
        {},
        cast(WorkflowClient, None),  # nothing is fixed here
        keyring,
        booking_grace_s=books.BOOKING_GRACE_S,
        listing_grace_s=books.LISTING_GRACE_S,
        bank_days=5,
        page_timeout_s=1,
        match_timeout_s=_TIMEOUT_S,
    )
    environment = ActivityEnvironment()
    began = time.perf_counter()
    staged: Staged = await environment.run(worker.stage_from_file, StageStep(run_id=run_id))
    assert staged.done, staged
    middle = time.perf_counter()
    await environment.run(worker.match_lines, RunStep(run_id=run_id, at=books.AT))
    end = time.perf_counter()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * (1024 if sys.platform == "darwin" else 1))
    found, counts = await _found(database, run_id)
    return Measured(
        orders=planted.orders,
        named=named,
        lines=staged.lines,
        planted=len(planted.expected),
        found=len(found),
        stage_s=middle - began,
        match_s=end - middle,
        peak_mb=peak_mb,
        counts=counts,
        wrong=[
            *(f"not found: {cls} {name}" for cls, name in sorted(planted.expected - found)),
            *(f"not planted: {cls} {name}" for cls, name in sorted(found - planted.expected)),
        ],
    )


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1_000_000):
            yield chunk


async def _found(database: Database, run_id: str) -> tuple[frozenset[tuple[str, str]], dict[str, int]]:
    """(class, our object or the line) of every item that is a break."""
    found: set[tuple[str, str]] = set()
    after, items = 0, 0
    while page := await database.read(lambda c, a=after: reconciliation.items(c, None, run_id, after=a, limit=500)):  # type: ignore[misc]
        broken = [(row.cls.value, _name(row)) for row in page if row.cls is not LineClass.MATCHED]
        items += len(broken)
        found |= set(broken)
        after = page[-1].seq
    assert items == len(found), f"{items} items for {len(found)} breaks"
    counts: dict[str, int] = (await database.read(lambda c: reconciliation.get(c, run_id)))["counts"]
    return frozenset(found), counts


def _name(row: Item) -> str:
    by_line = row.cls is LineClass.DUPLICATE or row.object_id is None
    return str(row.line_reference if by_line else row.object_id)


async def run(sizes: list[int], breaks: int, console: Console) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedStack(free_settings(Path(folder) / "home"), pieces={"postgres"}) as stack:
            measured = []
            for orders in sizes:
                console.print(f"{orders:,} orders …")
                measured.append(await measure(stack, Path(folder), orders, breaks))
            for part in NAMELESS:
                orders = max(sizes) // part
                console.print(f"{orders:,} orders by the PSP's names …")
                measured.append(await measure(stack, Path(folder), orders, min(breaks, orders // 10), named=False))
    return Report(measured)


def show(report: Report, console: Console) -> None:
    table = Table(title="Reconciliation of a settlement file, per size", box=None)
    for heading in ("lines", "by", "planted", "found", "wrong", "copy s", "match s", "µs a line", "peak MB"):
        table.add_column(heading, justify="left" if heading == "by" else "right", no_wrap=True)
    for m in report.sizes:
        by = "our ids" if m.named else "its names"
        cells = (f"{m.lines:,}", by, f"{m.planted:,}", f"{m.found:,}", f"{len(m.wrong):,}", f"{m.stage_s:.1f}")
        table.add_row(*cells, f"{m.match_s:.1f}", f"{m.line_us:.1f}", f"{m.peak_mb:.0f}")
    console.print(table)
    for m in report.sizes:
        classes = Counter(m.counts)
        console.print(f"{m.lines:,} lines: " + ", ".join(f"{classes[c]:,} {c}" for c in LineClass))


def main() -> None:
    console = Console()
    sizes = [int(size) for size in os.environ.get("PAYSAGA_BENCH_LINES", "100000,1000000").split(",")]
    breaks = int(os.environ.get("PAYSAGA_BENCH_BREAKS", "1000"))
    try:
        report = asyncio.run(run(sizes, breaks, console))
    except StackError as problem:
        sys.exit(f"bench: {problem}")
    show(report, console)
    problems = report.problems()
    for line in problems:
        console.print(f"[red]{line}[/red]")
    sizes_json = [asdict(m) | {"line_us": m.line_us} for m in report.sizes]
    growth = {name: report.growth(named=named) for name, named in (("named", True), ("nameless", False))}
    print(json.dumps({"sizes": sizes_json, "growth": growth, "problems": problems}))  # noqa: T201
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
