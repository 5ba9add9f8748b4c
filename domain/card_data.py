"""Card numbers and security codes are refused wherever they turn up: what never comes in cannot leak.

Digits are a card number when their grouping, length, first digits and check digit are all those of one, so that order
numbers, dates and ids pass. A time after 22:00 with its offset looks like one in one of ten cases
(`22:30:42.345872+00:00` has 16 digits of a Mastercard), so points in time are known by their form. A security code is
known by the word beside it. The search is linear in the text.
"""

import re
import unicodedata
from itertools import accumulate

from domain.errors import Unprocessable

_RUN = re.compile(r"[0-9](?:[\s._/:,;|*~+-]{0,3}[0-9]){12,}", re.ASCII)
_GROUP = re.compile(r"[0-9]+", re.ASCII)
_NEIGHBOUR = re.compile(r"[0-9A-Za-z]*", re.ASCII)
_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_POINT_IN_TIME = re.compile(
    # ISO 8601, with or without its separators, and the day first as people write it.
    rf"(?<![0-9])(?:(?:19|20)[0-9]{{2}}(?P<d>[-/.]?){_MONTH}(?P=d){_DAY}|{_DAY}(?P<e>[-/.]){_MONTH}(?P=e)(?:19|20)[0-9]{{2}})"
    r"(?:T|_|,?\s)(?:[01][0-9]|2[0-3])(?P<t>[:-]?)[0-5][0-9](?:(?P=t)[0-6][0-9](?:[.,-][0-9]{1,9})?)?"
    r"(?:Z|\s?[+-][01][0-9]:?[0-9]{2})?(?![0-9])",
    re.ASCII,
)
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.ASCII | re.IGNORECASE)

_FIRST_DIGITS: dict[int, re.Pattern[str]] = {
    # The networks' ranges (ISO/IEC 7812) by length: Visa 4, Mastercard 2221-2720 and 51-55, American Express 34 and 37,
    # Diners Club 30, 36, 38, 39, JCB 3528-3589, Maestro 50, 56-58 and 6, RuPay 60, 65, 81, 82, UnionPay 62,
    # Mir 2200-2204.
    13: re.compile("4"),
    14: re.compile("30[0-5]|3095|3[689]"),
    15: re.compile("3[47]"),
    16: re.compile("4|5[0-8]|6|8[12]|3(?:[689]|52[89]|5[3-8])|220[0-4]|22[2-9]|2[3-6]|27[01]|2720"),
    17: re.compile("5[06-8]|6"),
    18: re.compile("5[06-8]|6"),
    19: re.compile("4|5[06-8]|6|3(?:52[89]|5[3-8])|220[0-4]"),
}

_FIELDS = frozenset(
    {
        *("cardnumber", "cardno", "ccnumber", "ccnum", "pan", "primaryaccountnumber", "creditcard", "creditcardnumber"),
        *("cvc", "cvc2", "cvv", "cvv2", "cvn", "csc", "cid", "cardcvc", "cardcvv", "securitycode", "cardsecuritycode"),
        *("cardverificationvalue", "cardverificationcode", "track1", "track2", "trackdata", "magstripe"),
    }
)
_CODE_BESIDE_ITS_NAME = re.compile(
    r"\b(?:cvc|cvv|cvn|csc|security code)2?\W{0,3}(?:is\W{1,3})?[0-9]{3,4}\b", re.ASCII | re.IGNORECASE
)


def require_text(text: str) -> None:
    """Refuse a text that may not be stored. Raises Unprocessable `text_invalid` for characters that PostgreSQL cannot
    keep, `card_data_forbidden` for a card number."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Unprocessable("The text has a character that cannot be stored.", code="text_invalid")
    refuse_card_data(text)


def refuse_card_data(text: str) -> None:
    """Refuse a text with card data. Raises Unprocessable `card_data_forbidden`, whose message does not repeat it."""
    if has_card_data(text):
        raise Unprocessable("Card data is never accepted here; send a token.", code="card_data_forbidden")


def refuse_card_field(name: str) -> None:
    """Refuse a member named like card data, such as `cvc`, `cardNumber`, `security_code`; raises the same."""
    if "".join(character for character in name.lower() if character.isalnum()) in _FIELDS:
        raise Unprocessable("Card data is never accepted here; send a token.", code="card_data_forbidden")


def has_card_data(text: str) -> bool:
    """True if a card number or a named security code is in it. Full-width and other forms of digits count."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    if _CODE_BESIDE_ITS_NAME.search(plain):
        return True
    plain = _POINT_IN_TIME.sub("-", _UUID.sub("-", plain))
    return any(not _within_hex(plain, run) and _has_number(run[0]) for run in _RUN.finditer(plain))


def _within_hex(text: str, run: re.Match[str]) -> bool:
    """The digits of a hex id are letters like the rest of it; `card4242…` is no hex id."""
    after = _NEIGHBOUR.match(text, run.end())
    before = _NEIGHBOUR.match(text[max(0, run.start() - 64) : run.start()][::-1])
    letters = (before[0] if before else "") + (after[0] if after else "")
    return letters != "" and not letters.isdecimal() and all(letter in "0123456789abcdefABCDEF" for letter in letters)


def _has_number(run: str) -> bool:
    """True if neighbouring groups of digits read as a card number: it may be followed by its expiry or code."""
    groups = _GROUP.findall(run)
    digits = "".join(groups)
    edges = [0, *accumulate(len(group) for group in groups)]
    ends = set(edges)
    sums = _check_sums(digits)
    return any(
        start + length in ends
        and first.match(digits, start) is not None
        and (sums[length % 2 ^ start % 2][start + length] - sums[length % 2 ^ start % 2][start]) % 10 == 0
        for start in edges
        for length, first in _FIRST_DIGITS.items()
    )


def _check_sums(digits: str) -> tuple[list[int], list[int]]:
    """Luhn's sums up to each digit, for numbers whose last digit is at an odd and at an even index."""
    plain = [int(digit) for digit in digits]
    doubled = [sum(divmod(2 * digit, 10)) for digit in plain]
    last_odd = [d if i % 2 else t for i, (d, t) in enumerate(zip(plain, doubled, strict=True))]
    last_even = [t if i % 2 else d for i, (d, t) in enumerate(zip(plain, doubled, strict=True))]
    return [0, *accumulate(last_odd)], [0, *accumulate(last_even)]
