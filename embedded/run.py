"""`paysaga run`: the stack at a terminal, from the first line to Ctrl-C."""

import asyncio
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from config.settings import DEVELOPMENT_API_KEY, Settings
from embedded.display import TerminalDisplay
from embedded.errors import StackError
from embedded.first_checkout import FirstCheckout, send_first_checkout
from embedded.home import Home
from embedded.stack import EmbeddedStack

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_STOPPING = Text.assemble(("Paysaga", "bold"), " stops. Ctrl-C again to hurry.")
_HURRYING = Text("At once.")


async def run_stack(
    settings: Settings, console: Console, *, pieces: Collection[str] | None = None, first_checkout: bool = True
) -> None:
    """Start, say hello, stay. Returns after Ctrl-C, SIGTERM or a closed terminal, when every child has stopped."""
    display = TerminalDisplay(console)
    if "api_processes" not in settings.model_fields_set:
        settings = settings.model_copy(update={"api_processes": processes_on(_cores())})
    if _has_no_channels(settings):
        settings = settings.model_copy(update={"mailbox": Home(settings.home).mailbox})
    stack = EmbeddedStack(settings, pieces=pieces, display=display)
    display.show(Text.assemble(("Paysaga", "bold"), f" starts in {stack.home.path}"))
    with _signals_cancel(display):
        try:
            async with stack:
                checkout = await _first_checkout(stack, display) if first_checkout and _is_a_sandbox(stack) else None
                display.show(_panel(stack, checkout))
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            display.show(Text.assemble(("Stopped.", "bold"), f" Your data is in {stack.home.path}"))


def _has_no_channels(settings: Settings) -> bool:
    """Whether what people are told has nowhere to go, and everything else is of this machine too."""
    theirs = (settings.database_url, settings.stripe_api_key, settings.smtp_url, settings.twilio_account_sid)
    return settings.mailbox is None and all(one is None for one in theirs)


def processes_on(cores: int) -> int:
    """API processes that a machine bears beside PostgreSQL, Temporal and the worker, which need half of it. More than
    four would wait for Temporal, whose embedded server writes to one SQLite."""
    return max(1, min(cores // 2, 4))


def _cores() -> int:
    """Those that this process may use; one where several processes cannot share a port."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


@contextmanager
def _signals_cancel(display: TerminalDisplay) -> Iterator[None]:
    """The first signal cancels this task, which stops the stack; each later one makes that hurry."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    heard: list[int] = []

    def hear(signum: int) -> None:
        if task is None or len(heard) > 1:
            return
        heard.append(signum)
        task.cancel()
        # The terminal has echoed ^C: go on below it.
        display.show("", _STOPPING if len(heard) == 1 else _HURRYING)

    for signum in _SIGNALS:
        loop.add_signal_handler(signum, hear, signum)
    try:
        yield
    finally:
        for signum in _SIGNALS:
            loop.remove_signal_handler(signum)


def _is_a_sandbox(stack: EmbeddedStack) -> bool:
    """True if no real money and nobody's real database can be touched, and the development key exists."""
    return {"seed", "sandbox", "api"} <= stack.pieces


async def _first_checkout(stack: EmbeddedStack, display: TerminalDisplay) -> FirstCheckout | None:
    """A refusal is shown and the stack stays up: whoever sees it wants to look into the logs and the UI."""
    try:
        with display.step("First checkout") as step:
            checkout = await send_first_checkout(stack.api_url)
            step.detail = checkout.summary
    except StackError as problem:
        display.note(str(problem))
        return None
    return checkout


def _panel(stack: EmbeddedStack, checkout: FirstCheckout | None) -> Panel:
    """The links of the running stack; 100 columns hold the longest of them on one line, where it can be clicked."""
    ui = stack.settings.temporal_ui_url
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column(overflow="fold")
    if "api" in stack.pieces:
        rows.add_row("API", _link(f"{stack.api_url}/docs"))
    if ui:
        rows.add_row("Temporal UI", _link(ui))
    if "sandbox" in stack.pieces:
        rows.add_row("Sandbox PSP", _link(stack.sandbox_url))
    if stack.settings.mailbox is not None:
        rows.add_row("Mailbox", _link(f"{stack.api_url}/mailbox"))
    if "seed" in stack.pieces:
        rows.add_row("Development key", Text(DEVELOPMENT_API_KEY, style="green"))
    rows.add_row("Logs", Text(str(stack.home.logs)))
    lines: list[RenderableType] = [rows, ""]
    if ui and checkout:
        lines += ["The workflow that carried the first checkout:"]
        lines += [_link(checkout.workflow_url(ui, stack.settings.temporal_namespace)), ""]
    lines += [Text.assemble(("Ctrl-C", "bold"), f" stops it; your data stays in {stack.home.path}")]
    title = "[bold]Paysaga is up[/bold]"
    return Panel(Group(*lines), title=title, title_align="left", border_style="green", padding=(1, 1))


def _link(url: str) -> Text:
    return Text(url, style=f"cyan link {url}")
