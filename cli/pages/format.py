"""The look of operators' pages: columns, statuses in colour, amounts, times."""

from datetime import UTC, datetime

from rich.console import RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from domain.model import Failure
from domain.money import to_major

_NEAR_S = 12 * 3_600
_GOOD, _BAD, _URGENT = "green", "red", "bold magenta"
_STYLES = {
    **dict.fromkeys(("SUCCESS", "SUCCEEDED", "WON", "ACTIVE", "PAID", "allow"), _GOOD),
    **dict.fromkeys(("FAILED", "LOST", "CLOSED", "RETURNED", "block"), _BAD),
    **dict.fromkeys(("NEEDS_ATTENTION", "NEEDS_RESPONSE", "IN_REVIEW", "review"), _URGENT),
    **dict.fromkeys(("CANCELLED", "FROZEN"), "yellow"),
}


_AMOUNTS = frozenset({"amount", "fee", "captured", "pending", "available", "reserved", "owed", "debit", "credit"})


def table(*columns: str) -> Table:
    """Amounts line up on the right; they and statuses are not folded. What is too wide folds, and nothing is cut."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(
            column,
            overflow="fold",
            justify="right" if column in _AMOUNTS else "left",
            no_wrap=column in _AMOUNTS or column == "status",
        )
    return made


def ids(own: str, other: str) -> Text:
    """Two ids in one column, so that both can be copied also from a narrow terminal."""
    return Text.assemble(own, "\n", (other, "dim"))


def psp_id(reference: str | None) -> str:
    """The PSP's own id of an object: some of its prefixes (re_, po_, ch_, dp_) are ours as well."""
    return f"the PSP's {reference}" if reference else "no reference"


def later(told: bool) -> str:
    """The words that a sentence adds where Temporal did not hear of the command."""
    return "" if told else " Temporal does not answer: it is stored, and the sweeper sees to it."


def typed(words: str, style: str = "dim") -> Text:
    """Words with commands to type. The terminal itself folds them, so that what is copied has no line break in it."""
    return Text(words, style, no_wrap=True, overflow="ignore")


def facts() -> Table:
    """`name  value`, one a line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def status(text: str) -> Text:
    return Text(text, _STYLES.get(text, "cyan"))


def amount(minor: int, currency: str) -> str:
    return f"{to_major(minor, currency)} {currency}"


def time(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else "–"


def clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]


def left(at: datetime | None) -> Text:
    """`in 3 h` until a deadline, louder when it is near."""
    if at is None:
        return Text("–")
    seconds = (at - datetime.now(UTC)).total_seconds()
    if seconds <= 0:
        return Text("over", "bold red")
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= 2 * size or unit == "s":
            return Text(f"in {seconds / size:.0f} {unit}", "bold red" if seconds < _NEAR_S else "")
    return Text("now", "bold red")


def failure(why: Failure | None) -> str:
    return f"{why.code}: {why.message}" if why else ""


def section(title: str, content: RenderableType | None) -> list[RenderableType]:
    if content is None:
        return []
    return ["", Rule(Text(f"{title} ", "bold cyan"), align="left", style="cyan dim"), content]
