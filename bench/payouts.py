"""`python -m bench.payouts`: a payout run over ten thousand sellers, whose worker is killed twice in the middle. Each
has to be paid exactly once, and a second run of the same date must pay nothing.

`PAYSAGA_BENCH_SELLERS` (10000) makes it another size. JSON at the end.
"""

import asyncio
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from temporalio.client import Client, WorkflowHandle

from bench import payouts_books as books
from bench.costs import CounterReader, Histories, read_histories
from bench.leaving import leave_after
from bench.payouts_cost import Meter, Spent
from db.audit.audit import audit_database
from db.core.database import Database
from domain.ids import payout_workflow_id
from domain.payout import PAYOUT_RUN_WORKFLOW
from embedded.errors import StackError
from embedded.stack import EmbeddedStack, free_settings
from runtime.runs import payout_run_input
from runtime.temporal import connect
from runtime.wiring import keyring_of

DATE = date(2026, 1, 31)
RAISED = {
    "stripe_rate_per_s": 10_000.0,
    "stripe_concurrency_max": 1_000,
    "payout_rate_per_s": 1_000.0,
    "sweep_every_s": 15.0,
    "sweep_after_s": 15.0,
    "api_worker": False,  # the worker that is killed is the only one
}
KILLED_AT = (0.25, 0.75)
"""Of the payouts, when the worker is killed."""

_PATIENCE_S = 180.0
_AUDIT_TIMEOUT_S = 300.0
_LOOK_S = 0.25
_HISTORIES = 20
"""So many payouts' histories are counted."""


@dataclass
class Report:
    """`made_s`: until the run had made every payout; `paid_s`: until each was at the seller's bank. `spent`: by payout,
    until then."""

    sellers: int
    kills: int
    made_s: float
    paid_s: float
    psp_calls: dict[str, int]
    spent: Spent
    histories: Histories | None
    problems: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return self.sellers / self.paid_s


@dataclass
class Bench:
    """A running stack with its sellers."""

    stack: EmbeddedStack
    database: Database
    temporal: Client
    psp: books.Psp
    meter: Meter
    count: int
    console: Console
    kills: int = 0

    async def measure(self) -> Report:
        """Run the payouts twice, killing the worker in between, and compare both sides."""
        await self.meter.begin()
        began = time.monotonic()
        handle = await self._start("first")
        for part in KILLED_AT:
            await self._until(int(self.count * part), "TRUE", "made")
            await self._kill()
        made: dict[str, Any] = await handle.result()
        made_s = time.monotonic() - began
        self.console.print(
            f"the run has ended after {made_s:.1f} s; {made['payouts']:,} by attempts that were not killed"
        )
        await self._until(self.count, "status = 'PAID'", "paid")
        paid_s = time.monotonic() - began
        spent = await self.meter.end(self.count)
        problems = await self._second_run()
        log = await self.psp.log()
        problems += await self._compared(log)
        calls = Counter(request["operation"] for request in log["requests"])
        return Report(
            sellers=self.count,
            kills=self.kills,
            made_s=made_s,
            paid_s=paid_s,
            psp_calls=dict(sorted(calls.items())),
            spent=spent,
            histories=await self._histories(),
            problems=problems,
        )

    async def _histories(self) -> Histories | None:
        """Of some payouts that no kill has touched, if the last ones are."""
        last = await self._rows(f"SELECT id FROM payout ORDER BY seq DESC LIMIT {_HISTORIES}")  # noqa: S608 - a constant
        return await read_histories(self.temporal, [payout_workflow_id(row["id"]) for row in last])

    async def _start(self, name: str) -> WorkflowHandle[Any, Any]:
        settings = self.stack.settings
        inp = payout_run_input(settings).model_copy(update={"business_date": DATE, "by": "bench"})
        queue = settings.temporal_task_queue
        return await self.temporal.start_workflow(PAYOUT_RUN_WORKFLOW, inp, id=f"bench-{name}", task_queue=queue)

    async def _until(self, wanted: int, condition: str, what: str) -> None:
        most, since_s = -1, time.monotonic()
        while (found := await self._counted(condition)) < wanted:
            if found > most:
                most, since_s = found, time.monotonic()
            if time.monotonic() > since_s + _PATIENCE_S:
                raise StackError(f"{found:,} of {wanted:,} payouts are {what}, and no more for {_PATIENCE_S:.0f} s.")
            await asyncio.sleep(_LOOK_S)
        self.console.print(f"{found:,} payouts {what}")

    async def _counted(self, condition: str) -> int:
        (row,) = await self._rows(f"SELECT count(*) AS n FROM payout WHERE {condition}")  # noqa: S608 - our own words
        return int(row["n"])

    async def _rows(self, query: str) -> Sequence[Any]:
        return await self.database.read(lambda c: books.rows(c, query))

    async def _kill(self) -> None:
        """SIGKILL; the stack starts another one."""
        self.meter.note()
        os.kill(self.stack.pid_of("worker"), signal.SIGKILL)
        self.kills += 1
        self.console.print("the worker is killed")

    async def _second_run(self) -> list[str]:
        """With new money in every wallet, which is the next date's."""
        await books.fund(self.database, self.count, "second")
        second: dict[str, Any] = await (await self._start("second")).result()
        return [f"a second run of the date made {second['payouts']:,} payouts"] if second["payouts"] else []

    async def _compared(self, log: dict[str, list[dict[str, Any]]]) -> list[str]:
        """Our rows, the PSP's log, and the invariants."""
        ours = await self._rows("SELECT id, seller_account, amount FROM payout")
        problems = []
        per_seller = Counter(row["seller_account"] for row in ours)
        if per_seller != Counter(books.sellers(self.count)):
            problems.append(f"{len(ours):,} payouts for {len(per_seller):,} of {self.count:,} sellers")
        wanted = Counter((row["id"], books.AMOUNT) for row in ours)
        for kind in ("transfers", "payouts"):
            found = Counter((one["metadata"]["paysaga_payout"], one["amount"]) for one in log[kind])
            if found != wanted:
                wrong = (found - wanted) + (wanted - found)
                problems.append(f"{kind} at the PSP: {wrong.total():,} too many or too few, such as {list(wrong)[:3]}")
        if log["transfer_reversals"]:
            problems.append(f"{len(log['transfer_reversals']):,} transfers were taken back")
        return problems + [f"{finding}" for finding in await audit_database(self.database)]


async def run(count: int, console: Console) -> Report:
    """Start a stack of its own, fund the sellers, measure."""
    for name in [name for name in os.environ if name.startswith("PAYSAGA_")]:
        del os.environ[name]  # no real PSP, database or cluster is ever touched
    async with AsyncExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="paysaga-bench-", ignore_cleanup_errors=True))
        stack = await opened.enter_async_context(EmbeddedStack(free_settings(Path(folder) / "home", **RAISED)))
        assert stack.settings.database_url is not None, "the stack has a database"
        url = stack.settings.database_url.get_secret_value()
        database = Database(url, pool_size=2, timeout_s=_AUDIT_TIMEOUT_S, application="bench")
        opened.push_async_callback(database.close)
        psp = books.Psp(stack.sandbox_url)
        opened.push_async_callback(psp.close)
        await psp.has_money_enough()
        await books.create_sellers(database, count)
        await books.fund(database, count, "first")
        console.print(f"{count:,} sellers are due")
        counters = await CounterReader.connect(stack.postgres.url("postgres"))
        opened.push_async_callback(counters.close)
        temporal = await connect(stack.settings, keyring_of(stack.settings))
        return await Bench(stack, database, temporal, psp, Meter(stack, counters), count, console).measure()


def show(report: Report, console: Console) -> None:
    """Print the report."""
    console.print(
        f"{report.sellers:,} sellers paid in {report.paid_s:.1f} s, {report.per_s:.1f} a second; the worker was killed"
        f" {report.kills} times; the payouts were made after {report.made_s:.1f} s"
    )
    console.print(report.spent.in_words())
    if report.histories is not None:
        console.print(f"{report.histories.events} history events and {report.histories.actions} billable actions each")
    console.print("calls at the PSP: " + ", ".join(f"{n:,} {name}" for name, n in report.psp_calls.items()))
    for problem in report.problems:
        console.print(f"[red]{problem}[/red]")
    if not report.problems:
        console.print("each exactly once, here and at the PSP; a second run paid nothing; the books are in order")


def main() -> int:
    console = Console(highlight=False)
    report = asyncio.run(run(int(os.environ.get("PAYSAGA_BENCH_SELLERS", "10000")), console))
    show(report, console)
    print(json.dumps(asdict(report) | {"per_s": round(report.per_s, 2)}))  # noqa: T201
    return 1 if report.problems else 0


if __name__ == "__main__":
    leave_after(main)
