"""Money: an integer count of minor units and an ISO 4217 code. No float, no Decimal past this file's edge."""

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from typing import Self

from iso4217 import Currency as Iso4217
from pydantic import BaseModel, ConfigDict

AMOUNT_MINOR_MAX = 99_999_999_999
"""999,999,999.99: far below BIGINT, so that no sum of a ledger overflows; a PSP's own limit may be lower."""

_MAJOR = re.compile(r"(0|[1-9][0-9]{0,14})(?:\.([0-9]{1,6}))?", re.ASCII)


class MoneyError(ValueError):
    """An amount or a currency that is not acceptable; `code` is the stable code of the HTTP contract."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


_RETIRED = {
    # Withdrawn from ISO 4217 (its list three): nothing new is charged in them, and what is stored stays readable.
    **dict.fromkeys("ANG BGN CUC CYP EEK GHC HRK LTL LVL MRO MTL SKK SLL STD TMM VEB VEF ZMK ZWD ZWL".split(), 2),  # noqa: SIM905
    "BYR": 0,
}


@cache
def exponent(currency: str) -> int:
    """Number of decimals of an ISO 4217 currency, also of one that was withdrawn since (INR 2, JPY 0, KWD 3, HRK 2).
    Raises MoneyError `currency_unknown`."""
    try:
        digits = Iso4217(currency).exponent
    except ValueError:
        digits = _RETIRED.get(currency)
    if digits is None or not currency.isupper():
        raise MoneyError("currency_unknown", f"{currency!r} is not an ISO 4217 currency code.")
    return int(digits)


@cache
def units() -> dict[str, str]:
    """One minor unit of each currency, in major units: INR `0.01`, JPY `1`. A number of minor units times this
    is an amount as `to_major` writes it, where a database multiplies."""
    codes = [*(known.code for known in Iso4217 if known.exponent is not None), *_RETIRED]
    return {code: to_major(1, code) for code in codes}


class Money(BaseModel):
    """A signed amount in minor units, and its currency. Adding two currencies raises MoneyError `currency_mismatch`."""

    model_config = ConfigDict(frozen=True)

    amount: int
    currency: str

    def __add__(self, other: Self) -> Self:
        self._same(other)
        return type(self)(amount=self.amount + other.amount, currency=self.currency)

    def __sub__(self, other: Self) -> Self:
        self._same(other)
        return type(self)(amount=self.amount - other.amount, currency=self.currency)

    def _same(self, other: Self) -> None:
        if self.currency != other.currency:
            raise MoneyError("currency_mismatch", f"{self.currency} and {other.currency} cannot be added.")

    def __str__(self) -> str:
        return f"{to_major(self.amount, self.currency)} {self.currency}"


def parse_major(text: str, currency: str) -> int:
    """`"500.00"`, INR → 50000. Raises MoneyError `amount_invalid`, `amount_precision` or `amount_too_large`."""
    match = _MAJOR.fullmatch(text)
    if match is None:
        raise MoneyError("amount_invalid", 'An amount is a decimal string in major units, such as "500.00".')
    whole, fraction = match[1], match[2] or ""
    digits = exponent(currency)
    if len(fraction) > digits:
        raise MoneyError("amount_precision", f"{currency} has {digits} decimals, {text!r} has {len(fraction)}.")
    amount: int = int(whole) * 10**digits + int(fraction.ljust(digits, "0") or "0")
    if amount > AMOUNT_MINOR_MAX:
        raise MoneyError("amount_too_large", f"{text} {currency} is above the largest amount that is accepted.")
    return amount


def to_major(amount: int, currency: str) -> str:
    """50000, INR → `"500.00"`; negative amounts keep their sign."""
    digits = exponent(currency)
    sign, number = ("-", -amount) if amount < 0 else ("", amount)
    if digits == 0:
        return f"{sign}{number}"
    whole, fraction = divmod(number, 10**digits)
    return f"{sign}{whole}.{fraction:0{digits}d}"


def allocate(total: int, weights: Sequence[int], unit: int = 1) -> list[int]:
    """Split `total` in proportion to `weights` so that the parts sum to it exactly (largest remainder method).

    Each part is a multiple of `unit`, but for the part that takes what `total` has beyond a multiple: the largest.
    Ties go to the earlier part, so that the same input always gives the same split. A zero sum of weights puts
    everything on the first part. Raises ValueError without weights or with a negative one.
    """
    if unit > 1:
        sign, (number, rest) = (-1 if total < 0 else 1), divmod(abs(total), unit)
        parts = [sign * unit * part for part in allocate(number, weights)]
        largest = max(range(len(parts)), key=lambda i: (abs(parts[i]), weights[i], -i))
        parts[largest] += sign * rest
        return parts
    if not weights or min(weights) < 0:
        raise ValueError("weights must be non-empty and not negative")
    whole = sum(weights)
    if whole == 0:
        return [total, *([0] * (len(weights) - 1))]
    sign, number = (-1, -total) if total < 0 else (1, total)
    parts = [number * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(number * weights[i] % whole), i))
    for i in by_remainder[: number - sum(parts)]:
        parts[i] += 1
    return [sign * part for part in parts]


class FeeRule(BaseModel):
    """The platform's fee: `percent` of the amount plus `fixed` major units in the order's currency."""

    model_config = ConfigDict(frozen=True)

    percent: Decimal = Decimal(0)
    fixed: Decimal = Decimal(0)

    def of(self, amount: int, currency: str) -> int:
        """The fee in minor units: the percentage rounded half to even once, plus the fixed part, at most `amount`.

        `fixed` is rounded half to even where the currency has fewer decimals than it was written with.
        """
        one = Decimal(1)
        share = (Decimal(amount) * self.percent / 100).quantize(one, ROUND_HALF_EVEN)
        fixed = (self.fixed * 10 ** exponent(currency)).quantize(one, ROUND_HALF_EVEN)
        fee: int = int(share) + int(fixed)
        return min(amount, fee)
