"""`python -m bench.gate`: one tenant's crowd beside another tenant's single client, for each kind of load: how long the
other one waits against its quiet time, how fast the crowd is refused, what memory it takes, and whether everything that
was taken on has ended.

`PAYSAGA_BENCH_SECONDS` (8) is how long each is measured, `PAYSAGA_BENCH_LOADS` names some of the loads. JSON at the
end; exit code 1 where a limit is broken.
"""

import asyncio
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import asyncpg
import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from bench.gate_load import CrowdPlan, CrowdResult, LoadKind, payment
from bench.leaving import leave_after
from bench.money import Books
from bench.stage import RAISED
from config.settings import SANDBOX_STRIPE_KEY
from db import api_key, merchant
from db.audit.audit import audit_database
from db.core.database import Database
from embedded.errors import StackError
from embedded.stack import DATABASE, EmbeddedStack, free_settings

CLIENTS: dict[LoadKind, int] = {
    "payments": 600,
    "ledger": 100,
    "reconciliations": 100,
    "uploads": 50,
    "idle": 2_500,
    "slow": 600,
}
RATIO_MAX = 2.0
REFUSED_MS_MAX = 100.0
MEMORY_MB_MAX = 64.0
"""More than before a load: of a process that has 150."""

_PSP_S = 0.05
_KEYS = {"crowd": "sk_test_bench_crowd", "other": "sk_test_bench_other"}
_SELLERS = [f"seller-{number}" for number in range(20)]
_WARM_UP = 60
_LEAD_S = 4.0
"""The crowd's clients start within two seconds of it; what was cold is warm then."""
_PATIENCE_S = 90.0
_AUDIT_TIMEOUT_S = 120.0
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Measured:
    """One load. Milliseconds of the other tenant's payments: `quiet` before and after, `loaded` beside the crowd;
    `refused` of the crowd's refusals. `open`: payments that were taken on and have not ended."""

    load: str
    clients: int
    quiet_p50_ms: float
    quiet_p95_ms: float
    loaded_p50_ms: float
    loaded_p95_ms: float
    other_payments: int
    other_refused: int
    answers: dict[str, int]
    refused_p50_ms: float | None
    refused_p95_ms: float | None
    accepted: int
    open: int
    memory_before_mb: float
    memory_after_mb: float

    @property
    def ratio(self) -> float:
        return self.loaded_p50_ms / self.quiet_p50_ms

    def problems(self) -> list[str]:
        """The limits that were broken."""
        found = []
        if self.ratio > RATIO_MAX:
            found.append(f"{self.load}: the other tenant's median is {self.ratio:.1f} times its quiet value")
        if self.other_refused:
            found.append(f"{self.load}: the other tenant was refused {self.other_refused} times")
        if (self.refused_p95_ms or 0) > REFUSED_MS_MAX:
            found.append(f"{self.load}: 95 % of the refusals take up to {self.refused_p95_ms:.0f} ms")
        if self.memory_after_mb > self.memory_before_mb + MEMORY_MB_MAX:
            found.append(f"{self.load}: {self.memory_after_mb - self.memory_before_mb:.0f} MB more than before")
        if self.open:
            found.append(f"{self.load}: {self.open} of the payments that were taken on have not ended")
        return found


@dataclass
class Report:
    """All loads; `audit`: what the money's invariants find afterwards."""

    seconds: float
    psp_ms: float
    loads: list[Measured] = field(default_factory=list)
    audit: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        return [problem for load in self.loads for problem in load.problems()] + self.audit


@dataclass
class Other:
    """The other tenant: one client that pays again and again."""

    url: str
    session: aiohttp.ClientSession
    refused: int = 0

    async def pay_for(self, seconds: float) -> list[float]:
        """Pay again and again; the milliseconds that each payment took."""
        took_ms: list[float] = []
        until_s = time.perf_counter() + seconds
        while time.perf_counter() < until_s:
            began_s = time.perf_counter()
            status = await self.pay(len(took_ms))
            took_ms.append((time.perf_counter() - began_s) * 1000)
            self.refused += status == 503
        return took_ms

    async def pay(self, number: int) -> int:
        """One payment; the status of the answer."""
        headers = {"Authorization": f"Bearer {_KEYS['other']}", "Idempotency-Key": secrets.token_hex(12)}
        body = payment(_SELLERS[number % len(_SELLERS)])
        async with self.session.post(f"{self.url}/v1/payments", json=body, headers=headers) as response:
            await response.read()
        if response.status not in (201, 202, 503):
            raise StackError(f"The other tenant's payment was answered {response.status}.")
        return response.status


@dataclass
class Bench:
    """A running stack, its two tenants, and a connection past the application."""

    stack: EmbeddedStack
    other: Other
    owner: "asyncpg.Connection[asyncpg.Record]"
    console: Console
    seconds: float

    async def measure(self, kind: LoadKind) -> Measured:
        """Quiet, beside the crowd, quiet again."""
        quiet = await self.other.pay_for(self.seconds / 2)
        refused_before = self.other.refused
        memory_before = self._memory_mb()
        crowd = await self._crowd(kind)
        try:
            await self.other.pay_for(_LEAD_S)
            loaded = await self.other.pay_for(self.seconds)
            memory_after = self._memory_mb()
        finally:
            result = await self._end(crowd)
        still_open = await self._open(result.accepted)
        quiet += await self.other.pay_for(self.seconds / 2)
        return Measured(
            load=kind,
            clients=CLIENTS[kind],
            quiet_p50_ms=statistics.median(quiet),
            quiet_p95_ms=_p95(quiet),
            loaded_p50_ms=statistics.median(loaded),
            loaded_p95_ms=_p95(loaded),
            other_payments=len(loaded),
            other_refused=self.other.refused - refused_before,
            answers=result.answers,
            refused_p50_ms=result.refused.p50_ms,
            refused_p95_ms=result.refused.p95_ms,
            accepted=len(result.accepted),
            open=still_open,
            memory_before_mb=memory_before,
            memory_after_mb=memory_after,
        )

    async def _crowd(self, kind: LoadKind) -> asyncio.subprocess.Process:
        plan = CrowdPlan(kind=kind, url=self.stack.api_url, key=_KEYS["crowd"], clients=CLIENTS[kind], sellers=_SELLERS)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.gate_load"),
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None, "piped"
        process.stdin.write(plan.model_dump_json().encode() + b"\n")
        await process.stdin.drain()
        return process

    async def _end(self, crowd: asyncio.subprocess.Process) -> CrowdResult:
        """Raises StackError where the crowd does not come to its end."""
        assert crowd.stdin is not None, "piped"
        crowd.stdin.close()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                said, _ = await crowd.communicate()
        except TimeoutError:
            crowd.kill()
            raise StackError("The crowd did not end.") from None
        if crowd.returncode:
            raise StackError("The crowd failed.")
        return CrowdResult.model_validate_json(said)

    async def _open(self, accepted: list[str]) -> int:
        """Wait until the accepted payments have ended; the number of those that have not when patience has."""
        query = "SELECT count(*) FROM payment WHERE id = ANY($1) AND NOT is_payment_done"
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            left: int = await self.owner.fetchval(query, accepted)
            if not left or time.monotonic() > until_s:
                return left
            await asyncio.sleep(0.5)

    def _memory_mb(self) -> float:
        return float(psutil.Process(self.stack.pid_of("api")).memory_info().rss) / 1e6


def _p95(took_ms: list[float]) -> float:
    return sorted(took_ms)[int(len(took_ms) * 0.95)]


async def run(kinds: list[LoadKind], seconds: float, console: Console) -> Report:
    """Start a stack of its own, measure each load in it, audit the money."""
    for name in [name for name in os.environ if name.startswith("PAYSAGA_")]:
        del os.environ[name]  # no real PSP, database or cluster is ever touched
    report = Report(seconds=seconds, psp_ms=_PSP_S * 1000)
    async with AsyncExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="paysaga-bench-", ignore_cleanup_errors=True))
        stack = await opened.enter_async_context(EmbeddedStack(free_settings(Path(folder) / "home", **RAISED)))
        assert stack.settings.database_url is not None, "the stack has a database"
        url = stack.settings.database_url.get_secret_value()
        database = Database(url, pool_size=1, timeout_s=_AUDIT_TIMEOUT_S, application="bench")
        opened.push_async_callback(database.close)
        for tenant in _KEYS:
            await _create_tenant(database, tenant)
        books = Books(stack.api_url, stack.sandbox_url, SANDBOX_STRIPE_KEY)
        opened.push_async_callback(books.close)
        await books.delay_psp(_PSP_S)
        owner = await asyncpg.connect(stack.postgres.url(DATABASE))
        opened.push_async_callback(owner.close)
        session = await opened.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        bench = Bench(stack, Other(stack.api_url, session), owner, console, seconds)
        for number in range(_WARM_UP):
            await bench.other.pay(number)
        for kind in kinds:
            report.loads.append(await bench.measure(kind))
            _tell(report.loads[-1], console)
            await books.deliver_webhooks()
        report.audit = [f"{finding}" for finding in await audit_database(database)]
    return report


async def _create_tenant(database: Database, tenant: str) -> None:
    await database.run(lambda c: api_key.create(c, tenant, "bench", _KEYS[tenant]))
    for seller in _SELLERS:
        terms: Any = {"seller_account": seller, "name": seller, "fee_percent": 3, "fee_fixed": 0}
        await database.run(lambda c, t=terms: merchant.create(c, tenant, t))  # type: ignore[misc]


def _tell(load: Measured, console: Console) -> None:
    console.print(
        f"{load.clients} clients, {load.load}: the other tenant {load.quiet_p50_ms:.0f} ms quiet,"
        f" {load.loaded_p50_ms:.0f} ms beside them ({load.ratio:.2f}); answers {load.answers}"
    )


def show(report: Report, console: Console) -> None:
    """Print the report."""
    table = Table(box=None, header_style="dim")
    table.add_column("load")
    for title in ("clients", "quiet p50", "p95", "loaded p50", "p95", "ratio", "refused p95", "memory MB", "accepted"):
        table.add_column(title, justify="right")
    for load in report.loads:
        table.add_row(
            load.load,
            str(load.clients),
            *(f"{ms:.0f}" for ms in (load.quiet_p50_ms, load.quiet_p95_ms, load.loaded_p50_ms, load.loaded_p95_ms)),
            f"{load.ratio:.2f}",
            f"{load.refused_p95_ms:.0f}" if load.refused_p95_ms is not None else "",
            f"{load.memory_before_mb:.0f} → {load.memory_after_mb:.0f}",
            f"{load.accepted}",
        )
    console.print(table)
    for problem in report.problems():
        console.print(f"[red]{problem}[/red]")


def main() -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    named = os.environ.get("PAYSAGA_BENCH_LOADS", ",".join(CLIENTS)).split(",")
    seconds = float(os.environ.get("PAYSAGA_BENCH_SECONDS", "8"))
    report = asyncio.run(run(cast("list[LoadKind]", named), seconds, console))
    show(report, console)
    ratios = [asdict(load) | {"ratio": round(load.ratio, 2)} for load in report.loads]
    print(json.dumps(asdict(report) | {"loads": ratios, "problems": report.problems()}))  # noqa: T201
    return 1 if report.problems() else 0


if __name__ == "__main__":
    leave_after(main)
