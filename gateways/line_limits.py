"""What a line of a file or a list may hold. Everything past it is no real movement, and would not fit where lines are
kept, indexed and added up."""

from datetime import datetime
from typing import TypeVar

N = TypeVar("N", str, str | None)

AMOUNT_MAX = 10**16
"""Minor units, either way: a hundred trillion dollars."""
NAME_MAX = 255
"""Characters of what names something; every name is looked up by an index."""
YEARS = range(2000, 2200)


def bounded_amount(amount: int) -> int:
    """Raises ValueError."""
    if abs(amount) > AMOUNT_MAX:
        raise ValueError(f"an amount of {len(str(abs(amount)))} digits, which nobody moves")
    return amount


def bounded_time(time: datetime) -> datetime:
    """Raises ValueError."""
    if time.year not in YEARS:
        raise ValueError(f"a time in the year {time.year}")
    return time


def bounded_name(name: N) -> N:
    """Raises ValueError."""
    if name is not None and len(name) > NAME_MAX:
        raise ValueError(f"a name of {len(name)} characters, {name[:20]!r}…")
    if name is not None and clean(name) != name:
        raise ValueError("a character that no text has")
    return name


def clean(text: str) -> str:
    """Without what JSON can escape and no database keeps."""
    return text.replace("\0", "").encode(errors="replace").decode()
