"""An entry of a bank's statement: its lines, and what its transactions say."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from xml.etree.ElementTree import Element

from domain.money import MoneyError, exponent
from domain.reconciliation.lines import BankLine
from gateways.settlement_file import NAME_MAX, bounded_time, free_text, minor_units, utc

ELEMENT_COST = 64
"""What an element counts of the room that an entry has, however short its name is."""

_SIGNS = {"CRDT": 1, "DBIT": -1}
NOT_BOOKED = frozenset({"PDNG", "INFO", "FUTR"})
_NO_NAMES = frozenset({"", "NOTPROVIDED", "NONREF", "NOREF", "NOREFERENCE", "NONE", "NA", "NOTAVAILABLE", "UNKNOWN"})
"""What banks write where there is no reference, in capitals and without what is no letter or digit."""

_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)
_WORDS = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Detail:
    """The facts of one transaction of an entry; its amount only where the bank gives it one of its own. `names` are
    the bank's ids as they are, and the words of its free text, in which card numbers are masked."""

    amount: str | None
    currency: str | None
    direction: str | None
    names: tuple[str, ...]
    end_to_end: str | None
    text: str | None

    @property
    def size(self) -> int:
        return ELEMENT_COST + sum(len(name) + ELEMENT_COST for name in self.names) + len(self.text or "")


def status_of(entry: Element) -> str | None:
    return text_at(entry, "Sts/Cd") or text_at(entry, "Sts/Prtry") or text_at(entry, "Sts")


def lines_of(
    entry: Element,
    details: list[Detail],
    reference_of: Callable[[Element, int, str, datetime], str],
    zone: tzinfo,
    *,
    whole: bool,
) -> list[BankLine]:
    """Of a booked entry; none of one that is not booked. `whole`: it is one line, whatever its details. Raises
    ValueError."""
    status = status_of(entry)
    if status in NOT_BOOKED:
        return []
    if status != "BOOK":
        raise ValueError(f"element Sts: an entry of the status {(status or '')[:50]!r}")
    currency = _currency(entry)
    amount = _signed(text_at(entry, "Amt"), currency, text_at(entry, "CdtDbtInd"))
    booked_at = _booked_at(entry, zone)
    reference = reference_of(entry, amount, currency, booked_at)
    info = free_text(text_at(entry, "AddtlNtryInf"))
    own = [name_at(entry, "AcctSvcrRef"), name_at(entry, "NtryRef"), *_words(info)]
    one = BankLine(
        reference=reference,
        amount=amount,
        currency=currency,
        booked_at=booked_at,
        references=_distinct([*own, *(name for detail in details for name in detail.names)]),
        text=" ".join(detail.text for detail in details if detail.text) or info,
    )
    parts = [] if whole else parts_of(details, currency, text_at(entry, "CdtDbtInd"))
    if len(parts) < 2 or sum(parts) != amount:
        return [one]
    return [
        one.model_copy(
            update={
                "reference": f"{reference}/{number}",
                "amount": part,
                "references": _distinct([*own, *detail.names]),
                "text": detail.text or info,
            }
        )
        for number, (detail, part) in enumerate(zip(details, parts, strict=True), start=1)
    ]


def parts_of(details: list[Detail], currency: str, direction: str | None) -> list[int]:
    """The transactions' amounts, signed; none at all if one of them has none that can be used in the entry's
    currency."""
    if any(detail.amount is None or detail.currency != currency for detail in details):
        return []
    try:
        return [_signed(detail.amount, currency, detail.direction or direction) for detail in details]
    except ValueError:
        return []


def read_detail(detail: Element) -> Detail:
    amount = next((found for path in ("Amt", "AmtDtls/TxAmt/Amt") if (found := detail.find(path)) is not None), None)
    written = " ".join(text for part in detail.iterfind("RmtInf/Ustrd") if (text := (part.text or "").strip()))
    unstructured, info = free_text(written), free_text(text_at(detail, "AddtlTxInf"))
    named = [*detail.iterfind("Refs/*"), *detail.iterfind("Refs/Prtry/Ref")]
    named += [*detail.iterfind("RmtInf/Strd/CdtrRefInf/Ref"), *detail.iterfind("RmtInf/Strd/RfrdDocInf/Nb")]
    names = [(part.text or "").strip() for part in named]
    return Detail(
        amount=(amount.text or "").strip() if amount is not None else None,
        currency=amount.get("Ccy") if amount is not None else None,
        direction=text_at(detail, "CdtDbtInd"),
        names=_distinct([*names, *_words(unstructured), *_words(info)]),
        end_to_end=name_at(detail, "Refs/EndToEndId"),
        text=unstructured or info,
    )


def _currency(entry: Element) -> str:
    amount = entry.find("Amt")
    currency = amount.get("Ccy", "") if amount is not None else ""
    try:
        exponent(currency)
    except MoneyError:
        raise ValueError(f"attribute Ccy of Amt: {currency[:50]!r} is not a currency") from None
    return currency


def _signed(text: str | None, currency: str, direction: str | None) -> int:
    """The direction is that of the money also in a reversal (RvslInd). Raises ValueError."""
    if direction not in _SIGNS:
        raise ValueError("element CdtDbtInd: neither a credit nor a debit")
    if not text or text.startswith("-"):
        raise ValueError("element Amt: no amount, or one below zero")
    try:
        return _SIGNS[direction] * minor_units(text, currency)
    except ValueError as error:
        raise ValueError(f"element Amt: {error}") from None


def _booked_at(entry: Element, zone: tzinfo) -> datetime:
    """Raises ValueError."""
    for name in ("BookgDt", "ValDt"):
        day, moment = text_at(entry, f"{name}/Dt"), text_at(entry, f"{name}/DtTm")
        try:
            if day is not None:
                return _begin(day, zone)
            if moment is not None:
                return utc(moment, zone)
        except ValueError as error:
            raise ValueError(f"element {name}: {error}") from None
    raise ValueError("element BookgDt: an entry without a date")


def booked_day(entry: Element, booked_at: datetime) -> str:
    """The day of a booked entry, the same whatever zone a time without one is read in: as the bank wrote it, or that of
    UTC where it wrote the offset."""
    moment = text_at(entry, "BookgDt/DtTm") or text_at(entry, "ValDt/DtTm")
    if text_at(entry, "BookgDt/Dt") is None and moment is not None:
        written = datetime.fromisoformat(moment)
        if written.tzinfo is None:
            return written.date().isoformat()
    return booked_at.date().isoformat()


def _begin(day: str, zone: tzinfo) -> datetime:
    """The first moment of a day that has its date both in UTC and in the zone. Raises ValueError."""
    match = _DATE.fullmatch(day)
    try:
        date_of = date.fromisoformat(match[1] if match else "")
    except ValueError:
        raise ValueError(f"{day[:50]!r} is not a date such as 2026-11-20") from None
    begin = bounded_time(datetime.combine(date_of, time(), UTC))
    return max(begin, begin.replace(tzinfo=zone).astimezone(UTC))


def text_at(element: Element, path: str) -> str | None:
    return (element.findtext(path) or "").strip() or None


def name_at(element: Element, path: str) -> str | None:
    text = text_at(element, path)
    return None if text is None or _says_none(text) else text


def _says_none(name: str) -> bool:
    """True for what banks write where there is no reference: such words, and zeros."""
    bare = "".join(filter(str.isalnum, name)).upper().strip("0")
    return bare in _NO_NAMES


def _words(text: str | None) -> list[str]:
    return _WORDS.findall(text or "")


def _distinct(names: list[str | None] | list[str]) -> tuple[str, ...]:
    """Each once, in their order; none that says that there is none, and none that is too long to be one."""
    return tuple(dict.fromkeys(name for name in names if name and len(name) <= NAME_MAX and not _says_none(name)))
