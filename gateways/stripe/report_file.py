"""Stripe's itemized report of balance changes as a CSV file → what moved our balance, row by row.

Nothing is skipped and nothing guessed: the first row that is not as it should be ends the reading. What was yielded
before that is then not to be kept either.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import BinaryIO

from domain.money import MoneyError, exponent
from domain.reconciliation.lines import PspLine, PspLineKind
from gateways.settlement_file import SettlementFileError, bounded_name, minor_units, utc
from gateways.stripe.line_objects import OF_CHARGE, OUR_NAMES, line_kind

REQUIRED = ("balance_transaction_id", "currency", "gross", "fee", "net", "reporting_category", "source_id")

RECORD_CHARS_MAX = 1_000_000
"""Far above a real row; a file without an end of line must not fill the memory."""

_METADATA = {
    # Whose metadata column carries our id.
    "paysaga_charge": "payment_metadata[paysaga_charge]",
    "paysaga_refund": "refund_metadata[paysaga_refund]",
    "paysaga_payout": "transfer_metadata[paysaga_payout]",
}


def read_itemized(file: BinaryIO) -> Iterator[PspLine]:
    """The rows of `balance_change_from_activity.itemized.3`, in the file's order; columns in any order, others ignored.

    UTF-8, with or without a byte order mark, amounts in major units with a decimal point. Times are read as UTC: from
    `created_utc` and `available_on_utc`, or where the report has none from `created` and `available_on`, which are UTC
    unless it was made for another time zone. https://docs.stripe.com/reports/report-types/balance. Raises
    SettlementFileError.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        yield from _rows(_Records(text))
    finally:
        text.detach()  # the file is the caller's: it stays open


def _rows(records: "_Records") -> Iterator[PspLine]:
    header = next(records, None)
    if header is None:
        raise SettlementFileError(1, "the file is empty")
    _check(header)
    for fields in records:
        if len(fields) != len(header):
            raise SettlementFileError(records.line_no, f"{len(fields)} fields, and not {len(header)}")
        try:
            yield _line(dict(zip(header, fields, strict=True)))
        except ValueError as error:
            raise SettlementFileError(records.line_no, str(error)) from None


def _check(header: list[str]) -> None:
    if len(set(header)) != len(header):
        raise SettlementFileError(1, "a column is there twice")
    missing = [name for name in REQUIRED if name not in header]
    if not {"created_utc", "created"} & set(header):
        missing.append("created_utc")
    if missing:
        raise SettlementFileError(1, f"no column {', '.join(missing)}")


class _Records:
    """The file's records, one at a time, each bounded; `line_no` is the last line of the one read last."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._left = RECORD_CHARS_MAX
        self._reader = csv.reader(iter(self._read_line, ""), strict=True)
        self.line_no = 0

    def __iter__(self) -> "_Records":
        return self

    def __next__(self) -> list[str]:
        self._left = RECORD_CHARS_MAX
        try:
            fields = next(self._reader)
        except csv.Error as error:
            raise SettlementFileError(self._reader.line_num, str(error)) from None
        except UnicodeDecodeError:
            raise SettlementFileError(self.line_no + 1, "not UTF-8") from None
        self.line_no = self._reader.line_num
        return fields

    def _read_line(self) -> str:
        line = self._text.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise SettlementFileError(self._reader.line_num + 1, "the record has no end")
        if "\0" in line:
            raise SettlementFileError(self._reader.line_num + 1, "a character that no text has")
        return line


def _line(row: Mapping[str, str]) -> PspLine:
    """Raises ValueError."""
    currency = row["currency"].upper()
    try:
        exponent(currency)
    except MoneyError:
        raise ValueError(f"{row['currency'][:50]!r} is not a currency") from None
    amount, fee, net = (minor_units(row[name], currency) for name in ("gross", "fee", "net"))
    if net != amount - fee:
        raise ValueError(f"net {row['net']} is not gross {row['gross']} less fee {row['fee']}")
    if not row["balance_transaction_id"]:
        raise ValueError("no balance_transaction_id")
    occurred_at = _time(row, "created")
    if occurred_at is None:
        raise ValueError("no time")
    kind = line_kind(row["reporting_category"])
    return PspLine(
        reference=bounded_name(row["balance_transaction_id"]),
        kind=kind,
        amount=amount,
        fee=fee,
        currency=currency,
        occurred_at=occurred_at,
        available_on=_time(row, "available_on"),
        source_reference=bounded_name(row["source_id"] or None),
        charge_reference=bounded_name(_charge(row, kind)),
        our_reference=bounded_name(row.get(_METADATA.get(OUR_NAMES.get(kind, ""), "")) or None),
        description=row.get("description") or None,
    )


def _charge(row: Mapping[str, str], kind: PspLineKind) -> str | None:
    """The PaymentIntent, or the charge where it was made without one."""
    if kind not in OF_CHARGE:
        return None
    named = row.get("payment_intent_id") or row.get("charge_id")
    return named or (row["source_id"] if kind is PspLineKind.CHARGE else "") or None


def _time(row: Mapping[str, str], name: str) -> datetime | None:
    text = row.get(f"{name}_utc") or row.get(name)
    return utc(text) if text else None
