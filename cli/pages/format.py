"""The look of operators' pages: columns, statuses in colour, amounts, times."""

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.rule import Rule

from cli.pages.layout import Facts as Facts
from cli.pages.layout import Listing as Listing
from cli.pages.layout import Typed
from cli.pages.layout import Words as Words
from cli.pages.layout import text as text
from cli.pages.layout import whole as whole
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


_AMOUNTS = frozenset(
    (
        "amount",
        "balance",
        "captured",
        "gross",
        "fee",
        "net",
        "pending",
        "available",
        "reserved",
        "owed",
        "debit",
        "credit",
    )
)


def table(*columns: str, right: Iterable[str] = ()) -> Listing:
    """Amounts, and what else is to line up on the `right`, are not folded."""
    return Listing(columns, right=_AMOUNTS | set(right))


def ids(own: str, other: str) -> Words:
    """Two ids in one column, so that both can be copied also from a narrow terminal."""
    return text(own, "\n", (other, "dim")) if other else text(own)


def psp_id(reference: str | None) -> str:
    """The PSP's own id of an object: some of its prefixes (re_, po_, ch_, dp_) are ours as well."""
    return f"the PSP's {reference}" if reference else "no reference"


def later(told: bool) -> str:
    """The words that a sentence adds where Temporal did not hear of the command."""
    return "" if told else " Temporal does not answer: it is stored, and the sweeper sees to it."


def typed(words: str, style: str = "dim") -> Typed:
    """Words with commands to type, between backticks, each of which is on one line."""
    return Typed((words, style))


def facts() -> Facts:
    """`name  value`, one a line."""
    return Facts()


def status(name: str) -> Words:
    return text((name, _STYLES.get(name, "cyan")))


def because(name: str, why: str) -> Words:
    """A status, and below it what is to be said of it."""
    return text(status(name), *(("\n", (why, "dim")) if why else ()))


def amount(minor: int, currency: str) -> str:
    return f"{to_major(minor, currency)} {currency}"


def time(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else "–"


def clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]


def left(at: datetime | None) -> Words:
    """`in 3 h` until a deadline, louder when it is near."""
    if at is None:
        return text("–")
    seconds = (at - datetime.now(UTC)).total_seconds()
    if seconds <= 0:
        return text(("over", "bold red"))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= 2 * size or unit == "s":
            return text((f"in {seconds / size:.0f} {unit}", "bold red" if seconds < _NEAR_S else ""))
    return text(("now", "bold red"))


def failure(why: Failure | None) -> str:
    return f"{why.code}: {why.message}" if why else ""


def section(title: str, content: RenderableType | None) -> list[RenderableType]:
    if content is None:
        return []
    return ["", Rule(text((f"{title} ", "bold cyan")), align="left", style="cyan dim"), content]
