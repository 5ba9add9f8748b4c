"""The measurement from its first process to its last: a stack of its own, the loads, the references, the money."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import asyncpg
from temporalio.client import Client

from bench.costs import ACTIONS_ARE, CounterReader, Cpu, per, read_histories
from bench.facts import machine_facts, version_facts
from bench.load_process import run_load
from bench.money import Books, check_money
from bench.plan import LoadEvent, LoadResult, Plan, RequestKind
from bench.results import Reference, Report
from bench.summary import Found, Measured, errors_of, loaded, milliseconds, miscounted, money
from bench.window import Window
from config.settings import SANDBOX_STRIPE_KEY, Settings
from embedded.display import Display
from embedded.errors import StackError
from embedded.stack import DATABASE, EmbeddedStack, free_settings
from runtime.temporal import connect
from runtime.wiring import keyring_of

RAISED = {"stripe_rate_per_s": 10_000.0, "stripe_concurrency_max": 1_000}
"""The pacing protects the account at a real PSP; left as it is, it could be all that is measured."""

SELLERS = tuple(f"bench-seller-{number}" for number in range(50))
"""Many, as at a marketplace: payments to one seller wait for each other's wallet."""

_REFERENCE_KEY = "sk_test_bench_reference"
_REFERENCE_DATABASE = "bench"
_REFERENCE_LEAD_S = 0.5
_LEAD_S = 1.0
_WARM_UP_S_MAX = 3.0
_HISTORIES = 10
_CONNECTIONS_MAX = 50


@dataclass(frozen=True)
class Options:
    """`concurrency` ascending; the references and the other kinds of payment run at its middle one."""

    seconds: float
    concurrency: tuple[int, ...]
    psp_s: float

    @property
    def middle(self) -> int:
        return self.concurrency[len(self.concurrency) // 2]


@dataclass(frozen=True)
class _Kind:
    """A kind of payment: what is bought, and with which card."""

    name: str
    title: str
    orders: int = 1
    token: str = "pm_card_visa"  # noqa: S105 - the sandbox's test card


_HAPPY = _Kind("happy", "One order")
_ORDERS = _Kind("orders", "Three orders", orders=3)
_DECLINED = _Kind("declined", "Declined", token="pm_card_chargeDeclined")  # noqa: S106 - the sandbox's test card


# --- the story ---


async def measure(options: Options, display: Display) -> Report:
    """Start a stack, measure, check the money, stop. Cancelled by Ctrl-C. Raises StackError."""
    _stop_on_signals()
    began_s = time.monotonic()
    async with _Bench.started(options, display) as bench:
        await bench.warm_up()
        measured = [await bench.load(_HAPPY, c, options.seconds) for c in options.concurrency]
        measured += [await bench.load(kind, options.middle, options.seconds / 2) for kind in (_ORDERS, _DECLINED)]
        references = await bench.references()
        with display.step("Every cent compared"):
            found = await bench.inspect(measured)
        machine = machine_facts(bench.stack.home.path)
        versions = await version_facts(bench.stack)
    return Report(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        took_s=round(time.monotonic() - began_s, 1),
        psp_ms=options.psp_s * 1000,
        seconds=options.seconds,
        machine=machine,
        versions=versions,
        raised_settings=_raised(),
        actions_are=ACTIONS_ARE,
        payments=[loaded(m, found) for m in measured],
        reference=references,
        money=money(found.money),
    )


def _stop_on_signals() -> None:
    """Ctrl-C, a closed terminal or a `kill` cancel this task: the stack stops, its folder goes."""
    task = asyncio.current_task()
    if task is not None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signum, task.cancel)


def _own_settings(home: Path) -> Settings:
    """Nothing of the person's own settings: no real PSP, database or cluster is ever touched."""
    for name in [name for name in os.environ if name.startswith("PAYSAGA_")]:
        del os.environ[name]
    return free_settings(home, **RAISED)


def _raised() -> dict[str, list[float]]:
    """Setting → [default, in this run]."""
    return {name: [float(Settings.model_fields[name].default), float(value)] for name, value in RAISED.items()}


# --- the parts ---


@dataclass
class _Bench:
    """A running stack and what is needed to look at it from outside. `sent`: every load of payments so far."""

    options: Options
    display: Display
    stack: EmbeddedStack
    books: Books
    counters: CounterReader
    temporal: Client
    sent: list[tuple[Plan, LoadResult]] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def started(cls, options: Options, display: Display) -> AsyncIterator[Self]:
        async with AsyncExitStack() as opened:
            folder = tempfile.TemporaryDirectory(prefix="paysaga-bench-", ignore_cleanup_errors=True)
            home = Path(opened.enter_context(folder))
            stack = await opened.enter_async_context(EmbeddedStack(_own_settings(home), display=display))
            books = Books(stack.api_url, stack.sandbox_url, SANDBOX_STRIPE_KEY)
            opened.push_async_callback(books.close)
            counters = await CounterReader.connect(stack)
            opened.push_async_callback(counters.close)
            bench = cls(
                options, display, stack, books, counters, await connect(stack.settings, keyring_of(stack.settings))
            )
            await bench._prepare()
            yield bench

    async def _prepare(self) -> None:
        for seller in SELLERS:
            await self.books.add_seller(seller)
        alone = Books(self.stack.api_url, self.stack.sandbox_url, _REFERENCE_KEY)
        try:
            if self.options.psp_s > 0:
                await self.books.delay_psp(self.options.psp_s)
                await alone.delay_psp(self.options.psp_s)
        finally:
            await alone.close()
        await self.stack.postgres.create_database(_REFERENCE_DATABASE)

    def _environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, **self.stack.environment(), **more}

    # --- payments ---

    async def warm_up(self) -> None:
        """Connections, prepared statements, caches: what a system that runs has behind it."""
        plan = self._payments(
            _HAPPY, "warm-up", self.options.concurrency[-1], min(_WARM_UP_S_MAX, self.options.seconds)
        )
        with self.display.step("Warm-up") as step:

            async def listen(event: LoadEvent) -> None:
                step.detail = f"{event.done} payments"

            self.sent.append((plan, await run_load(plan, self._environment(), listen)))
            await self.books.deliver_webhooks()

    def _payments(self, kind: _Kind, name: str, concurrency: int, seconds: float) -> Plan:
        return Plan(
            request="payments",
            name=name,
            url=self.stack.api_url,
            concurrency=concurrency,
            seconds=seconds,
            lead_s=_LEAD_S,
            token=kind.token,
            sellers=list(SELLERS),
            orders=kind.orders,
        )

    async def load(self, kind: _Kind, concurrency: int, seconds: float) -> Measured:
        """One kind of payment at one concurrency, until its last webhook has arrived."""
        plan = self._payments(kind, f"{kind.name}-{concurrency}", concurrency, seconds)
        window = Window(self.stack, self.counters)
        with self.display.step(f"{kind.title}, {concurrency} at once") as step:

            async def listen(event: LoadEvent) -> None:
                await window.sample(event)
                step.detail = f"{event.done:,} payments · {event.per_s:.0f}/s"

            before = await self.counters.read()
            result = await run_load(plan, self._environment(), listen)
            behind = await self.books.deliver_webhooks()
            counters = (await self.counters.read()).since(before)
            cpu_s = Cpu.of(self.stack).since(window.cpu_before)
            step.detail = f"{result.per_s:.1f}/s · half of them within {result.timing.p50_ms or 0:,.0f} ms"
        self.sent.append((plan, result))
        busy, ours = window.busy_cores(plan.seconds)
        load = result.cpu_s / (plan.seconds + plan.lead_s)
        return Measured(
            kind=kind.name,
            plan=plan,
            result=result,
            cpu_s={**cpu_s, "load": result.cpu_s},
            counters=counters,
            in_window=window.counters,
            done_in_window=window.done,
            busy_cores=busy,
            others_cores=max(0.0, busy - ours - load),
            webhooks_behind=behind,
        )

    # --- references ---

    async def references(self) -> list[Reference]:
        """The parts of a payment, each by itself."""
        middle, seconds = self.options.middle, self.options.seconds * 3 / 8
        found = [
            await self._reference("PSP call alone", "psp", f"psp-{c}", c, seconds * 2 / 3)
            for c in self.options.concurrency
        ]
        found.append(await self._reference("No-op workflow", "noop", "noop", middle, seconds))
        database = self.stack.postgres.url(_REFERENCE_DATABASE)
        connections = min(middle, _CONNECTIONS_MAX)
        found.append(await self._reference("INSERT + COMMIT", "commit", "commit", connections, seconds, database))
        found.append(await self._reference("GET /healthz", "healthz", "healthz", middle, seconds, self.stack.api_url))
        return found

    async def _reference(
        self, title: str, request: RequestKind, name: str, concurrency: int, seconds: float, url: str = ""
    ) -> Reference:
        plan = Plan(
            request=request, name=name, url=url, concurrency=concurrency, seconds=seconds, lead_s=_REFERENCE_LEAD_S
        )
        window = Window(self.stack, self.counters)
        with self.display.step(f"{title}, {concurrency} at once") as step:

            async def listen(event: LoadEvent) -> None:
                await window.sample(event)
                step.detail = f"{event.per_s:,.0f}/s"

            result = await run_load(plan, self._environment(PAYSAGA_STRIPE_API_KEY=_REFERENCE_KEY), listen)
            cpu_s = Cpu.of(self.stack).since(window.cpu_before)
            step.detail = f"{result.per_s:,.0f}/s"
        return Reference(
            name=name,
            title=title,
            concurrency=concurrency,
            count=result.sent,
            per_s=round(result.per_s, 2),
            timing=result.timing,
            errors=errors_of(result),
            cpu_ms=milliseconds(per({**cpu_s, "client": result.cpu_s}, result.sent)),
        )

    # --- afterwards ---

    async def inspect(self, measured: Sequence[Measured]) -> Found:
        """Read what the loads have left behind, and compare both sides of it."""
        payments = {plan.name: await self.books.settled(plan.buyer) for plan, _ in self.sent}
        log = await self.books.psp_log()
        names = [m.plan.name for m in measured]
        histories = {n: await read_histories(self.temporal, _some([p.id for p in payments[n]])) for n in names}
        url = self.stack.settings.database_url
        if url is None:
            raise StackError("The stack has no database to audit.")
        everything = [payment for found in payments.values() for payment in found]
        check = await check_money(everything, log, url.get_secret_value())
        for plan, result in self.sent:
            check.problems.extend(miscounted(plan, result, len(payments[plan.name])))
        return Found(payments, log, await self._webhooks(), histories, check)

    async def _webhooks(self) -> dict[str, int]:
        """Webhooks that were taken in, by the name of the load."""
        connection = await asyncpg.connect(self.stack.postgres.url(DATABASE))
        try:
            rows = await connection.fetch(
                "SELECT p.buyer_id, count(*) AS n FROM webhook_inbox w JOIN payment p ON p.id = w.payment_id GROUP BY 1"
            )
        finally:
            await connection.close()
        return {row["buyer_id"].removeprefix("buyer-"): row["n"] for row in rows}


def _some(ids: Sequence[str]) -> list[str]:
    """A few, spread evenly."""
    step = max(1, len(ids) // _HISTORIES)
    return list(ids[::step][:_HISTORIES])
