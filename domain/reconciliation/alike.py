"""The pairing of bank entries and payouts that only amount and day bring together.

Pure. An entry that names the PSP goes first; then the oldest entry goes with the oldest payout that it can be. Where
another choice would have been as good, the guess says so.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from domain.reconciliation.reconciliation import shown

DAYS_AFTER = 10
"""The most days from a payout to its entry where only the amount says that they belong together."""
DAYS_BEFORE = 1
"""The most days that an entry may be ahead of its payout: a bank's day may be another one than that of the zone."""

NOTES_MAX = 20
"""Remarks of one run about what is alike."""
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that names no payout of ours. `reference` is the bank's; `of_psp`: its text names the PSP."""

    run_id: str
    line_no: int
    reference: str
    amount: int
    currency: str
    day: date
    of_psp: bool


@dataclass(frozen=True, slots=True)
class Paid:
    """A payout, or its return, that no entry has confirmed, with the sign that it has at the bank."""

    kind: str
    key: str
    amount: int
    currency: str
    day: date


@dataclass(frozen=True, slots=True)
class Guess:
    """An entry with the payout that it is taken for. `entries` and `payouts`: all that it was chosen among."""

    entry: Entry
    paid: Paid
    entries: tuple[Entry, ...]
    payouts: tuple[Paid, ...]

    @property
    def alike(self) -> bool:
        """True if another choice would have been as good."""
        return len(self.entries) > 1 or len(self.payouts) > 1


def pair(entries: Sequence[Entry], payouts: Sequence[Paid]) -> list[Guess]:
    """Each entry and each payout at most once; as many pairs as days allow."""
    alike: dict[tuple[int, str], tuple[list[Entry], list[Paid]]] = defaultdict(lambda: ([], []))
    for entry in entries:
        alike[entry.amount, entry.currency][0].append(entry)
    for paid in payouts:
        alike[paid.amount, paid.currency][1].append(paid)
    guesses: list[Guess] = []
    for there, ours in alike.values():
        open_ones = sorted(ours, key=lambda paid: (paid.day, paid.key))
        for of_psp in (True, False):
            found = _in_order([entry for entry in there if entry.of_psp is of_psp], open_ones)
            taken = {guess.paid for guess in found}
            open_ones = [paid for paid in open_ones if paid not in taken]
            guesses += found
    return guesses


def _in_order(entries: Sequence[Entry], payouts: Sequence[Paid]) -> list[Guess]:
    """Each entry in the order of days with the oldest payout that is left for it: no other way makes more pairs."""
    left = list(payouts)
    found: list[Guess] = []
    for entry in sorted(entries, key=lambda entry: (entry.day, entry.line_no)):
        paid = next((paid for paid in left if _may_be(entry, paid)), None)
        if paid is None:
            continue
        left.remove(paid)
        likewise = tuple(other for other in entries if _may_be(other, paid))
        found.append(Guess(entry, paid, likewise, tuple(other for other in payouts if _may_be(entry, other))))
    return found


def _may_be(entry: Entry, paid: Paid) -> bool:
    """True if the days allow it. A payout's return may be at the bank long before the PSP tells of it."""
    before = DAYS_BEFORE if paid.amount > 0 else DAYS_AFTER
    return -before <= (entry.day - paid.day).days <= DAYS_AFTER


def remarks(guesses: Sequence[Guess]) -> list[str]:
    """A sentence for each amount of which several are alike."""
    said: list[str] = []
    for same in sorted({(guess.entry.currency, guess.entry.amount) for guess in guesses if guess.alike}):
        those = [guess for guess in guesses if guess.alike and (guess.entry.currency, guess.entry.amount) == same]
        entries = {entry.reference: None for guess in those for entry in guess.entries}
        payouts = {paid.key: None for guess in those for paid in guess.payouts}
        pairs = ", ".join(f"{guess.entry.reference} with {guess.paid.key}" for guess in those[:_NAMED_MAX])
        more = f" and {len(those) - _NAMED_MAX} more" if len(those) > _NAMED_MAX else ""
        said.append(
            f"{_number(len(entries), 'entry', 'entries')} and {_number(len(payouts), 'payout', 'payouts')} of "
            f"{shown(same[1], same[0])} {same[0]} are alike, and no name tells them apart. They were paired in the "
            f"order of their days, which is a guess: {pairs}{more}."
        )
    if len(said) > NOTES_MAX:
        said[NOTES_MAX:] = [f"{len(said) - NOTES_MAX} more amounts have several entries or payouts that are alike."]
    return said


def _number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
