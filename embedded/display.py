"""The progress that a person sees while the stack starts, runs and stops."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_REDRAW_S = 1 / 12


@dataclass
class Step:
    """One line of progress; whoever works on it may fill in the detail."""

    title: str
    detail: str = ""
    began_s: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """The time it has taken so far."""
        return time.monotonic() - self.began_s


class Display(Protocol):
    """The listener to what the supervisor does."""

    @contextmanager
    def step(self, title: str, detail: str = "") -> Iterator[Step]:
        """Show that something is under way, and how it ended."""
        yield Step(title, detail)

    def note(self, text: str) -> None:
        """Show one sentence."""


class QuietDisplay:
    """Says nothing: for tests."""

    @contextmanager
    def step(self, title: str, detail: str = "") -> Iterator[Step]:
        """Nothing is shown."""
        yield Step(title, detail)

    def note(self, text: str) -> None:
        """Nothing is shown."""


class TerminalDisplay:
    """Spinners for what goes on, and a lasting line for what is done; plain lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._active: list[Step] = []
        self._live: Live | None = None
        # Rich's own refresh thread races with print and then leaves half-drawn lines: ours takes turns with it.
        self._turn = threading.RLock()

    @contextmanager
    def step(self, title: str, detail: str = "") -> Iterator[Step]:
        """A spinner with seconds, then ✓ or ✗. Several steps may go on side by side."""
        step = Step(title, detail)
        self._active.append(step)
        self._refresh()
        try:
            yield step
        except BaseException:
            self._settle(step, Text("✗", style="bold red"))
            raise
        self._settle(step, Text("✓", style="bold green"))

    def note(self, text: str) -> None:
        """A line above whatever is spinning."""
        self.show(Text.assemble(("  • ", "yellow"), text))

    def show(self, *what: RenderableType) -> None:
        """Print it. Never raises: when the terminal is closed, the stack still has to be stopped."""
        with self._unless_gone():
            for part in what:
                self._console.print(part)

    def _settle(self, step: Step, mark: Text) -> None:
        with self._unless_gone():
            self._active.remove(step)
            self._console.print(_row(step, mark))
        self._refresh()

    def _refresh(self) -> None:
        if not self._console.is_terminal or self._console.quiet:
            return
        with self._unless_gone():
            if self._active and self._live is None:
                self._live = Live(
                    get_renderable=self._render, console=self._console, transient=True, auto_refresh=False
                )
                self._live.start(refresh=True)
                threading.Thread(target=self._spin, args=(self._live,), daemon=True).start()
            elif not self._active and self._live is not None:
                live, self._live = self._live, None
                live.stop()

    def _spin(self, live: Live) -> None:
        """Redraw as long as this is what is shown."""
        while self._live is live and not self._console.quiet:
            with self._unless_gone():
                if self._live is live:
                    live.refresh()
            time.sleep(_REDRAW_S)

    @contextmanager
    def _unless_gone(self) -> Iterator[None]:
        with self._turn:
            try:
                yield
            except OSError:  # closed terminal, broken pipe
                self._console.quiet = True

    def _render(self) -> RenderableType:
        return Group(*(_row(step, Spinner("dots", style="cyan")) for step in self._active))


def _row(step: Step, mark: RenderableType) -> Table:
    """`  ✓ PostgreSQL 18          1.2 s   …/run/pg`, in columns that line up from one row to the next."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=3, justify="right")
    row.add_column(width=26, no_wrap=True)
    row.add_column(width=7, justify="right", style="cyan")
    row.add_column(style="dim", no_wrap=True, overflow="ellipsis")
    row.add_row(mark, Text(step.title), f"{step.seconds:.1f} s", Text(step.detail))
    return row
