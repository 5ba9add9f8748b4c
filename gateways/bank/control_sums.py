"""The control sums of a bank's statement: what it says of its entries as a whole, against the entries themselves.

They stop nothing: a bank's sums may be of more than what it lists. What contradicts is said to a person.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from gateways.settlement_file import Reading

SUMMARY = ["TxsSummry"]
BALANCE = ["Bal"]

_BEGIN, _END = ("OPBD", "PRCD"), ("CLBD",)
_PARTS = {"TtlNtries": "entries", "TtlCdtNtries": "credits", "TtlDbtNtries": "debits"}
_AMOUNT_MAX = 40
"""Characters of a sum; what is longer is none."""


@dataclass
class ControlSums:
    """Of one statement. `name`: its id, for a sentence."""

    name: str = ""
    _told: dict[tuple[str, str], str] = field(default_factory=dict)
    _balances: dict[str, tuple[Decimal, str]] = field(default_factory=dict)
    _balance: dict[str, str] = field(default_factory=dict)
    _counts: Counter[tuple[str, bool]] = field(default_factory=Counter)
    _sums: dict[tuple[str, bool], Decimal] = field(default_factory=dict)
    _booked: dict[str, Decimal] = field(default_factory=dict)

    def told(self, path: list[str], text: str, currency: str) -> None:
        """An element's text inside `Stmt/TxsSummry` or `Stmt/Bal`; `path` is the way to it from `Stmt`."""
        if path[:1] == SUMMARY and len(path) == 3 and path[1] in _PARTS:
            self._told[path[1], path[2]] = text
        elif path[:1] == BALANCE:
            self._balance["/".join(path[1:])] = text
            if path == [*BALANCE, "Amt"]:
                self._balance["currency"] = currency

    def balance_ends(self) -> None:
        """Keep the balance that was told last."""
        balance, self._balance = self._balance, {}
        amount = _decimal(balance.get("Amt", ""))
        if amount is not None:
            sign = -1 if balance.get("CdtDbtInd") == "DBIT" else 1
            self._balances[balance.get("Tp/CdOrPrtry/Cd", "")] = (sign * amount, balance.get("currency", ""))

    def entry(self, amount: str | None, currency: str, direction: str | None, *, booked: bool) -> None:
        """Count an entry, booked or not."""
        size, way = _decimal(amount or "") or Decimal(0), "TtlDbtNtries" if direction == "DBIT" else "TtlCdtNtries"
        for key in ((part, alone) for part in ("TtlNtries", way) for alone in ((False, True) if booked else (False,))):
            self._counts[key] += 1
            self._sums[key] = self._sums.get(key, Decimal(0)) + size
        if booked:
            signed = -size if direction == "DBIT" else size
            self._booked[currency] = self._booked.get(currency, Decimal(0)) + signed

    def compare(self, reading: Reading) -> None:
        """Note what contradicts the entries: all of them, and those alone that are booked, as banks do either."""
        name = f"Statement {self.name[:40]}" if self.name else "A statement"
        for (part, what), text in self._told.items():
            told = _decimal(text)
            have = [self._have(part, what, alone) for alone in (False, True)]
            if what in ("NbOfNtries", "Sum") and told is not None and told not in have:
                unit = "a number" if what == "NbOfNtries" else "a sum"
                reading.note(f"{name} says {unit} of {_PARTS[part]} of {told:f}, and has {have[0]:f}: is it whole?")
        begin = next((self._balances[code] for code in _BEGIN if code in self._balances), None)
        end = next((self._balances[code] for code in _END if code in self._balances), None)
        if begin is not None and end is not None and begin[1] == end[1]:
            moved, booked = end[0] - begin[0], self._booked.get(begin[1], Decimal(0))
            if moved != booked:
                reading.note(
                    f"{name} goes from {begin[0]:f} to {end[0]:f} {begin[1][:3]}, and its entries come to {booked:f}: "
                    "is it whole?"
                )

    def _have(self, part: str, what: str, alone: bool) -> Decimal:
        """The number or sum of entries; `alone`: of those that are booked."""
        key = (part, alone)
        return Decimal(self._counts[key]) if what == "NbOfNtries" else self._sums.get(key, Decimal(0))


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text) if len(text) <= _AMOUNT_MAX and text.isascii() else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() and abs(number.adjusted()) < _AMOUNT_MAX else None
