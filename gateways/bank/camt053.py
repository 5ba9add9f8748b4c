"""A bank's statement, camt.053 → the booked entries of our account, one after the other.

The file is somebody else's: entities and document types are refused, and no tree of the document is kept, only what one
entry holds. The messages: https://www.iso20022.org/iso-20022-message-definitions, "bank-to-customer cash management".
"""

import hashlib
import re
from collections import Counter, deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ErrorString

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from domain.money import to_major
from domain.reconciliation.lines import BankLine
from gateways.bank.control_sums import BALANCE, SUMMARY, ControlSums
from gateways.bank.entry import (
    ELEMENT_COST,
    NOT_BOOKED,
    Detail,
    booked_day,
    lines_of,
    name_at,
    parts_of,
    read_detail,
    status_of,
    text_at,
)
from gateways.bank.other_documents import not_a_statement
from gateways.settlement_file import Reading, SettlementFileError, bounded_name

CHUNK_BYTES = 65_536
DEPTH_MAX = 64
"""A statement is some fifteen elements deep."""
PART_MAX = 1_000_000
"""Characters of one entry (or one transaction in it), and bytes of one tag: far above a real one."""
DETAILS_MAX = 10_000
"""Transactions of one entry that are kept apart; an entry of more is one line."""
CONTRADICTIONS_MAX = 5
"""Entries that their details contradict and that are named in a remark each; of the others it is said how many."""
DETAILS_CHARS_MAX = 10_000_000
"""Characters of what is kept of them."""

_ROOT = re.compile(r"\{(urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.[0-9]{2})\}Document", re.ASCII)
_STATEMENT = ["Document", "BkToCstmrStmt", "Stmt"]
_ACCOUNT = [*_STATEMENT, "Acct", "Id"]
_ENTRY = [*_STATEMENT, "Ntry"]
_DETAIL = [*_ENTRY, "NtryDtls", "TxDtls"]

_AGAIN = "upload the bank's camt.053 as it is, several of them one by one or in a zip"
_ASK = "ask the bank for a statement that has it as ISO 20022 says"
_LEFT_OUT = "Entries that are not booked (PDNG, INFO, FUTR), and were left out"


def read_camt053(file: BinaryIO, reading: Reading) -> Iterator[BankLine]:
    """The booked entries of every statement in the file, in its order; camt.053.001 in any version.

    A batch whose transactions have amounts that add up to the entry's is a line for each of them, numbered behind the
    entry's reference; any other entry is one line, and where its transactions come to another sum that is noted. A date
    is the first moment that has it both in UTC and in the reading's zone, of which a time without a zone is.
    `reference` is the bank's own (AcctSvcrRef) with a digest of account, day, amount and currency, since banks use one
    for many entries; where there is none, it is made of what the entry says. It is the same in the statement of the day
    and in that of the month; where one file has both, a line that the bank names is there once. Control sums that
    contradict the entries are noted, and how many entries are not booked.

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
        line_no, column = error.position
        why = f"not well-formed XML, as a bank's statement is ({ErrorString(error.code)}, column {column + 1})"
        raise SettlementFileError(line_no, f"{why}: {_AGAIN}") from None
    except DefusedXmlException:
        why = "a document type or an entity, which no statement has"
        raise SettlementFileError(statement.line_no, f"{why}: {_AGAIN}") from None
    except (LookupError, ValueError):
        raise SettlementFileError(statement.line_no, f"not in an encoding that can be read: {_AGAIN}") from None


def _fed(file: BinaryIO, parser: DefusedXMLParser, statement: "_Statement") -> Iterator[BankLine]:
    fed_bytes = 0
    while chunk := file.read(CHUNK_BYTES):
        parser.feed(chunk)
        fed_bytes += len(chunk)
        if fed_bytes - statement.expat.CurrentByteIndex > PART_MAX + CHUNK_BYTES:
            raise SettlementFileError(statement.line_no, f"a tag has no end: {_AGAIN}")
        yield from statement.taken()
    parser.close()
    if not statement.is_one:
        raise SettlementFileError(statement.line_no, "no statement in it: ask the bank for camt.053")
    yield from statement.taken()


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
        self._alike_before: Counter[str] = Counter()
        self._number = 0
        self._contradicting = 0
        self._entry: TreeBuilder | None = None
        self._detail: TreeBuilder | None = None
        self._details: list[Detail] = []
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
            raise SettlementFileError(self.line_no, f"elements inside one another without end: {_AGAIN}")
        if self._path == _STATEMENT:
            self._alike_before = self._alike
            self.is_one, self._account, self._alike, self._sums = True, "", Counter(), ControlSums()
            self._number = 0
            self._reading.begin_part()
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
            self._keep(read_detail(self._detail.close()))
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
        elif path == ["StmtPgntn", "PgNb"]:
            if self._text.strip().strip("0") not in ("", "1"):  # the same statement goes on
                self._alike = self._alike_before
        elif path == BALANCE:
            self._sums.balance_ends()
        elif path[:1] in (SUMMARY, BALANCE):
            self._sums.told(path, self._text.strip(), self._currency)

    def _keep(self, detail: "Detail") -> None:
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
            raise SettlementFileError(self.line_no, f"an entry without end: {_AGAIN}")

    def _take(self, entry: Element) -> None:
        self._number += 1
        if self._overfull:
            self._reading.note(
                f"An entry with more than {DETAILS_MAX} details is read as one line, by the first of them."
            )
        amount = entry.find("Amt")
        status = status_of(entry)
        currency = amount.get("Ccy", "") if amount is not None else ""
        self._sums.entry(text_at(entry, "Amt"), currency, text_at(entry, "CdtDbtInd"), booked=status == "BOOK")
        if status in NOT_BOOKED:
            self._reading.counts[_LEFT_OUT] += 1
        try:
            lines = lines_of(entry, self._details, self._reference, self._reading.zone, whole=self._overfull)
        except ValueError as error:
            named = (name_at(entry, "AcctSvcrRef") or "")[:40]
            which = f"entry {self._number} of its statement" + (f" ({named})" if named else "")
            raise SettlementFileError(self.line_no, f"{error}, in {which}: {_ASK}") from None
        # Of two without a name in two statements only a person knows whether they are one: they are told as duplicates.
        named_one = name_at(entry, "AcctSvcrRef") is not None
        self._lines.extend(line for line in lines if not (named_one and self._reading.repeated(line.reference)))
        if len(self._details) > 1 and len(lines) == 1 and not self._overfull:
            self._note_another_sum(lines[0])

    def _note_another_sum(self, line: BankLine) -> None:
        parts = parts_of(self._details, line.currency, "CRDT" if line.amount > 0 else "DBIT")
        if not parts or sum(parts) == line.amount:
            return
        self._contradicting += 1
        if self._contradicting > CONTRADICTIONS_MAX:
            self._reading.counts["More entries whose details come to another sum, and that are read as one line"] += 1
        else:
            told = f"{to_major(sum(parts), line.currency)} {line.currency}"
            self._reading.note(
                f"The details of the entry {line.reference[:60]} come to {told}, and the entry to "
                f"{to_major(line.amount, line.currency)}: it is read as one line."
            )

    def _reference(self, entry: Element, amount: int, currency: str, booked_at: datetime) -> str:
        """The bank's name of the entry with a digest of its account, day, amount and currency; or a name made of these
        and the end-to-end references, and which one it is of those that are alike."""
        named = name_at(entry, "AcctSvcrRef")
        own = (self._account, booked_day(entry, booked_at), str(amount), currency)
        if named is not None:
            digest = hashlib.sha256("\n".join(own).encode()).hexdigest()[:12]
            return f"{bounded_name(named)}#{digest}"
        ends = sorted({detail.end_to_end for detail in self._details if detail.end_to_end})
        facts = (*own, *ends)
        digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
        self._alike[digest] += 1
        return f"entry:{digest}:{self._alike[digest]}"
