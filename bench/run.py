"""The measurement from its first process to its last: a stack of its own, the loads, the references, the money."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import asyncpg
import psutil  # type: ignore[import-untyped]
from temporalio.client import Client

from bench.costs import ACTIONS_ARE, CounterReader, Counters, Cpu, Histories, per, read_histories
from bench.facts import machine_facts, version_facts
from bench.gun import fire
from bench.money import Books, MoneyCheck, Paid, PspLog, check_money
from bench.plan import Fired, Plan, Said
from bench.results import Cost, Loaded, Money, Reference, Report
from config.settings import SANDBOX_STRIPE_KEY, Settings
from stack.embedded import DATABASE, EmbeddedStack, free_settings
from stack.errors import StackError
from stack.progress import Display
from workers.services import connect

RAISED = {"stripe_rate_per_s": 10_000.0, "stripe_concurrency_max": 1_000}
"""The pacing protects the account at a real PSP; left as it is, it would be all that is measured."""

_REFERENCE_KEY = "sk_test_bench_reference"
_REFERENCE_DATABASE = "bench"
_SELLERS = [f"bench-seller-{number}" for number in range(50)]
_LEAD_S = 1.0
_REFERENCE_LEAD_S = 0.5
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
    orders: int = 1
    token: str = "pm_card_visa"  # noqa: S105 - the sandbox's test card


_HAPPY = _Kind("happy")
_ORDERS = _Kind("orders", orders=3)
_DECLINED = _Kind("declined", token="pm_card_chargeDeclined")  # noqa: S106 - the sandbox's test card


@dataclass
class _Measured:
    """A load with everything that was read before, in and after it."""

    kind: _Kind
    plan: Plan
    fired: Fired
    cpu_s: Mapping[str, float]
    counters: Counters
    window: Counters
    window_payments: int
    busy_cores: float
    others_cores: float
    webhooks_behind: int


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
        payments=[_loaded(m, found) for m in measured],
        reference=references,
        money=_money(found.money),
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


@dataclass(frozen=True)
class _Found:
    """What was read once all loads were over. Payments by the name of their load."""

    payments: Mapping[str, list[Paid]]
    log: PspLog
    webhooks: Mapping[str, int]
    histories: Mapping[str, Histories | None]
    money: MoneyCheck


@dataclass
class _Bench:
    """A running stack and what is needed to look at it from outside."""

    options: Options
    display: Display
    stack: EmbeddedStack
    books: Books
    counters: CounterReader
    temporal: Client
    sent: list[tuple[Plan, Fired]] = field(default_factory=list)

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
            bench = cls(options, display, stack, books, counters, await connect(stack.settings))
            await bench._prepare()
            yield bench

    async def _prepare(self) -> None:
        for seller in _SELLERS:
            await self.books.add_seller(seller)
        alone = Books(self.stack.api_url, self.stack.sandbox_url, _REFERENCE_KEY)
        try:
            if self.options.psp_s > 0:
                await self.books.delay_psp(self.options.psp_s)
                await alone.delay_psp(self.options.psp_s)
        finally:
            await alone.close()
        await self.stack.postgres.create_database(_REFERENCE_DATABASE)

    # --- payments ---

    async def warm_up(self) -> None:
        """Connections, prepared statements, caches: what a system that runs has behind it."""
        seconds = min(3.0, self.options.seconds)
        plan = self._plan(_HAPPY, self.options.concurrency[-1], seconds, name="warm-up")
        with self.display.step("Warm-up") as step:

            async def show(said: Said) -> None:
                step.detail = f"{said.done} payments"

            self.sent.append((plan, await fire(plan, self._environment(), show)))
            await self.books.deliver_webhooks()

    def _plan(self, kind: _Kind, concurrency: int, seconds: float, *, name: str) -> Plan:
        return Plan(
            shot="payments",
            name=name,
            url=self.stack.api_url,
            concurrency=concurrency,
            seconds=seconds,
            lead_s=_LEAD_S,
            token=kind.token,
            sellers=_SELLERS,
            orders=kind.orders,
        )

    async def load(self, kind: _Kind, concurrency: int, seconds: float) -> _Measured:
        """One kind of payment at one concurrency, until its last webhook has arrived."""
        plan = self._plan(kind, concurrency, seconds, name=f"{kind.name}-{concurrency}")
        window = _Window(self.stack, self.counters)
        with self.display.step(f"{_TITLES[kind.name]}, {concurrency} at once") as step:

            async def listen(said: Said) -> None:
                await window.look(said)
                step.detail = f"{said.done} payments · {said.per_s:.0f}/s"

            before = await self.counters.read()
            fired = await fire(plan, self._environment(), listen)
            behind = await self.books.deliver_webhooks()
            counters = (await self.counters.read()).since(before)
            cpu_s = Cpu.of(self.stack).since(window.cpu_before)
            step.detail = f"{fired.per_s:.0f}/s · half of them within {fired.timing.p50_ms or 0:.0f} ms"
        self.sent.append((plan, fired))
        busy, ours = window.busy_cores(plan.seconds)
        return _Measured(
            kind=kind,
            plan=plan,
            fired=fired,
            cpu_s={**cpu_s, "load": fired.cpu_s},
            counters=counters,
            window=window.counters,
            window_payments=window.payments,
            busy_cores=busy,
            others_cores=max(0.0, busy - ours - fired.cpu_s / (plan.seconds + plan.lead_s)),
            webhooks_behind=behind,
        )

    def _environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, **self.stack.environment(), **more}

    # --- references ---

    async def references(self) -> list[Reference]:
        """The parts of a payment, each by itself."""
        middle, seconds = self.options.middle, self.options.seconds * 3 / 8
        psp_ms = f"{self.options.psp_s * 1000:.0f} ms"
        database = self.stack.postgres.url(_REFERENCE_DATABASE)
        found = [
            await self._reference(
                f"The PSP call alone ({psp_ms})",
                Plan(shot="psp", name=f"psp-{c}", concurrency=c, seconds=seconds * 2 / 3, lead_s=_REFERENCE_LEAD_S),
            )
            for c in self.options.concurrency
        ]
        plans = {
            "A workflow that does nothing": Plan(
                shot="noop", name="noop", concurrency=middle, seconds=seconds, lead_s=_REFERENCE_LEAD_S
            ),
            "INSERT and COMMIT": Plan(
                shot="commit",
                name="commit",
                url=database,
                concurrency=min(middle, _CONNECTIONS_MAX),
                seconds=seconds,
                lead_s=_REFERENCE_LEAD_S,
            ),
            "GET /healthz": Plan(
                shot="healthz",
                name="healthz",
                url=self.stack.api_url,
                concurrency=middle,
                seconds=seconds,
                lead_s=_REFERENCE_LEAD_S,
            ),
        }
        return found + [await self._reference(title, plan) for title, plan in plans.items()]

    async def _reference(self, title: str, plan: Plan) -> Reference:
        window = _Window(self.stack, self.counters)
        with self.display.step(title) as step:

            async def listen(said: Said) -> None:
                await window.look(said)
                step.detail = f"{said.per_s:,.0f}/s"

            fired = await fire(plan, self._environment(PAYSAGA_STRIPE_API_KEY=_REFERENCE_KEY), listen)
            cpu_s = Cpu.of(self.stack).since(window.cpu_before)
            step.detail = f"{fired.per_s:,.0f}/s"
        return Reference(
            name=plan.name,
            title=title,
            concurrency=plan.concurrency,
            count=fired.fired,
            per_s=round(fired.per_s, 2),
            timing=fired.timing,
            errors=_errors(fired),
            cpu_ms=_milliseconds(per({**cpu_s, "client": fired.cpu_s}, fired.fired)),
        )

    # --- afterwards ---

    async def inspect(self, measured: Sequence[_Measured]) -> _Found:
        """Read what the loads have left behind, and compare both sides of it."""
        payments = {plan.name: await self.books.settled(plan.buyer) for plan, _ in self.sent}
        log = await self.books.psp_log()
        histories = {
            m.plan.name: await read_histories(self.temporal, _some([p.id for p in payments[m.plan.name]]))
            for m in measured
        }
        url = self.stack.settings.database_url
        if url is None:
            raise StackError("The stack has no database to audit.")
        everything = [payment for found in payments.values() for payment in found]
        money = await check_money(everything, log, url.get_secret_value())
        for plan, fired in self.sent:
            money.problems.extend(_miscounted(plan, fired, len(payments[plan.name])))
        return _Found(payments, log, await self._webhooks(), histories, money)

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


_TITLES = {"happy": "One order", "orders": "Three orders", "declined": "Declined"}


class _Window:
    """The measured window of a load, looked at when the load process says that it opens and closes."""

    def __init__(self, stack: EmbeddedStack, counters: CounterReader) -> None:
        self._stack, self._reader = stack, counters
        self._seen: dict[str, tuple[int, Counters, float, float]] = {}
        self.cpu_before: Cpu

    async def look(self, said: Said) -> None:
        if said.mark == "ready":
            self.cpu_before = Cpu.of(self._stack)
        elif said.mark in ("opens", "closes"):
            ours_s = sum(Cpu.of(self._stack).seconds.values()) + time.process_time()
            self._seen[said.mark] = (said.done, await self._reader.read(), _busy_seconds(), ours_s)

    @property
    def counters(self) -> Counters:
        return self._seen["closes"][1].since(self._seen["opens"][1])

    @property
    def payments(self) -> int:
        return self._seen["closes"][0] - self._seen["opens"][0]

    def busy_cores(self, seconds: float) -> tuple[float, float]:
        """How many cores were busy on average: (of the whole machine, by what belongs to this run)."""
        (_, _, busy_before_s, ours_before_s), (_, _, busy_s, ours_s) = self._seen["opens"], self._seen["closes"]
        return (busy_s - busy_before_s) / seconds, (ours_s - ours_before_s) / seconds


def _busy_seconds() -> float:
    """CPU seconds of the whole machine since it was started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + sum(getattr(times, name, 0.0) for name in ("nice", "irq", "softirq")))


def _some(ids: Sequence[str]) -> list[str]:
    """A few, spread evenly."""
    step = max(1, len(ids) // _HISTORIES)
    return list(ids[::step][:_HISTORIES])


def _errors(fired: Fired) -> int:
    return sum(count for answer, count in fired.answers.items() if answer.startswith("error"))


def _miscounted(plan: Plan, fired: Fired, listed: int) -> list[str]:
    """Each payment that was answered is in the API's list; one whose answer was lost may be."""
    answered = fired.fired - _errors(fired)
    if answered <= listed <= fired.fired:
        return []
    return [f"{plan.name}: {answered} of {fired.fired} payments were answered, and the API lists {listed}"]


def _milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value * 1000, 3) for name, value in seconds.items()}


def _loaded(m: _Measured, found: _Found) -> Loaded:
    fired = m.fired
    answered = max(1, fired.fired)
    terminal = sum(count for answer, count in fired.answers.items() if answer.startswith("201"))
    waiting = sum(count for answer, count in fired.answers.items() if answer.startswith("202"))
    return Loaded(
        name=m.plan.name,
        kind=m.kind.name,
        orders=m.kind.orders,
        concurrency=m.plan.concurrency,
        payments=fired.fired,
        per_s=round(fired.per_s, 2),
        timing=fired.timing,
        answers=fired.answers,
        share_terminal=round(terminal / answered, 4),
        share_waiting=round(waiting / answered, 4),
        errors=_errors(fired),
        machine_busy_cores=round(m.busy_cores, 2),
        others_busy_cores=round(m.others_cores, 2),
        webhooks_behind=m.webhooks_behind,
        cost=_cost(m, found),
    )


def _cost(m: _Measured, found: _Found) -> Cost:
    name, count = m.plan.name, max(1, m.fired.fired)
    histories = found.histories[name]
    cpu_ms = _milliseconds(per(m.cpu_s, count))
    calls = sum(found.log.requests[p.id].total() for p in found.payments[name] if p.id in found.log.requests)
    return Cost(
        cpu_ms=cpu_ms,
        cpu_total_ms=round(sum(ms for group, ms in cpu_ms.items() if group != "load"), 3),
        psp_calls=round(calls / max(1, len(found.payments[name])), 3),
        webhooks=round(found.webhooks.get(name, 0) / count, 3),
        write_transactions=round(m.counters.writes / count, 3),
        transactions=round(m.window.transactions / max(1, m.window_payments), 2),
        wal_kb=round(m.counters.wal_bytes / count / 1000, 2),
        history_events=histories.events if histories else None,
        history_events_max=histories.events_max if histories else None,
        billable_actions=histories.actions if histories else None,
        billable_actions_max=histories.actions_max if histories else None,
    )


def _money(check: MoneyCheck) -> Money:
    return Money(
        passed=check.passed,
        payments=check.payments,
        succeeded=check.succeeded,
        charges=check.charges,
        taken=check.taken,
        booked=check.booked,
        audit_findings=[str(finding) for finding in check.findings],
        problems=check.problems,
    )
