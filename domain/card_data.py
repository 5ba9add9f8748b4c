"""Card numbers and security codes are refused wherever they turn up: what never comes in cannot leak.

Digits are a card number when their grouping, length, first digits and check digit are all those of one, so that order
numbers, dates and ids pass. They are joined over what people write inside a number (spaces, dashes, dots, slashes),
never over what separates the items of a list (commas, semicolons, bars, lines, brackets), a decimal point or a plus
sign. Some forms are known by themselves and are no card numbers: points in time, UUIDs, digests, IBANs. A time after
22:00 with its offset would look like a card number in one of ten cases (`22:30:42.345872+00:00` has 16 digits of a
Mastercard). A security code is known by the word beside it. All of it is linear in the text.

What a client sends is refused. What the PSP or a bank sends is taken, since nobody there would correct it for us: of
its free text the numbers are masked (`mask_card_data`), and its ids stay whole, as books are compared by them and one
in twenty-five ids of sixteen digits reads as a card number.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate

from domain.errors import Unprocessable

_JOINS = r"[ \t\-._/:*~]"
_RUN = re.compile(rf"(?<![0-9])(?:[0-9]{_JOINS}{{0,3}}){{12,}}[0-9]", re.ASCII)
_GROUP = re.compile(r"[0-9]+", re.ASCII)
_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_POINT_IN_TIME = re.compile(
    # ISO 8601, with or without its separators, and the day first as people write it.
    rf"(?<![0-9])(?:(?:19|20)[0-9]{{2}}(?P<d>[-/.]?){_MONTH}(?P=d){_DAY}|{_DAY}(?P<e>[-/.]){_MONTH}(?P=e)(?:19|20)[0-9]{{2}})"
    r"(?:T|_|,?\s)(?:[01][0-9]|2[0-3])(?P<t>[:-]?)[0-5][0-9](?:(?P=t)[0-6][0-9](?:[.,-][0-9]{1,9})?)?"
    r"(?:Z|\s?[+-][01][0-9]:?[0-9]{2})?(?![0-9])",
    re.ASCII,
)
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.ASCII | re.IGNORECASE)
_HEX = re.compile(r"\b(?:[0-9a-f]{128}|[0-9a-f]{96}|[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32}|[0-9a-f]{24})\b", re.ASCII)
_HEX_INSIDE = re.compile("[0-9]{0,12}[a-f].*[a-f][0-9]{0,12}", re.ASCII)
_IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b", re.ASCII)
_DECIMAL = re.compile(r"(?<![0-9.])(?:[0-9]{1,12}\.[0-9]{1,2}|[0-9]{1,3}\.[0-9]{5,})(?![0-9]|\.[0-9])", re.ASCII)

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
_COMMON = {14: _FIRST_DIGITS[14], 15: _FIRST_DIGITS[15], 16: _FIRST_DIGITS[16], 19: re.compile("62")}
"""Of digits in one piece with no word beside them. Other lengths and ranges hardly any card has, and many ids do:
EAN-13 codes, phone numbers, the ids of Sonyflake, Instagram and Shopify."""
_CARD_WORD = re.compile(r"(?:card|visa|maestro|rupay|unionpay|(?<![a-z])(?:cc|pan))[^0-9]{0,12}$", re.ASCII)
_BESIDE = 24
_SHAPES = {(4, 6, 5), (4, 6, 4), (4, 3, 3, 3), (1, 4, 4, 4), (4, 12), (12, 4)}
"""Groups that numbers are written in, besides fours."""
_GROUP_MAX = 6
_LIST_MIN = 9
"""Groups of one length from which on they are the items of a list: two numbers are eight groups."""

_CODES = re.compile(r"(?:^|_)(?:pan|cv[cvn]2?)(?:_|$)")
_NUMBERS = re.compile(
    r"(?:^|(?P<before>[a-z0-9]+)_|_)(?:(?:credit|debit)_?card|card|cc)_?(?:no|nr|num|number|csc|cid|cv[cvn]2?|security_?code"
    r"|verification_?(?:value|code))(?:_|$)"
)
_OTHER_CARDS = {"gift", "loyalty", "member", "membership", "bonus", "reward", "rewards", "library", "sim", "id"}
_NAMES = frozenset(
    {"creditcard", "primaryaccountnumber", "csc", "cid", "securitycode", "track1", "track2", "trackdata", "magstripe"}
)
_CODE_BESIDE_ITS_NAME = re.compile(
    r"(?<![^\W_])(?:cv[cvn]|csc|security[ _-]?code)2?[\W_]{0,3}(?:is\W{1,3})?(?P<code>[0-9]{3,4})(?![^\W_])",
    re.ASCII | re.IGNORECASE,
)

_NAMES_OF_CODES = ("cvc", "cvv", "cvn", "csc", "security")
_CODE_DIGITS_MIN = 3
_WITHOUT_DIGITS = dict.fromkeys(range(ord("0"), ord("9") + 1))


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
    """Refuse a member named like card data, such as `cvc`, `cardNumber`, `card_pan`; raises the same."""
    if _is_card_field(name):
        raise Unprocessable("Card data is never accepted here; send a token.", code="card_data_forbidden")


def _is_card_field(name: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", _plain(name[:_NAME_MAX]))
    words = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    if words.replace("_", "") in _NAMES or "primary_account_number" in words or _CODES.search(words):
        return True
    return any(found["before"] not in _OTHER_CARDS for found in _NUMBERS.finditer(words))


_NAME_MAX = 200


def has_card_data(text: str) -> bool:
    """True if a card number or a named security code is in it, whatever script its digits and dashes are of."""
    plain = _plain(text)
    digits = len(plain) - len(plain.translate(_WITHOUT_DIGITS))
    if digits < _CODE_DIGITS_MIN:
        return False
    lower = plain.lower()
    if any(name in lower for name in _NAMES_OF_CODES) and _CODE_BESIDE_ITS_NAME.search(plain):
        return True
    if digits < min(_FIRST_DIGITS):  # here ends nearly every one of the million lines of a file
        return False
    for known, instead in _KNOWN:
        plain = known.sub(instead, plain)
    return any(True for run in _RUN.finditer(plain) for _ in _numbers(plain, run))


def mask_card_data(text: str) -> str:
    """The text with the digits of card numbers as `*`, but the first six and the last four of each, which may be kept
    (PCI DSS 3.4.1, 3.5.1): `424242******4242`. Of a security code nothing is left."""
    if not has_card_data(text):
        return text
    shown = list(text)
    plain, places = _placed(text)
    for code in _CODE_BESIDE_ITS_NAME.finditer(plain):
        _hide(shown, places[code.start("code") : code.end("code")])
    for known, instead in _KNOWN:
        plain, places = _substituted(plain, places, known, instead)
    for run in _RUN.finditer(plain):
        digits = [
            place for place, digit in zip(places[run.start() : run.end()], run[0], strict=True) if digit.isdigit()
        ]
        for start, end in _numbers(plain, run):
            _hide(shown, digits[start + _SHOWN_FIRST : end - _SHOWN_LAST])
    masked = "".join(shown)
    return _REMOVED if has_card_data(masked) else masked


_SHOWN_FIRST, _SHOWN_LAST = 6, 4
_REMOVED = "[card data removed]"
"""Instead of a text in which what is left of a short number and the digits beside it read as another one."""


def _hide(shown: list[str], places: list[int]) -> None:
    for place in places:
        shown[place] = "*"


def _placed(text: str) -> tuple[str, list[int]]:
    """The plain text, and of each of its characters the place in the text that it is from."""
    characters = [_plain_character(ord(character)) for character in text]
    places = [place for place, plain in enumerate(characters) for _ in plain]
    return "".join(characters), places


def _substituted(
    plain: str, places: list[int], known: re.Pattern[str], instead: str | Callable[[re.Match[str]], str]
) -> tuple[str, list[int]]:
    """As `known.sub`, with the places of what is left."""
    pieces: list[str] = []
    left: list[int] = []
    end = 0
    for found in known.finditer(plain):
        piece = instead if isinstance(instead, str) else instead(found)
        if piece == found[0]:
            continue
        pieces += [plain[end : found.start()], piece]
        left += [*places[end : found.start()], *(places[found.start()] for _ in piece)]
        end = found.end()
    return "".join([*pieces, plain[end:]]), left + places[end:]


def _plain(text: str) -> str:
    return text if text.isascii() else text.translate(_Plain())


class _Plain:
    """For `str.translate`: each character by itself, since Unicode's own normalisation of a whole text sorts the marks
    of a character, in quadratic time."""

    def __getitem__(self, code: int) -> str:
        return _plain_character(code)


_LIGATURE_MAX = 3


@lru_cache(maxsize=4096)
def _plain_character(code: int) -> str:
    """Digits of all scripts as 0 to 9, dashes as `-`, spaces as a space, what is not seen as nothing."""
    character = chr(code)
    if character.isascii():
        return character
    category = unicodedata.category(character)
    digit = unicodedata.numeric(character, None)
    if digit is not None and digit in range(10):
        return str(int(digit))
    if category == "Pd" or character in "\N{MINUS SIGN}\N{HYPHEN BULLET}":
        return "-"
    if category == "Zs":
        return " "
    if category in ("Cf", "Mn", "Me"):
        return ""
    if character in "\N{MIDDLE DOT}\N{BULLET}\N{IDEOGRAPHIC FULL STOP}":
        return "."
    letters = unicodedata.normalize("NFKC", character)
    return letters if len(letters) <= _LIGATURE_MAX else character


def _without_hex(found: re.Match[str]) -> str:
    """A digest or id of a usual length has long runs of digits by chance; one that begins or ends with a run is kept,
    as a number with a tail would."""
    return ";" if _HEX_INSIDE.fullmatch(found[0]) else found[0]


_IBAN_UNLIKE_CARDS = 21


def _without_iban(found: re.Match[str]) -> str:
    """An account number (ISO 13616) is left out: proved by its check digits, or too long for a card number."""
    account = re.sub("[ -]", "", found[0])
    if len(account) > _IBAN_UNLIKE_CARDS:
        return ";"
    number = "".join(str(int(character, 36)) for character in account[4:] + account[:4])
    return ";" if int(number) % 97 == 1 else found[0]


_KNOWN: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_UUID, ";"), (_POINT_IN_TIME, ";"), (_DECIMAL, ";"), (_HEX, _without_hex), (_IBAN, _without_iban),
)  # fmt: skip
"""What is no card number, and what stands in its place, one after the other."""


def _numbers(text: str, run: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Neighbouring groups of a run's digits that read as a card number, by the first digit and the one behind the last:
    it may be followed by its expiry or code."""
    found = _GROUP.findall(run[0])
    groups = [len(group) for group in found]
    digits = "".join(found)
    edges = [0, *accumulate(groups)]
    place = {edge: position for position, edge in enumerate(edges)}
    is_list = len(groups) >= _LIST_MIN and len(set(groups)) == 1
    named = _CARD_WORD.search(text[max(0, run.start() - _BESIDE) : run.start()].lower()) is not None
    sums = _check_sums(digits)
    for first, start in enumerate(edges):
        for length, begins in _FIRST_DIGITS.items():
            last = place.get(start + length)
            if last is None or begins.match(digits, start) is None:
                continue
            odd = sums[length % 2 ^ start % 2]
            if (odd[start + length] - odd[start]) % 10:
                continue
            if last - first == 1:
                if named or (length in _COMMON and _COMMON[length].match(digits, start)):
                    yield start, start + length
            elif not is_list and _is_written(groups, first, last):
                yield start, start + length


def _is_written(groups: list[int], first: int, last: int) -> bool:
    """Whether people group a card number so: in fours that begin where fours begin, or in a shape of its own; or all
    that there is, in small groups."""
    shape = tuple(groups[first:last])
    fours = all(group == 4 for group in shape[:-1]) and shape[-1] <= 4
    begins = first == 0 or groups[first - 1] != 4 or first % 4 == 0
    whole = len(shape) == len(groups) and max(shape) <= _GROUP_MAX and sum(shape) in _COMMON
    return (fours and begins) or shape in _SHAPES or whole


def _check_sums(digits: str) -> tuple[list[int], list[int]]:
    """Luhn's sums up to each digit, for numbers whose last digit is at an odd and at an even index."""
    plain = [int(digit) for digit in digits]
    doubled = [sum(divmod(2 * digit, 10)) for digit in plain]
    last_odd = [d if i % 2 else t for i, (d, t) in enumerate(zip(plain, doubled, strict=True))]
    last_even = [t if i % 2 else d for i, (d, t) in enumerate(zip(plain, doubled, strict=True))]
    return [0, *accumulate(last_odd)], [0, *accumulate(last_even)]
