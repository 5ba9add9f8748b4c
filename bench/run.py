"""The measurement from its first process to its last: a stage of its own, the rounds, the counts, the money."""

import asyncio
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from bench.costs import ACTIONS_ARE
from bench.counting import count
from bench.facts import machine_facts, version_facts
from bench.money import Paid, audit, books_of, compare
from bench.options import Options, groups_of
from bench.plan import LoadResult, Plan
from bench.results import Books, Money, Report
from bench.rounds import LEAD_S, Rounds
from bench.stage import PEERS, UNLIMITED, Stage
from bench.statements import COUNTED_HOW
from bench.summary import claims_of, lines_of
from bench.window import Window
from config.settings import Settings
from embedded.display import Display
from embedded.errors import StackError

_WARM_UP_S_MAX = 2.0
_IDLE_S = 2.0


async def measure(options: Options, missing: dict[str, str], display: Display) -> Report:
    """Start a stage, measure, check the money, stop. `missing`: subjects that are left out. Cancelled by Ctrl-C.
    Raises StackError."""
    _stop_on_signals()
    began_s = time.monotonic()
    async with Stage.started(options, display) as stage:
        rounds = Rounds(stage, display)
        await _warm_up(rounds)
        idle = await _idle(rounds)
        await rounds.measure(groups_of(options), options.rounds)
        counted = await count(rounds)
        with display.step("Every cent compared"):
            money = await _check(rounds)
        machine = machine_facts(stage.stack.home.path)
        versions = await version_facts(stage.stack)
    report = Report(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        took_s=round(time.monotonic() - began_s, 1),
        psp=options.psp,
        psp_ms=options.psp_s * 1000,
        seconds=options.seconds,
        rounds=options.rounds,
        api_processes=options.processes,
        thrown_away=rounds.thrown_away,
        missing=missing,
        machine=machine,
        versions=versions,
        raised_settings={name: [str(Settings.model_fields[name].default), str(v)] for name, v in UNLIMITED.items()},
        actions_are=ACTIONS_ARE,
        round_trips_are=COUNTED_HOW,
        idle_cores=idle,
        memory_mb=rounds.memory_mb,
        lines=lines_of(rounds.cells),
        counted=counted,
        claims=[],
        money=money,
    )
    report.claims = claims_of(report)
    return report


def _stop_on_signals() -> None:
    """Ctrl-C, a closed terminal or a `kill` cancel this task: the stack stops, its folder goes."""
    task = asyncio.current_task()
    if task is not None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signum, task.cancel)


async def _warm_up(rounds: Rounds) -> None:
    """Connections, prepared statements, caches: what a system that runs has behind it."""
    stage = rounds.stage
    with rounds.display.step("Warm-up") as step:
        for subject, host in stage.hosts.items():
            step.detail = subject
            seconds = min(_WARM_UP_S_MAX, stage.options.seconds)
            plan = Plan(
                name=f"warm-up-{subject}",
                concurrency=stage.options.concurrency[-1],
                seconds=seconds,
                lead_s=min(LEAD_S, seconds),
            )
            window = Window(stage.processes, stage.counters)
            rounds.sent.append((plan, await host.run(plan, window.sample), subject))
        await stage.books.deliver_webhooks()


async def _idle(rounds: Rounds) -> dict[str, float]:
    """Busy cores of each process while nothing is asked."""
    seconds = min(_IDLE_S, rounds.stage.options.seconds)
    before = rounds.stage.processes.cpu_s()
    await asyncio.sleep(seconds)
    used = rounds.stage.cpu_since(before)
    return {name: round(used_s / seconds, 3) for name, used_s in used.items()}


# --- the money ---


async def _check(rounds: Rounds) -> Money:
    """Every payment of every subject against the PSP's log, both ways, and the invariants of Paysaga's database."""
    stage = rounds.stage
    problems: list[str] = []
    books: list[Books] = []
    ours = [(plan, result) for plan, result, subject in rounds.sent if subject in ("process", "http")]
    if ours:
        payments: list[Paid] = []
        for plan, result in ours:
            listed = await stage.books.settled(plan.buyer)
            problems += _miscounted(plan, result, len(listed))
            payments += listed
        log = await stage.books.psp_log()
        books.append(books_of("Paysaga", payments, log))
        problems += compare(payments, log)
    for subject in PEERS:
        if subject in stage.hosts:
            async with stage.peer_books(subject) as side:
                log = await side.psp_log()
            payments = await stage.peer_payments(subject)
            made = sum(result.made for _, result, who in rounds.sent if who == subject)
            problems += [f"{subject} made {made} payments and has {len(payments)}"] if made > len(payments) else []
            books.append(books_of(subject, payments, log))
            problems += compare(payments, log)
    url = stage.stack.settings.database_url
    if url is None:
        raise StackError("The stack has no database to audit.")
    findings = [str(finding) for finding in await audit(url.get_secret_value())]
    return Money(passed=not problems and not findings, books=books, audit_findings=findings, problems=problems)


def _miscounted(plan: Plan, result: LoadResult, listed: int) -> Sequence[str]:
    """Each payment that was answered is in the API's list; one whose answer was an error may be."""
    if result.made <= listed <= result.made + result.errors:
        return []
    return [f"{plan.name}: {result.made} payments were taken on, and the API lists {listed}"]
