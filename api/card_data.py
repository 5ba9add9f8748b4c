"""Card numbers and security codes are refused wherever they turn up: what never comes in cannot leak.

A number is one when its grouping, length, first digits and check digit all fit, so that order numbers, dates and hex
ids pass; a security code is known by the word beside it.
"""

import re
import unicodedata
from itertools import pairwise

from domain.errors import Unprocessable

_WORD = re.compile(r"[^\W_]+")
_SEPARATORS = re.compile(r"[\s._/:,;|*~+-]{0,3}")
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE | re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)

_FIRST_DIGITS: dict[int, re.Pattern[str]] = {
    # ISO/IEC 7812 issuer ranges by length, as the networks use them: Visa, Mastercard (2 and 5), American Express,
    # Diners Club, Discover, JCB, UnionPay, RuPay (6, 8), Maestro (5, 6).
    13: re.compile("4"),
    14: re.compile("30[0-5]|3095|3[689]"),
    15: re.compile("3[47]"),
    **dict.fromkeys((16, 17, 18, 19), re.compile("[2-6]|8[12]")),
}
_LENGTH_MAX = max(_FIRST_DIGITS)

_FIELDS = frozenset(
    {
        *("cardnumber", "cardno", "ccnumber", "ccnum", "pan", "primaryaccountnumber", "creditcard", "creditcardnumber"),
        *("cvc", "cvc2", "cvv", "cvv2", "cvn", "csc", "cid", "cardcvc", "cardcvv", "securitycode", "cardsecuritycode"),
        *("cardverificationvalue", "cardverificationcode", "track1", "track2", "trackdata", "magstripe"),
    }
)
_CODE_BESIDE_ITS_NAME = re.compile(
    r"\b(?:cvc|cvv|cvn|csc|card security code|security code)2?\W{0,3}(?:is\W{0,3})?\d{3,4}\b", re.IGNORECASE
)


def refuse_card_data(text: str) -> None:
    """Raises Unprocessable `card_data_forbidden`; the message does not repeat the text."""
    if has_card_data(text):
        raise Unprocessable("Card data is never accepted here; send a token.", code="card_data_forbidden")


def refuse_card_field(name: str) -> None:
    """The same for the name of a member, such as `cvc`, `cardNumber`, `security_code`."""
    if "".join(character for character in name.lower() if character.isalnum()) in _FIELDS:
        raise Unprocessable("Card data is never accepted here; send a token.", code="card_data_forbidden")


def has_card_data(text: str) -> bool:
    """Whether a card number or a named security code is in it. Full-width and other digits count as digits."""
    plain = unicodedata.normalize("NFKC", text)
    if sum(character.isdigit() for character in plain) < 3:
        return False
    return bool(_CODE_BESIDE_ITS_NAME.search(plain)) or any(_is_card_number(number) for number in _candidates(plain))


def _candidates(text: str) -> list[str]:
    """Every way to read neighbouring groups of digits as one number: a card number may be followed by its expiry."""
    runs = _runs(text)
    found = []
    for run in runs:
        for start in range(len(run)):
            number = ""
            for group in run[start:]:
                number += group
                if len(number) > _LENGTH_MAX:
                    break
                found.append(number)
    return found


def _runs(text: str) -> list[list[str]]:
    """Groups of digits with nothing but separators between them."""
    groups = list(_groups(text))
    runs = [[text[slice(*groups[0])]]] if groups else []
    for before, after in pairwise(groups):
        if _SEPARATORS.fullmatch(text, before[1], after[0]):
            runs[-1].append(text[slice(*after)])
        else:
            runs.append([text[slice(*after)]])
    return runs


def _groups(text: str) -> list[tuple[int, int]]:
    """Where the digits are. Those within a hex id are letters like the rest of it; `card4242…` is no hex id."""
    places = []
    for word in _WORD.finditer(text):
        if _HEX.fullmatch(word[0]) and not word[0].isdecimal():
            continue
        places += [(word.start() + m.start(), word.start() + m.end()) for m in _DIGITS.finditer(word[0])]
    return places


def _is_card_number(digits: str) -> bool:
    first = _FIRST_DIGITS.get(len(digits))
    return first is not None and first.match(digits) is not None and _luhn(digits)


def _luhn(digits: str) -> bool:
    numbers = [int(digit) for digit in digits]
    doubled = [sum(divmod(2 * number, 10)) for number in numbers[-2::-2]]
    return (sum(numbers[-1::-2]) + sum(doubled)) % 10 == 0
