"""The demo on the terminal: each story in two lines, in their order, while the next ones still run."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from demo.facts import Facts, formula
from demo.shop import CURRENCY
from demo.stories.checkouts import CHAPTERS
from demo.stories.story import Story
from domain.money import parse_major, to_major
from domain.statement import AccountBalance

WIDTH = 100
_TITLE_WIDTH = 42
_REDRAW_S = 1 / 12

_STYLES = {"SUCCESS": "green", "FAILED": "red", "CANCELLED": "yellow"}


@dataclass
class Entry:
    """One story and how far it has come."""

    story: Story
    began_s: float | None = None
    ended_s: float | None = None
    facts: Facts | None = None
    wrong: list[str] = field(default_factory=list)
    skipped: bool = False

    def begin(self) -> None:
        self.began_s = time.monotonic()

    def end(self, facts: Facts | None, wrong: Sequence[str]) -> None:
        self.facts, self.wrong, self.ended_s = facts, list(wrong), time.monotonic()

    def skip(self) -> None:
        self.began_s = self.ended_s = time.monotonic()
        self.skipped = True

    @property
    def seconds(self) -> float:
        if self.began_s is None:
            return 0.0
        return (self.ended_s or time.monotonic()) - self.began_s


class StoryTable:
    """The table of all stories. What is finished is printed for good, in order; what runs is drawn below it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.entries = [Entry(story) for _, stories in CHAPTERS for story in stories]
        self._chapters = {id(stories[0]): title for title, stories in CHAPTERS}
        self._printed = 0
        self._narrow = console.width < WIDTH

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Draw while the block runs. In this thread alone: Rich's own one would race with what is printed."""
        if not self._narrow:
            self._console.print(_heading())
        live = Live(console=self._console, transient=True, auto_refresh=False, vertical_overflow="crop")
        if self._console.is_terminal:
            live.start()
        drawing = asyncio.create_task(self._draw(live))
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
            if live.is_started:
                live.update("", refresh=True)
                live.stop()
            self._print_finished()

    async def _draw(self, live: Live) -> None:
        while True:
            self._print_finished()
            if live.is_started:
                live.update(self._running(), refresh=True)
            await asyncio.sleep(_REDRAW_S)

    def _print_finished(self) -> None:
        while self._printed < len(self.entries) and self.entries[self._printed].ended_s is not None:
            entry = self.entries[self._printed]
            chapter = self._chapters.get(id(entry.story))
            if chapter is not None:
                self._console.print("", _chapter(chapter), sep="\n")
            self._console.print(_finished(entry, narrow=self._narrow))
            self._printed += 1

    def _running(self) -> RenderableType:
        """The unfinished ones. Those that have ended already but come later only show their mark; those to
        come are counted."""
        rows: list[RenderableType] = [""]
        begun = [entry for entry in self.entries[self._printed :] if entry.began_s is not None]
        for entry in begun:
            row = _line()
            if entry.ended_s is not None:
                row.add_row(_mark(entry), Text(entry.story.title, "dim"), _seconds(entry))
            else:
                row.add_row(Spinner("dots", style="cyan"), Text(entry.story.title), _seconds(entry))
            rows.append(row)
        to_come = len(self.entries) - self._printed - len(begun)
        return Group(*rows, Text(f" ·  {to_come} more to come", "dim")) if to_come else Group(*rows)


def _grid() -> Table:
    """`✓ title | outcome | money at the PSP | seconds`, in columns that line up from one row to the next."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2, justify="right")
    grid.add_column(width=_TITLE_WIDTH, no_wrap=True)
    grid.add_column(width=31, no_wrap=True)
    grid.add_column(width=15, no_wrap=True)
    grid.add_column(width=6, justify="right", style="dim")
    return grid


def _line() -> Table:
    """The same for a story that is still being told."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2, justify="right")
    grid.add_column(width=_TITLE_WIDTH, no_wrap=True)
    grid.add_column(width=7, justify="right", style="dim")
    return grid


def _below() -> Table:
    """The second line: what the story shows, and what is in the books after it."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2)
    grid.add_column(width=_TITLE_WIDTH, style="dim")
    grid.add_column(width=WIDTH - _TITLE_WIDTH - 5)
    return grid


def _heading() -> RenderableType:
    first, second = _grid(), _below()
    first.add_row("", Text("Story", "bold"), Text("How it ended", "bold"), Text("PSP took, gave", "bold"), "time")
    second.add_row("", "what it shows", Text("what the PSP holds for us = whose it is", "dim"))
    return Group(first, second)


def _chapter(title: str) -> Rule:
    return Rule(Text(f"{title} ", "bold cyan"), align="left", style="cyan dim", characters="─")


def _finished(entry: Entry, *, narrow: bool) -> RenderableType:
    if entry.skipped and narrow:
        return Text.assemble((" – ", "dim"), entry.story.title, ("  left out: only in a stack of its own", "dim"))
    if entry.skipped:
        first, second = _grid(), _below()
        first.add_row(Text("–", "dim"), Text(entry.story.title), Text("left out", "dim"), "", "")
        second.add_row("", entry.story.lesson, Text("only in a stack of its own: `make demo`", "dim"))
        return Group(first, second)
    books = Text(formula(entry.facts.ledger) if entry.facts else "", "dim" if not _has_books(entry) else "")
    wrong = [Text(sentence, "bold red") for sentence in entry.wrong]
    return (_stacked if narrow else _side_by_side)(entry, books, wrong)


def _side_by_side(entry: Entry, books: Text, wrong: Sequence[Text]) -> RenderableType:
    first, second = _grid(), _below()
    first.add_row(_mark(entry), Text(entry.story.title, "bold"), _outcome(entry), _money(entry), _seconds(entry))
    second.add_row("", entry.story.lesson, books)
    for sentence in wrong:
        second.add_row("", "", sentence)
    return Group(first, second)


def _stacked(entry: Entry, books: Text, wrong: Sequence[Text]) -> RenderableType:
    """For a terminal that is too narrow for two columns."""
    head = Text.assemble(" ", _mark(entry), " ", (entry.story.title, "bold"), "  ", _seconds(entry))
    outcome = Text.assemble(_outcome(entry), "  ", _money(entry))
    below = [Text(entry.story.lesson, "dim"), outcome, books, *wrong]
    return Group(head, *(Padding(line, (0, 0, 0, 3)) for line in below))


def _has_books(entry: Entry) -> bool:
    return entry.facts is not None and bool(entry.facts.ledger)


def _mark(entry: Entry) -> Text:
    return Text("✗", "bold red") if entry.wrong else Text("✓", "bold green")


def _seconds(entry: Entry) -> Text:
    return Text(f"{entry.seconds:.1f} s")


def _outcome(entry: Entry) -> Text:
    if entry.facts is None:
        return Text("–", "red")
    status = entry.facts.status
    said = Text(status, _STYLES.get(status, "magenta"))
    dispute = entry.facts.dispute_status
    more = (entry.facts.failure, entry.facts.refund_status, dispute and f"dispute {dispute}")
    for text in more:
        said = said.append(f" {text}", "dim") if text else said
    return said


def _money(entry: Entry) -> Text:
    """`+500.00 −500.00`: what the PSP took from the buyer and gave back, by its own log."""
    if entry.facts is None:
        return Text("")
    if not entry.facts.asked:
        return Text("was not asked", "cyan")
    moved = [Text(f"+{amount}") for amount in entry.facts.charged]
    moved += [Text(f"−{amount}", style) for amount, style in _gone(entry.facts)]
    if moved:
        return Text(" ").join(moved)
    return Text(f"{entry.facts.let_go[0]} let go" if entry.facts.let_go else "nothing", "dim")


def _gone(facts: Facts) -> list[tuple[str, str]]:
    """(amount, style): refunds as one sum, and what a bank took for good."""
    refunded = sum(parse_major(amount, CURRENCY) for amount in facts.refunded)
    back = [(to_major(refunded, CURRENCY), "yellow")] if refunded else []
    return back + [(amount, "red") for amount in facts.lost]


# --- after the stories ---


def trial_balance_table(rows: Sequence[AccountBalance]) -> RenderableType:
    """Every account with its balance on its own side; the two sides are equal. Of the sellers' those that hold
    something; of currencies but the demo's own only that their sides are equal."""
    ours = [row for row in rows if row.currency == CURRENCY]
    debit, credit = _sides(ours)
    table = Table(box=None, padding=(0, 2), header_style="dim", show_footer=True, footer_style="bold")
    table.add_column("account", footer="both sides are equal", no_wrap=True)
    table.add_column("what it is")
    table.add_column("debit", justify="right", footer=to_major(debit, CURRENCY))
    table.add_column("credit", justify="right", footer=to_major(credit, CURRENCY))
    for row in ours:
        if not row.balance and row.account.startswith(("wallet:", "receivable:")):
            continue
        amount = to_major(abs(row.balance), row.currency)
        sides = (amount, "") if row.balance > 0 else ("", amount)
        table.add_row(row.account, Text(_meaning(row.account), "dim"), *(sides if row.balance else ("–", "–")))
    others = sorted({row.currency for row in rows} - {CURRENCY})
    return Group(table, *(_other_currency([row for row in rows if row.currency == code]) for code in others))


def _sides(rows: Sequence[AccountBalance]) -> tuple[int, int]:
    return sum(row.debit for row in rows), sum(row.credit for row in rows)


def _other_currency(rows: Sequence[AccountBalance]) -> Text:
    """`EUR: 123.00 on both sides of 7 accounts`"""
    code, (debit, credit) = rows[0].currency, _sides(rows)
    said = f"{to_major(debit, code)} on both sides" if debit == credit else f"{debit} and {credit}: NOT equal"
    return Text(f"  {code}: {said} of {sum(bool(row.balance) for row in rows)} accounts", "dim")


def _meaning(account: str) -> str:
    return {
        "psp_clearing": "what the PSP holds for us",
        "wallet": "what we owe the seller",
        "platform_fees": "what we have earned",
        "psp_fees": "what the PSP has kept",
        "suspense": "came in, and is nobody's yet",
        "receivable": "what the seller owes us",
        "disputes_held": "what we claim back from banks",
        "dispute_losses": "what no seller bears of them",
        "bank": "what the PSP has paid us",
        "payout_float": "transferred, not at the bank yet",
        "payout_in_transit": "left a wallet, not paid yet",
        "adjustments": "what a person decided to bear",
    }.get(account.partition(":")[0], "")
