"""Stripe's itemized report of balance changes as a CSV file → what moved our balance, row by row.

Only empty lines are skipped, and nothing is guessed: the first row that is not as it should be ends the reading. What
was yielded before that is then not to be kept either.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import BinaryIO

from domain.money import MoneyError, exponent
from domain.reconciliation.lines import PspLine, PspLineKind
from gateways.settlement_file import Reading, SettlementFileError, bounded_name, free_text, minor_units, utc
from gateways.stripe.line_objects import OF_CHARGE, OUR_NAMES, PAYOUT_KINDS, line_kind

REQUIRED = ("balance_transaction_id", "currency", "gross", "fee", "net", "reporting_category")

RECORD_CHARS_MAX = 1_000_000
"""Far above a real row; a file without an end of line must not fill the memory."""

_METADATA = {
    # Whose metadata column carries our id.
    "paysaga_charge": "payment_metadata[paysaga_charge]",
    "paysaga_refund": "refund_metadata[paysaga_refund]",
    "paysaga_payout": "transfer_metadata[paysaga_payout]",
}


DELIMITERS = ",;\t|"
"""What separates the columns: Stripe's comma, or what a spreadsheet made of it."""

_AGAIN = "download the report again and upload it as it is, not saved from a spreadsheet"
_NO_TEXT = re.compile("[\ud800-\udfff]")
"""What is made of bytes that are no text: it is refused with its own line, and not with that where a block begins."""
_CHOOSE = "choose it under the columns of Stripe's report “Balance change from activity”, itemized"
_COMMA = re.compile(r"([+-]?[0-9]*),([0-9]+)", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}[.,][0-9]{3}", re.ASCII)
"""An amount that a spreadsheet may have written with a separator of thousands and without decimals."""


def read_itemized(file: BinaryIO, reading: Reading) -> Iterator[PspLine]:
    """The rows of `balance_change_from_activity.itemized.3`, in the file's order; columns in any order, others ignored.

    Read as Stripe gives it or as a spreadsheet saves it: UTF-8, or UTF-16 with a byte order mark; commas, semicolons,
    tabs or bars, and between any but commas a decimal comma as well; what may be thousands is refused. Reports that
    were put together have their header again. `source_id` may be left out, as it is in Stripe's default columns: then
    only the balance transaction names a line. `created_utc` and `available_on_utc` are UTC; `created` and
    `available_on` are of the zone that the report was made for, which the file does not say: `reading.zone`. A time
    that its clocks leave out is refused, and of one that they have twice it is the first. `trace_id`, which the report
    of payouts has, may be there. Raises SettlementFileError.
    https://docs.stripe.com/reports/report-types/balance
    """
    encoding = _encoding(file)
    errors = "surrogatepass" if encoding == "utf-16" else "surrogateescape"
    text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")
    try:
        yield from _rows(_Records(text), reading)
    finally:
        text.detach()  # the file is the caller's: it stays open


def _encoding(file: BinaryIO) -> str:
    mark = b""
    if file.seekable():
        mark = file.read(2)
        file.seek(0)
    return "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _rows(records: "_Records", reading: Reading) -> Iterator[PspLine]:
    header = next(records, None)
    if header is None:
        raise SettlementFileError(1, "the file is empty: download it again")
    header = [name.strip("\ufeff ") for name in header]
    _check(header, records)
    if "created_utc" not in header:
        reading.note(
            f"The times of the column `created` have no zone and were read as of {reading.zone}: if the report was "
            "made for another one, run it again with that zone, or download it with the column `created_utc`."
        )
    if "source_id" not in header:
        reading.note(
            "There is no column `source_id`: a line is known by its balance transaction, or by amount and time alone."
        )
    for fields in records:
        if [name.strip("\ufeff ") for name in fields] == header:
            continue
        if len(fields) != len(header):
            raise SettlementFileError(
                records.line_no, f"{len(fields)} fields, and not {len(header)} as in the header: {_AGAIN}"
            )
        row = dict(zip(header, fields, strict=True))
        try:
            line = _line(row, reading, decimal_comma=records.delimiter != ",")
        except ValueError as error:
            raise SettlementFileError(records.line_no, str(error)) from None
        if not reading.repeated(line.reference, line.amount, line.fee, line.currency):
            yield line


def _check(header: list[str], records: "_Records") -> None:
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise SettlementFileError(records.line_no, f"the column {twice[:50]} is there twice: {_AGAIN}")
    missing = [name for name in REQUIRED if name not in header]
    if not {"created_utc", "created"} & set(header):
        missing.append("created_utc")
    if missing:
        what = "it is XML: is it a bank's statement?" if header[0].startswith("<") else _CHOOSE
        raise SettlementFileError(records.line_no, f"no column {', '.join(missing)}; {what}")


class _Records:
    """The file's records, one at a time, each bounded, and none that is empty; `line_no` is the last line of the one
    read last. `delimiter`: the one that the first record has most of, or that a spreadsheet's first line names."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._left = RECORD_CHARS_MAX
        self._head: list[str] = []
        self.line_no = 0
        self.delimiter = self._sniffed()
        self._reader = csv.reader(self._lines(), strict=True, delimiter=self.delimiter)

    def __iter__(self) -> "_Records":
        return self

    def __next__(self) -> list[str]:
        while True:
            self._left = RECORD_CHARS_MAX
            try:
                fields = next(self._reader)
            except csv.Error as error:
                raise SettlementFileError(self.line_no, f"{error}: {_AGAIN}") from None
            if any(field.strip() for field in fields):
                return fields

    def _sniffed(self) -> str:
        """Read up to the first line with anything in it; the lines before it are passed over."""
        while line := self._read_line():
            if line.lower().startswith("sep=") and line[4:5] in DELIMITERS:
                return line[4]
            if line.strip(DELIMITERS + "\ufeff\r\n "):
                self._head.append(line)
                break
        head = self._head[0] if self._head else ""
        return max(DELIMITERS, key=head.count)

    def _lines(self) -> Iterator[str]:
        yield from self._head
        yield from iter(self._read_line, "")

    def _read_line(self) -> str:
        try:
            line = self._text.readline(self._left + 1)
        except UnicodeError:
            raise SettlementFileError(self.line_no + 1, f"not UTF-8: {_AGAIN}") from None
        self._left -= len(line)
        self.line_no += bool(line)
        if self._left < 0:
            raise SettlementFileError(self.line_no, "the record has no end: is a quotation mark missing?")
        if "\0" in line:
            raise SettlementFileError(self.line_no, f"a character that no text has: is it a CSV file? Else {_AGAIN}")
        if not line.isascii() and _NO_TEXT.search(line):
            raise SettlementFileError(self.line_no, f"not UTF-8: {_AGAIN}")
        return line


def _line(row: Mapping[str, str], reading: Reading, *, decimal_comma: bool) -> PspLine:
    """Raises ValueError, which names the column."""
    reference = _name(row, "balance_transaction_id")
    if reference is None:
        raise ValueError(
            "no balance_transaction_id in its column: a total or a remark is no row of the report, take it out"
        )
    currency = row["currency"].upper()
    try:
        exponent(currency)
    except MoneyError:
        raise ValueError(f"column currency: {row['currency'][:50]!r} is not a currency: {_AGAIN}") from None
    amount, fee, net = (_amount(row, name, currency, decimal_comma=decimal_comma) for name in ("gross", "fee", "net"))
    if net != amount - fee:
        raise ValueError(f"column net: {row['net']} is not gross {row['gross']} less fee {row['fee']}: {_AGAIN}")
    occurred_at = _time(row, "created", reading)
    if occurred_at is None:
        raise ValueError(f"column created{'_utc' if 'created_utc' in row else ''}: no time: {_AGAIN}")
    kind = line_kind(row["reporting_category"])
    return PspLine(
        reference=reference,
        kind=kind,
        amount=amount,
        fee=fee,
        currency=currency,
        occurred_at=occurred_at,
        available_on=_time(row, "available_on", reading),
        source_reference=_name(row, "source_id"),
        charge_reference=_charge(row, kind),
        our_reference=_name(row, _METADATA.get(OUR_NAMES.get(kind, ""), "")),
        description=free_text(row.get("description")),
        trace_id=_name(row, "trace_id") if kind in PAYOUT_KINDS else None,
    )


def _amount(row: Mapping[str, str], column: str, currency: str, *, decimal_comma: bool) -> int:
    text = row[column]
    comma = _COMMA.fullmatch(text) if decimal_comma else None
    try:
        if decimal_comma and exponent(currency) < 3 and _THOUSANDS.fullmatch(text):
            raise ValueError(f"{text!r} may be thousands or decimals")
        return minor_units(f"{comma[1]}.{comma[2]}" if comma else text, currency)
    except ValueError as error:
        raise ValueError(f"column {column}: {error}: {_AGAIN}") from None


def _name(row: Mapping[str, str], column: str) -> str | None:
    try:
        return bounded_name(row.get(column) or None)
    except ValueError as error:
        raise ValueError(f"column {column}: {error}: {_AGAIN}") from None


def _charge(row: Mapping[str, str], kind: PspLineKind) -> str | None:
    """The PaymentIntent, or the charge where it was made without one."""
    if kind not in OF_CHARGE:
        return None
    named = _name(row, "payment_intent_id") or _name(row, "charge_id")
    return named or (_name(row, "source_id") if kind is PspLineKind.CHARGE else None)


def _time(row: Mapping[str, str], name: str, reading: Reading) -> datetime | None:
    for column, zone in ((f"{name}_utc", UTC), (name, reading.zone)):
        if text := row.get(column):
            try:
                time = utc(text, zone)
            except ValueError as error:
                raise ValueError(f"column {column}: {error} such as 2026-11-20 10:02:11: {_AGAIN}") from None
            if column == "created":
                _at_a_change_of_clocks(text, time, reading)
            return time
    return None


def _at_a_change_of_clocks(text: str, time: datetime, reading: Reading) -> None:
    """Count a local time that the zone's clocks have twice. Raises ValueError for one that they leave out: it is of
    another zone."""
    local = datetime.fromisoformat(text)
    if local.tzinfo is not None:
        return
    if time.astimezone(reading.zone).replace(tzinfo=None) != local:
        raise ValueError(
            f"column created: the clocks of {reading.zone} leave {text} out: the report was made for another zone, run "
            "it with that one (`--zone`), or download it with the column `created_utc`"
        )
    if local.replace(tzinfo=reading.zone, fold=1).astimezone(UTC) != time:
        reading.counts[f"Times that the clocks of {reading.zone} have twice, and that were read as the first"] += 1
