"""`paysaga demo`: a stack, checkouts told as stories through its HTTP API, and the ledger audited afterwards."""

import asyncio
import os
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from temporalio.client import Client, WorkflowFailureError

from cli.pages.audit import audit_report, is_clean
from config.settings import DEVELOPMENT_API_KEY, SANDBOX_STRIPE_KEY, Settings
from db import api_key
from db.core.database import FEW, Database
from db.ledger.statement import balances
from demo.day.day import DAY_SETTINGS, DayContext, tell_day
from demo.day.plan import CHECKOUTS
from demo.facts import Facts, differences, facts_of
from demo.hearing import tell_hearing
from demo.shop import Psp, Shop, Unexpected
from demo.stories.reviews import RULES
from demo.stories.story import Context
from demo.table import WIDTH, Entry, StoryTable, trial_balance_table
from domain.errors import Unavailable
from domain.seal import SEAL_WORKFLOW
from embedded.display import Step, TerminalDisplay
from embedded.errors import StackError
from embedded.ports import local_url
from embedded.stack import EmbeddedStack, free_settings
from runtime.temporal import connect
from runtime.wiring import keyring_of
from services.audit import check_everything

_PATIENCE_S = 60.0
_GAP_S = 0.15
_NEVER_S = 1e9
_CAUTIOUS_TENANT = "dev_cautious"
_AT_ONCE = 6
"""Stories told side by side: a laptop with two cores stays quick."""


_INTRODUCTION = (
    "Each checkout goes through the HTTP API to a sandbox PSP that fails on request (amounts in INR).\n"
    "✓ means that its status, the PSP's own log and every account of the ledger are as they have to be."
)


class _StartDisplay(TerminalDisplay):
    """Shows how the stack starts and then falls silent: what dies in the middle dies on purpose."""

    silent = False

    @contextmanager
    def step(self, title: str, detail: str = "") -> Iterator[Step]:
        if self.silent:
            yield Step(title, detail)
            return
        with super().step(title, detail) as step:
            yield step

    def note(self, text: str) -> None:
        if not self.silent:
            super().note(text)


@dataclass(frozen=True)
class _Target:
    """The stack that the stories run against: two shops and the PSP. `kill`: of a stack of the demo's own alone."""

    settings: Settings
    shop: Shop
    cautious: Shop
    psp: Psp
    kill: Callable[[], None] | None


@dataclass(frozen=True)
class DemoPlan:
    """The parts to be told: every story, and a day of so many checkouts; None: no day."""

    stories: bool = True
    checkouts: int | None = CHECKOUTS


async def run_demo(console: Console, plan: DemoPlan, *, attach: Settings | None = None) -> bool:
    """Tell it; False if something ended otherwise than it should, or the audit is not clean. Cancelled by Ctrl-C.

    In a stack of its own on free ports, in a folder that is removed; `attach`: in the stack that runs there, without
    the shop's server, to which a stack sends only where it is told that it may, and without the day, for which the
    PSP's clock is moved and its books are falsified.
    """
    _stop_on_signals()
    # Before the person's own settings are put aside.
    report = _report_file() if plan.checkouts is not None and attach is None else None
    ui_url = local_url("127.0.0.1", int(_given("temporal_ui_port")))
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False, file=console.file)
    began_s = time.monotonic()
    ended: list[tuple[bool, str]] = []
    async with _own_stack(console) if attach is None else _attached(attach) as target:
        if plan.stories:
            ended.append(await _tell_stories(console, target))
        if plan.stories and attach is None:
            ended.append(await _tell_hearing(console, target))
        if plan.checkouts is not None and report is not None:
            ended.append(await _tell_day(console, target, plan.checkouts, report))
        sound = await _show_books(console, target)
    ended.append((sound, "the audit is clean" if sound else "the audit is NOT clean"))
    everything = all(right for right, _ in ended)
    console.print(
        "",
        Text.assemble(
            (" ✓ " if everything else " ✗ ", "bold"),
            (", ".join(said for _, said in ended), "bold"),
            f" · {time.monotonic() - began_s:.0f} s",
            style="green" if everything else "red",
        ),
        sep="\n",
    )
    if attach is None:
        console.print("", _next_steps(report if report is not None and report.exists() else None, ui_url), sep="\n")
    return everything


def _stop_on_signals() -> None:
    """Ctrl-C, a closed terminal or a `kill` cancel this task: the stack stops, its folder goes. Again: it hurries."""
    task = asyncio.current_task()
    if task is not None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signum, task.cancel)


def _next_steps(report: Path | None, ui_url: str) -> RenderableType:
    """The last lines: the report that is left, and what to try in a stack that stays."""
    steps = Table.grid(padding=(0, 2))
    steps.add_column(no_wrap=True, overflow="fold")
    steps.add_row("   make run", Text("a stack that stays", "dim"))
    steps.add_row(f"   {ui_url}", Text("its Temporal UI", "dim"))
    today = f"{datetime.now(UTC):%F}"
    for command, what in (
        ("demo --attach", "the stories again, in that stack"),
        ("payouts run", "pay every seller who is due today"),
        (f"reconcile run --date {today}", "compare today with the PSP"),
    ):
        steps.add_row(f"   .venv/bin/paysaga {command}", Text(what, "dim"))
    parts: list[RenderableType] = [Text(" Everything was stopped and removed. Next:", "bold")]
    if report is not None:  # a line of its own: a path is as long as it is, and is to be copied whole
        parts.append(
            Text.assemble(("   what was found; beside it, as .csv, every line: ", "dim"), str(report), overflow="fold")
        )
    return Group(*parts, steps)


# --- where ---


def _given(name: str) -> str:
    """A setting as the person has it, of the stack that is theirs and not of the demo's."""
    return os.environ.get(f"PAYSAGA_{name.upper()}", str(Settings.model_fields[name].default))


def _report_file() -> Path:
    """The path of the report, in the person's own data folder; the report of an earlier demo is removed."""
    report = Path(_given("home")).expanduser() / "demo" / "reconciliation.html"
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
    except OSError as error:
        raise StackError(
            f"{report} cannot be written ({error.strerror}): choose a folder with PAYSAGA_HOME."
        ) from error
    return report


@asynccontextmanager
async def _own_stack(console: Console) -> AsyncIterator[_Target]:
    console.print(
        Text.assemble(("Paysaga", "bold"), " tells what can happen to a checkout. First, a stack of its own:")
    )
    with tempfile.TemporaryDirectory(prefix="paysaga-demo-", ignore_cleanup_errors=True) as folder:
        display = _StartDisplay(console)
        stack = EmbeddedStack(_own_settings(Path(folder)), display=display)
        async with stack, _open(stack.settings, stack.sandbox_url, kill=lambda: _kill(stack)) as target:
            display.silent = True
            console.print(Text(f"  The Temporal UI, while it lasts: {stack.settings.temporal_ui_url}", "dim"))
            try:
                yield target
            finally:
                console.print("", Text(" Stopping …", "dim"), sep="\n")


def _own_settings(home: Path) -> Settings:
    """Nothing of the person's own settings: no real PSP, database or cluster is ever touched. And nothing that runs
    once a day runs just now."""
    for name in [name for name in os.environ if name.startswith("PAYSAGA_")]:
        del os.environ[name]
    nightly = f"{datetime.now(UTC) + timedelta(hours=12):%H:%M}"
    never = {"payout_run_at": nightly, "reconcile_at": nightly, "reconcile_every_s": _NEVER_S}
    here = {"webhooks_to_loopback": True, "mailbox": home / "mailbox"}
    return free_settings(home, log_level="WARNING", **here, **never, **DAY_SETTINGS)


def _kill(stack: EmbeddedStack) -> None:
    """Nothing is finished, nothing is said. The supervisor starts both again."""
    for name in ("api", "worker"):
        os.kill(stack.pid_of(name), signal.SIGKILL)


@asynccontextmanager
async def _attached(settings: Settings) -> AsyncIterator[_Target]:
    """Beside a running stack nothing is killed."""
    key = settings.stripe_api_key.get_secret_value() if settings.stripe_api_key else None
    if key != SANDBOX_STRIPE_KEY or not settings.stripe_base_url:
        raise StackError("The demo attaches to an embedded stack with its sandbox PSP, and none runs: try `make run`.")
    async with _open(settings, settings.stripe_base_url, kill=None) as target:
        yield target


@asynccontextmanager
async def _open(settings: Settings, sandbox_url: str, *, kill: Callable[[], None] | None) -> AsyncIterator[_Target]:
    url = local_url(settings.api_host, settings.api_port)
    psp = Psp(sandbox_url, SANDBOX_STRIPE_KEY)
    shop = Shop(url, DEVELOPMENT_API_KEY)
    try:
        async with _cautious_shop(settings, url) as cautious:
            yield _Target(settings, shop, cautious, psp, kill)
    finally:
        await shop.close()
        await psp.close()


@asynccontextmanager
async def _database(settings: Settings, *, timeout_s: float = 3.0) -> AsyncIterator[Database]:
    """The stack's database. Raises StackError where the settings name none."""
    if settings.database_url is None:
        raise StackError("The stack has no database.")
    database = Database(
        settings.database_url.get_secret_value(), pool_size=FEW, timeout_s=timeout_s, application="demo"
    )
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _cautious_shop(settings: Settings, url: str) -> AsyncIterator[Shop]:
    """A second tenant, with risk rules and a key that is taken back afterwards: the rules of the first stay as they
    are."""
    async with _database(settings) as database:
        secret = api_key.new_secret()
        key_id = await database.run(lambda c: api_key.create(c, _CAUTIOUS_TENANT, "demo", secret))
        shop = Shop(url, secret)
        try:
            await shop.open_merchant("seller_anna")
            await shop.set_rules(RULES)
            yield shop
        finally:
            await shop.close()
            with suppress(Unavailable):
                await database.run(lambda c: api_key.revoke(c, key_id))


# --- what ---


async def _tell_stories(console: Console, target: _Target) -> tuple[bool, str]:
    console.print("", Text(_INTRODUCTION, "dim"), "", sep="\n")
    stories = StoryTable(console)
    await _tell_all(stories, target)
    told = [entry for entry in stories.entries if not entry.skipped]
    right = sum(not entry.wrong for entry in told)
    return right == len(told), f"{right} of {len(told)} stories ended as they should"


async def _tell_hearing(console: Console, target: _Target) -> tuple[bool, str]:
    margin_s = target.settings.authorization_margin_s
    context = Context(target.shop, target.psp, f"demo-{secrets.token_hex(4)}", margin_s)
    try:
        wrong = await tell_hearing(console, context)
    except (Unexpected, httpx2.HTTPError) as error:
        wrong = [f"{error or repr(error)}"]
    for sentence in wrong:
        console.print(Text(f" ✗ {sentence}", "bold red"))
    return not wrong, "the shop did NOT hear of everything" if wrong else "the shop heard of everything"


async def _tell_day(console: Console, target: _Target, checkouts: int, report: Path) -> tuple[bool, str]:
    try:
        wrong = await tell_day(DayContext(console, target.settings, target.shop, target.psp, checkouts, report))
    except (Unexpected, StackError, Unavailable, WorkflowFailureError, httpx2.HTTPError) as error:
        wrong = [f"the day broke off: {error or repr(error)}"]
        console.print(Text(f" ✗ {wrong[0]}", "bold red"))
    if wrong:
        return False, f"the day went wrong in {len(wrong)} point{'s' if len(wrong) > 1 else ''}"
    return True, "the day went as planned"


async def _tell_all(stories: StoryTable, target: _Target) -> None:
    """Side by side, a few at a time; what kills processes comes last and alone."""
    seats = asyncio.Semaphore(_AT_ONCE)

    async def tell(entry: Entry) -> None:
        async with seats:
            await _tell(entry, target)

    async with stories.shown():
        await asyncio.gather(*(tell(entry) for entry in stories.entries if not entry.story.alone))
        for entry in stories.entries:
            if entry.story.alone and target.kill is None:
                entry.skip()
            elif entry.story.alone:
                await _tell(entry, target)


async def _tell(entry: Entry, target: _Target) -> None:
    """Tell a story and wait until everything is as it should be, or for too long."""
    shop = target.cautious if entry.story.cautious else target.shop
    margin_s = target.settings.authorization_margin_s
    context = Context(shop, target.psp, entry.story.checkout(), margin_s, target.kill)
    facts: Facts | None = None
    entry.begin()
    try:
        payment_id = await entry.story.tell(context)
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            facts = await facts_of(shop, target.psp, payment_id, context.checkout)
            wrong = differences(entry.story, facts)
            if not wrong or time.monotonic() > deadline_s:
                break
            await asyncio.sleep(_GAP_S)
    except Unexpected as error:
        wrong = [str(error)]
    except httpx2.HTTPError as error:
        wrong = [f"no answer: {error!r}"]
    entry.end(facts, wrong)


async def _show_books(console: Console, target: _Target) -> bool:
    """The trial balance of all stories together, and the audit of the database that they left behind."""
    temporal = await connect(target.settings, keyring_of(target.settings))
    async with _database(target.settings, timeout_s=30.0) as database:
        await _seal(temporal, target.settings)
        balance = await database.read(lambda c: balances(c, by_tenant=False))
        console.print("", _title("The books after all that"), trial_balance_table(balance), sep="\n")
        checked = await check_everything(database, temporal)
    # Without the notes: what they say to keep is about a ledger that is gone in a moment.
    shown = [replace(one, note="") for one in checked]
    console.print("", _title("The money invariants"), audit_report(shown), sep="\n")
    return is_clean(checked)


async def _seal(temporal: Client, settings: Settings) -> None:
    """Seal what was posted so far, as the schedule does every hour: the audit then verifies all of it."""
    queue = settings.temporal_task_queue
    await temporal.execute_workflow(SEAL_WORKFLOW, id=f"{queue}-seal-demo", task_queue=queue)


def _title(text: str) -> Rule:
    return Rule(Text(f"{text} ", "bold cyan"), align="left", style="cyan dim", characters="─")
