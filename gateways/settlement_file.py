"""The common ground of settlement files, bank statements and lists of movements: the error, how amounts and times are
read, and the bounds of a line. Past these it is no real movement, and would not fit the columns that keep lines.

Files come from a PSP or a bank, where nobody would correct a number for us, so none is refused for card data. Free text
is masked where a line is made of it (`free_text`), and so is what a remark or an error quotes. These stay as they are,
because books are compared by them: the PSP's names of a movement, of its object and charge, our own id, the bank's
references, end-to-end ids and creditor's references. One in twenty-five ids of sixteen digits would be masked.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TypeVar

from domain.card_data import mask_card_data
from domain.money import exponent

N = TypeVar("N", str, str | None)

AMOUNT_MAX = 10**16
"""Minor units, either way: a hundred trillion dollars."""
NAME_MAX = 255
"""Characters of what names something; every name is looked up by an index."""
YEARS = range(2000, 2200)

_DECIMAL = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]{0,18})(?:\.([0-9]{0,18}))?", re.ASCII)
"""A decimal of XML Schema: a sign, and a digit on at least one side of the point."""

PARTS_LINES_MAX = 1_000_000
"""Lines that are remembered of a file's parts: some 70 bytes each."""

NOTES_MAX = 20
"""Remarks of one reading that are kept."""


class SettlementFileError(ValueError):
    """A settlement file or bank statement that cannot be relied on; `line_no` counts from 1."""

    def __init__(self, line_no: int, reason: str) -> None:
        self.line_no = line_no
        self.reason = mask_card_data(reason)
        super().__init__(f"line {line_no}: {self.reason}")


@dataclass
class Reading:
    """The terms of reading a file, and remarks about it. `zone`: of its times that have none. `notes`: sentences
    for a person about what does not stop the reading, each once; `counts`: others, with how often each was so."""

    zone: tzinfo = UTC
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _part: set[int] | None = None
    _earlier: set[int] = field(default_factory=set)

    def note(self, sentence: str) -> None:
        sentence = mask_card_data(sentence)
        if sentence not in self.notes and len(self.notes) < NOTES_MAX:
            self.notes.append(sentence)

    def remarks(self) -> list[str]:
        """The sentences for a person about all that was read."""
        return [*self.notes, *(f"{sentence}: {number:,}." for sentence, number in self.counts.items())]

    def begin_part(self) -> None:
        """A part of the file begins that may have lines of an earlier one: a statement, or a file in a zip."""
        self._earlier |= self._part or set()
        self._part = set()

    def repeated(self, *facts: object) -> bool:
        """Whether an earlier part has a line of these facts; such a line is counted, and there once. Within a part two
        that are alike are two. Past PARTS_LINES_MAX none is known any more, and so each is there."""
        if self._part is None:
            return False
        digest = hash(facts)
        if digest in self._earlier:
            self.counts["Lines that an earlier file or statement of this upload has as well, and that count once"] += 1
            return True
        if len(self._earlier) + len(self._part) < PARTS_LINES_MAX:
            self._part.add(digest)
        return False


def minor_units(text: str, currency: str) -> int:
    """`"-500.00"`, INR → -50000, without a float. Digits past the currency's own must be 0. Raises ValueError, also
    for more than anybody moves."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:50]!r} is not an amount")
    sign, whole, fraction = match[1], match[2], match[3] or ""
    digits = exponent(currency)
    if fraction[digits:].strip("0"):
        raise ValueError(f"{text!r} is finer than {currency} is")
    number: int = int(whole or "0") * 10**digits + int(fraction[:digits].ljust(digits, "0") or "0")
    return bounded_amount(-number if sign == "-" else number)


def utc(text: str, zone: tzinfo = UTC) -> datetime:
    """An ISO 8601 time of our age, in UTC; one without an offset is of `zone`. Raises ValueError."""
    try:
        time = datetime.fromisoformat(text)
        time = (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:50]!r} is not a time") from None
    return bounded_time(time)


def bounded_amount(amount: int) -> int:
    """The amount itself. Raises ValueError past AMOUNT_MAX."""
    if abs(amount) > AMOUNT_MAX:
        raise ValueError(f"an amount of {len(str(abs(amount)))} digits, which nobody moves")
    return amount


def bounded_time(time: datetime) -> datetime:
    """The time itself. Raises ValueError outside YEARS."""
    if time.year not in YEARS:
        raise ValueError(f"a time in the year {time.year}")
    return time


def bounded_name(name: N) -> N:
    """The name itself. Raises ValueError for one that is too long, or has a character that no text has."""
    if name is not None and len(name) > NAME_MAX:
        raise ValueError(f"a name of {len(name)} characters, {name[:20]!r}…")
    if name is not None and clean(name) != name:
        raise ValueError("a character that no text has")
    return name


def free_text(text: str | None) -> str | None:
    """A description or remittance text as it is kept, without what no database keeps and with card numbers masked; None
    for one that is empty."""
    return mask_card_data(clean(text)) if text else None


def clean(text: str) -> str:
    """The text without characters that JSON can escape and no database keeps."""
    return text.replace("\0", "").encode(errors="replace").decode()
