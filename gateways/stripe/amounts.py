"""Amounts: ours are ISO 4217's minor units, Stripe's are its own. https://docs.stripe.com/currencies. No I/O."""

from functools import cache

from domain.money import MoneyError, exponent, to_major

_ZERO_DECIMALS = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())  # noqa: SIM905
"""MGA has two decimals in ISO 4217. UGX and ISK have none there, but Stripe still takes them with two."""

_THREE_DECIMALS = frozenset("BHD JOD KWD OMR TND".split())  # noqa: SIM905
"""Stripe takes three decimals, of which the last must be 0."""

_PAID_OUT_WHOLE = frozenset({"HUF", "TWD"})
"""Charged with two decimals, paid out in whole units."""

SMALLEST: dict[str, int] = {
    # In Stripe's units. A currency that is not listed has no documented minimum of its own.
    **dict.fromkeys("USD ARS AUD BRL CAD CHF COP EUR IDR ILS INR JPY KRW NZD PHP RUB SGD ZAR".split(), 50),  # noqa: SIM905
    **{"GBP": 30, "BGN": 100, "AED": 200, "MYR": 200, "PLN": 200, "RON": 200, "DKK": 250, "NOK": 300, "SEK": 300},
    **{"HKD": 400, "MXN": 1000, "THB": 1000, "CZK": 1500, "HUF": 17500},
}
LARGEST: dict[str, int] = {"IDR": 999_999_999_999}
LARGEST_ELSE = 99_999_999
"""Eight digits; IDR twelve."""

_READABLE_MAX = (2**63 - 1) // 100
"""What is read of Stripe, so that it can be stored in our units, which are at most a hundredth of Stripe's."""


@cache
def _shift(currency: str) -> int:
    """The decimals that Stripe counts beyond ISO 4217's. Raises MoneyError `currency_unknown`."""
    decimals = 0 if currency in _ZERO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    return decimals - exponent(currency)


@cache
def unit(currency: str) -> int:
    """The smallest amount that Stripe charges or refunds, in our minor units: USD 1, KWD 10 (0.010), MGA 100 (1.00).
    Raises MoneyError `currency_unknown`."""
    smallest: int = 10 ** max(0, -_shift(currency))
    return smallest * 10 if currency in _THREE_DECIMALS else smallest


def to_stripe(amount: int, currency: str) -> int:
    """Our minor units → Stripe's. Raises MoneyError `amount_precision` for what Stripe cannot express."""
    if amount % unit(currency):
        text, step = to_major(amount, currency), to_major(unit(currency), currency)
        detail = f"{text} {currency} is finer than the PSP can charge or refund: it takes multiples of {step}."
        raise MoneyError("amount_precision", detail)
    shift = _shift(currency)
    return int(amount * 10**shift if shift >= 0 else amount // 10**-shift)


def to_stripe_payout(amount: int, currency: str) -> int:
    """Our minor units → Stripe's, for a payout to a bank. Raises MoneyError `amount_precision`."""
    sent = to_stripe(amount, currency)
    if currency in _PAID_OUT_WHOLE and sent % 100:
        raise MoneyError("amount_precision", f"{to_major(amount, currency)} {currency}: only whole units are paid out.")
    return sent


def from_stripe(amount: object, currency: str) -> int:
    """Stripe's units → our minor units. Raises ValueError for what is no whole number of them, or beyond 64 bits."""
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise ValueError("not an amount")  # noqa: TRY004 - one error for everything that cannot be read
    if abs(amount) > _READABLE_MAX:
        raise ValueError("too large an amount")
    shift = _shift(currency)
    ours, lost = (amount * 10**-shift, 0) if shift <= 0 else divmod(amount, 10**shift)
    if lost:
        raise ValueError("not a whole number of minor units")
    return int(ours)
