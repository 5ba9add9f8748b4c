"""A bank's statement, camt.053 → the booked entries of our account, one after the other.

The file is somebody else's: entities and document types are refused, and no tree of the document is kept, only what one
entry holds. The messages: https://www.iso20022.org/iso-20022-message-definitions, "bank-to-customer cash management".
"""

import hashlib
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from domain.money import MoneyError, exponent
from domain.reconciliation.lines import BankLine
from gateways.bank.control_sums import BALANCE, SUMMARY, ControlSums
from gateways.bank.other_documents import not_a_statement
from gateways.settlement_file import (
    NAME_MAX,
    Reading,
    SettlementFileError,
    bounded_name,
    bounded_time,
    minor_units,
    utc,
)

CHUNK_BYTES = 65_536
DEPTH_MAX = 64
"""A statement is some fifteen elements deep."""
PART_MAX = 1_000_000
"""Characters of one entry (or one transaction in it), and bytes of one tag: far above a real one."""
ELEMENT_COST = 64
"""What an element counts in that, however short its name is."""
DETAILS_MAX = 10_000
"""Transactions of one entry that are kept apart; an entry of more is one line."""
DETAILS_CHARS_MAX = 10_000_000
"""Characters of what is kept of them."""

_ROOT = re.compile(r"\{(urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.[0-9]{2})\}Document", re.ASCII)
_STATEMENT = ["Document", "BkToCstmrStmt", "Stmt"]
_ACCOUNT = [*_STATEMENT, "Acct", "Id"]
_ENTRY = [*_STATEMENT, "Ntry"]
_DETAIL = [*_ENTRY, "NtryDtls", "TxDtls"]

_SIGNS = {"CRDT": 1, "DBIT": -1}
_NOT_BOOKED = frozenset({"PDNG", "INFO", "FUTR"})
_NO_NAMES = frozenset({"", "NOTPROVIDED", "NONREF", "NOREF", "NOREFERENCE", "NONE", "NA", "NOTAVAILABLE", "UNKNOWN"})
"""What banks write where there is no reference, in capitals and without what is no letter or digit."""

_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)
_WORDS = re.compile(r"[\w-]+")


def read_camt053(file: BinaryIO, reading: Reading) -> Iterator[BankLine]:
    """The booked entries of every statement in the file, in its order; camt.053.001 in any version.

    A batch whose transactions have amounts that add up to the entry's is a line for each of them, numbered behind the
    entry's reference; any other entry is one line. A date is the first moment that has it both in UTC and in the
    reading's zone, of which a time without a zone is. `reference` is the bank's own (AcctSvcrRef) with a digest of
    account, day, amount and currency, since banks use one for many entries; where there is none, it is made of what the
    entry says. It is the same in the statement of the day and in that of the month. Control sums that contradict the
    entries are noted.

    Raises SettlementFileError, also after lines were yielded: these are then not to be kept.
    """
    statement = _Statement(reading)
    parser = DefusedXMLParser(target=statement, forbid_dtd=True)
    statement.expat = parser.parser
    try:
        yield from _fed(file, parser, statement)
    except SettlementFileError:
        raise
    except ParseError as error:
        raise SettlementFileError(error.position[0], "not well-formed XML, as a bank's statement is") from None
    except DefusedXmlException:
        raise SettlementFileError(statement.line_no, "a document type or an entity, which no statement has") from None
    except (LookupError, ValueError):
        raise SettlementFileError(statement.line_no, "not in an encoding that can be read") from None


def _fed(file: BinaryIO, parser: DefusedXMLParser, statement: "_Statement") -> Iterator[BankLine]:
    fed_bytes = 0
    while chunk := file.read(CHUNK_BYTES):
        parser.feed(chunk)
        fed_bytes += len(chunk)
        if fed_bytes - statement.expat.CurrentByteIndex > PART_MAX + CHUNK_BYTES:
            raise SettlementFileError(statement.line_no, "a tag has no end")
        yield from statement.taken()
    parser.close()
    if not statement.is_one:
        raise SettlementFileError(statement.line_no, "no statement in it: ask the bank for camt.053")
    yield from statement.taken()


@dataclass(frozen=True)
class _Detail:
    """The facts of one transaction of an entry; its amount only where the bank gives it one of its own."""

    amount: str | None
    currency: str | None
    direction: str | None
    names: tuple[str, ...]
    end_to_end: str | None
    text: str | None

    @property
    def size(self) -> int:
        return ELEMENT_COST + sum(len(name) + ELEMENT_COST for name in self.names) + len(self.text or "")


class _Statement:
    """The parser's target: follows the path through the document, and builds elements only of what is in an entry."""

    expat: Any
    """The parser's machine, which knows where it is."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._sums = ControlSums()
        self._text, self._currency = "", ""
        self.is_one = False
        self._path: list[str] = []
        self._namespace = ""
        self._account = ""
        self._alike: Counter[str] = Counter()
        self._entry: TreeBuilder | None = None
        self._detail: TreeBuilder | None = None
        self._details: list[_Detail] = []
        self._details_left = 0
        self._overfull = False
        self._left = 0
        self._detail_left = 0
        self._lines: deque[BankLine] = deque()

    @property
    def line_no(self) -> int:
        return max(1, int(self.expat.CurrentLineNumber))

    def taken(self) -> Iterator[BankLine]:
        """The lines that are ready, each once."""
        while self._lines:
            yield self._lines.popleft()

    # --- what the parser calls ---

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(self._name(tag))
        if len(self._path) > DEPTH_MAX:
            raise SettlementFileError(self.line_no, "elements inside one another without end")
        if self._path == _STATEMENT:
            self.is_one, self._account, self._alike, self._sums = True, "", Counter(), ControlSums()
        elif self._path == _ENTRY:
            self._entry, self._details, self._left = TreeBuilder(), [], PART_MAX
            self._details_left, self._overfull = DETAILS_CHARS_MAX, False
        elif self._path == _DETAIL:
            self._detail, self._detail_left = TreeBuilder(), PART_MAX
        self._text, self._currency = "", attributes.get("Ccy", "")
        builder = self._builder()
        if builder is not None:
            self._spend(ELEMENT_COST)
            builder.start(self._path[-1], attributes)

    def data(self, text: str) -> None:
        builder = self._builder()
        if builder is not None:
            self._spend(len(text))
            builder.data(text)
        elif self._path[: len(_STATEMENT)] == _STATEMENT:
            self._text = (self._text + text)[:100]
        if builder is None and self._path[: len(_ACCOUNT)] == _ACCOUNT:
            self._account = (self._account + text.strip())[:100]

    def end(self, _tag: str) -> None:
        builder = self._builder()
        if builder is not None:
            builder.end(self._path[-1])
        elif self._entry is None:
            self._end_in_statement(self._path[len(_STATEMENT) :])
        if self._path == _DETAIL and self._detail is not None:
            self._keep(_read_detail(self._detail.close()))
            self._detail = None
        elif self._path == _ENTRY and self._entry is not None:
            self._take(self._entry.close())
            self._entry = None
        self._path.pop()

    def _builder(self) -> TreeBuilder | None:
        """The builder of the present element, if any. Of an entry's details, each is built alone and the rest left out:
        there may be millions."""
        if self._detail is not None or self._path[: len(_DETAIL) - 1] == _DETAIL[:-1]:
            return self._detail
        return self._entry

    # --- what it comes to ---

    def _end_in_statement(self, path: list[str]) -> None:
        """Of an element outside the entries; `path` from the statement on."""
        if self._path == _STATEMENT:
            self._sums.compare(self._reading)
        elif self._path == [*_STATEMENT, "Id"]:
            self._sums.name = self._text.strip()
        elif path == BALANCE:
            self._sums.balance_ends()
        elif path[:1] in (SUMMARY, BALANCE):
            self._sums.told(path, self._text.strip(), self._currency)

    def _keep(self, detail: "_Detail") -> None:
        self._details_left -= detail.size
        if len(self._details) < DETAILS_MAX and self._details_left >= 0:
            self._details.append(detail)
        else:
            self._overfull = True

    def _name(self, tag: str) -> str:
        """Without the statement's namespace; a name of another one keeps it, and so is nothing that is looked for."""
        if not self._path:
            root = _ROOT.fullmatch(tag)
            if root is None:
                raise SettlementFileError(self.line_no, not_a_statement(tag))
            self._namespace = "{" + root[1] + "}"
        return tag.removeprefix(self._namespace)

    def _spend(self, chars: int) -> None:
        if self._detail is not None:
            self._detail_left -= chars
        else:
            self._left -= chars
        if self._left < 0 or self._detail_left < 0:
            raise SettlementFileError(self.line_no, "an entry without end")

    def _take(self, entry: Element) -> None:
        if self._overfull:
            self._reading.note(
                f"An entry with more than {DETAILS_MAX} details is read as one line, by the first of them."
            )
        amount = entry.find("Amt")
        booked = _status(entry) == "BOOK"
        currency = amount.get("Ccy", "") if amount is not None else ""
        self._sums.entry(_text_at(entry, "Amt"), currency, _text_at(entry, "CdtDbtInd"), booked=booked)
        try:
            lines = _lines(entry, self._details, self._reference, self._reading.zone, whole=self._overfull)
            self._lines.extend(lines)
        except ValueError as error:
            raise SettlementFileError(self.line_no, str(error)) from None

    def _reference(self, entry: Element, amount: int, currency: str, booked_at: datetime) -> str:
        """The bank's name of the entry with a digest of its account, day, amount and currency; or a name made of these
        and the end-to-end references, and which one it is of those that are alike."""
        named = _name_at(entry, "AcctSvcrRef")
        own = (self._account, booked_at.date().isoformat(), str(amount), currency)
        if named is not None:
            digest = hashlib.sha256("\n".join(own).encode()).hexdigest()[:12]
            return f"{bounded_name(named)}#{digest}"
        ends = sorted({detail.end_to_end for detail in self._details if detail.end_to_end})
        facts = (*own, *ends)
        digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
        self._alike[digest] += 1
        return f"entry:{digest}:{self._alike[digest]}"


def _status(entry: Element) -> str | None:
    return _text_at(entry, "Sts/Cd") or _text_at(entry, "Sts/Prtry") or _text_at(entry, "Sts")


def _lines(
    entry: Element,
    details: list[_Detail],
    reference_of: Callable[[Element, int, str, datetime], str],
    zone: tzinfo,
    *,
    whole: bool,
) -> list[BankLine]:
    """Of a booked entry; none of one that is not booked. `whole`: it is one line, whatever its details. Raises
    ValueError."""
    status = _status(entry)
    if status in _NOT_BOOKED:
        return []
    if status != "BOOK":
        raise ValueError(f"an entry of the status {(status or '')[:50]!r}")
    currency = _currency(entry)
    amount = _signed(_text_at(entry, "Amt"), currency, _text_at(entry, "CdtDbtInd"))
    booked_at = _booked_at(entry, zone)
    reference = reference_of(entry, amount, currency, booked_at)
    info = _text_at(entry, "AddtlNtryInf")
    own = [_name_at(entry, "AcctSvcrRef"), _name_at(entry, "NtryRef"), *_words(info)]
    one = BankLine(
        reference=reference,
        amount=amount,
        currency=currency,
        booked_at=booked_at,
        references=_distinct([*own, *(name for detail in details for name in detail.names)]),
        text=" ".join(detail.text for detail in details if detail.text) or info,
    )
    parts = [] if whole else _parts(details, currency, _text_at(entry, "CdtDbtInd"))
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


def _parts(details: list[_Detail], currency: str, direction: str | None) -> list[int]:
    """The transactions' amounts, signed; none at all if one of them has none that can be used in the entry's
    currency."""
    if any(detail.amount is None or detail.currency != currency for detail in details):
        return []
    try:
        return [_signed(detail.amount, currency, detail.direction or direction) for detail in details]
    except ValueError:
        return []


def _read_detail(detail: Element) -> _Detail:
    amount = next((found for path in ("Amt", "AmtDtls/TxAmt/Amt") if (found := detail.find(path)) is not None), None)
    unstructured = " ".join(text for part in detail.iterfind("RmtInf/Ustrd") if (text := (part.text or "").strip()))
    info = _text_at(detail, "AddtlTxInf")
    named = [*detail.iterfind("Refs/*"), *detail.iterfind("Refs/Prtry/Ref")]
    named += [*detail.iterfind("RmtInf/Strd/CdtrRefInf/Ref"), *detail.iterfind("RmtInf/Strd/RfrdDocInf/Nb")]
    names = [(part.text or "").strip() for part in named]
    return _Detail(
        amount=(amount.text or "").strip() if amount is not None else None,
        currency=amount.get("Ccy") if amount is not None else None,
        direction=_text_at(detail, "CdtDbtInd"),
        names=_distinct([*names, *_words(unstructured), *_words(info)]),
        end_to_end=_name_at(detail, "Refs/EndToEndId"),
        text=unstructured or info,
    )


def _currency(entry: Element) -> str:
    amount = entry.find("Amt")
    currency = amount.get("Ccy", "") if amount is not None else ""
    try:
        exponent(currency)
    except MoneyError:
        raise ValueError(f"{currency[:50]!r} is not a currency") from None
    return currency


def _signed(text: str | None, currency: str, direction: str | None) -> int:
    """The direction is that of the money also in a reversal (RvslInd). Raises ValueError."""
    if direction not in _SIGNS:
        raise ValueError("neither a credit nor a debit")
    if not text or text.startswith("-"):
        raise ValueError("no amount, or one below zero")
    return _SIGNS[direction] * minor_units(text, currency)


def _booked_at(entry: Element, zone: tzinfo) -> datetime:
    """Raises ValueError."""
    for name in ("BookgDt", "ValDt"):
        day, moment = _text_at(entry, f"{name}/Dt"), _text_at(entry, f"{name}/DtTm")
        if day and (match := _DATE.fullmatch(day)):
            begin = bounded_time(datetime.combine(date.fromisoformat(match[1]), time(), UTC))
            return max(begin, begin.replace(tzinfo=zone).astimezone(UTC))
        if moment:
            return utc(moment, zone)
    raise ValueError("an entry without a date")


def _text_at(element: Element, path: str) -> str | None:
    return (element.findtext(path) or "").strip() or None


def _name_at(element: Element, path: str) -> str | None:
    text = _text_at(element, path)
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
