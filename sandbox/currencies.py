"""The currencies that can be charged, their smallest amounts, and how an amount is written in a message."""

from decimal import Decimal

from sandbox.errors import ApiError

CODES = """
usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp cny
cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl hrk htg huf idr ils inr isk jmd
jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn
nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs
tnd top try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw
"""
SUPPORTED = frozenset(CODES.split())
ZERO_DECIMAL = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)
THREE_DECIMAL = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
PAID_OUT_WHOLE = frozenset(("huf", "twd"))

# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts, in minor units. Currencies that the
# page does not list have no floor of their own beyond one minor unit.
MINIMUM = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300,
    "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
MAXIMUM = 99_999_999
MAXIMUM_IDR = 999_999_999_999

SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "inr": "₹", "jpy": "¥", "aud": "A$", "cad": "CA$", "brl": "R$"}


def digits_of(currency: str) -> int:
    """The number of digits that a currency has behind the point."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def major(amount: int, currency: str) -> str:
    """Minor units as a plain decimal: `-1234.50`, `500`."""
    return f"{Decimal(amount).scaleb(-digits_of(currency)):f}"


def written(amount: int, currency: str) -> str:
    """An amount in minor units as people read it: `$1,234.50`, `¥500`, `7.250 kwd`."""
    digits = digits_of(currency)
    number = f"{amount // 10**digits:,}" + (f".{amount % 10**digits:0{digits}d}" if digits else "")
    symbol = SYMBOLS.get(currency)
    return f"{symbol}{number}" if symbol else f"{number} {currency}"


def known(currency: str) -> None:
    """Raise what Stripe answers for an unknown currency."""
    if currency not in SUPPORTED:
        text = f"Invalid currency: {currency}. Stripe currently supports these currencies: "
        raise ApiError(400, text + ", ".join(sorted(SUPPORTED)), param="currency")


def check(amount: int, currency: str) -> None:
    """Raise what Stripe answers for an unknown currency or an amount outside its bounds."""
    known(currency)
    least = MINIMUM.get(currency, 1)
    most = MAXIMUM_IDR if currency == "idr" else MAXIMUM
    if amount < least:
        text = f"Amount must be at least {written(least, currency)} {currency}"
        raise ApiError(400, text, code="amount_too_small", param="amount")
    if amount > most:
        text = f"Amount must be no more than {written(most, currency)} {currency}"
        raise ApiError(400, text, code="amount_too_large", param="amount")
