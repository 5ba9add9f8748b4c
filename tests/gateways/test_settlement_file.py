"""The itemized report as a file: nothing skipped, nothing guessed, however it is written."""

import csv
import io
import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import exponent, to_major
from domain.reconciliation.lines import PspLine, PspLineKind
from gateways.settlement_file import Reading, SettlementFileError, minor_units
from gateways.stripe.report_file import RECORD_CHARS_MAX, read_itemized

ROW: dict[str, str] = {
    "balance_transaction_id": "txn_1",
    "created_utc": "2026-11-20 10:00:00",
    "available_on_utc": "2026-11-22 00:00:00",
    "currency": "usd",
    "gross": "500.00",
    "fee": "14.80",
    "net": "485.20",
    "reporting_category": "charge",
    "source_id": "ch_1",
    "description": "An order",
    "charge_id": "ch_1",
    "payment_intent_id": "pi_1",
    "payment_metadata[paysaga_charge]": "ch_ours",
    "refund_metadata[paysaga_refund]": "",
    "transfer_metadata[paysaga_payout]": "",
}
LINE = PspLine(
    reference="txn_1",
    kind=PspLineKind.CHARGE,
    amount=50_000,
    fee=1_480,
    currency="USD",
    occurred_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
    available_on=datetime(2026, 11, 22, tzinfo=UTC),
    source_reference="ch_1",
    charge_reference="pi_1",
    our_reference="ch_ours",
    description="An order",
)


def written(*rows: dict[str, str], columns: list[str] | None = None, **style: Any) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns or list(ROW), restval="", extrasaction="ignore", **style)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def read(file: bytes) -> list[PspLine]:
    return list(read_itemized(io.BytesIO(file), Reading()))


def refused(file: bytes) -> tuple[int, str]:
    with pytest.raises(SettlementFileError) as caught:
        read(file)
    return caught.value.line_no, caught.value.reason


# --- what is read ---


def test_a_row() -> None:
    assert read(written(ROW)) == [LINE]


@pytest.mark.parametrize(
    "style",
    [{"lineterminator": "\n"}, {"lineterminator": "\r\n"}, {"quoting": csv.QUOTE_ALL}],
)
def test_however_it_is_written(style: dict[str, Any]) -> None:
    assert read(b"\xef\xbb\xbf" + written(ROW, ROW, **style)) == [LINE, LINE]
    assert read(written(ROW, **style).rstrip()) == [LINE]


def test_columns_in_any_order_and_unknown_ones() -> None:
    columns = [*ROW, "card_brand", "customer_email"]
    for seed in range(5):
        random.Random(seed).shuffle(columns)
        assert read(written({**ROW, "card_brand": "visa, or not"}, columns=columns)) == [LINE]


def test_quoted_fields_with_everything_in_them() -> None:
    description = 'a "quoted", comma\nand\r\nlines; é ✓'
    lines = read(written({**ROW, "description": description}, ROW))
    assert [line.description for line in lines] == [description, "An order"]


DEFAULT = (
    "balance_transaction_id,created,available_on,currency,gross,fee,net,reporting_category,description\n"
    "txn_1,2026-11-20 10:00:00,2026-11-22 00:00:00,usd,500.00,14.80,485.20,charge,An order\n"
)
PLAIN = LINE.model_copy(update={"source_reference": None, "charge_reference": None, "our_reference": None})


def test_the_columns_that_stripe_chooses_by_default() -> None:
    reading = Reading()
    assert list(read_itemized(io.BytesIO(DEFAULT.encode()), reading)) == [PLAIN]
    assert [note.partition(":")[0] for note in reading.notes] == [
        "The times of the column `created` have no zone and were read as of UTC",
        "There is no column `source_id`",
    ]


def test_local_times_are_of_the_zone_that_is_given() -> None:
    reading = Reading(zone=ZoneInfo("America/New_York"))
    [line] = read_itemized(io.BytesIO(DEFAULT.encode()), reading)
    assert line.occurred_at == datetime(2026, 11, 20, 15, tzinfo=UTC)
    assert "America/New_York" in reading.notes[0]
    assert read(written({**ROW, "created": "2026-11-20 05:00:00"}, columns=[*ROW, "created"])) == [LINE], "as it was"


def test_local_times_at_a_change_of_clocks() -> None:
    def berlin(*times: str) -> tuple[list[PspLine], list[str]]:
        reading = Reading(zone=ZoneInfo("Europe/Berlin"))
        rows = "".join(DEFAULT.splitlines(keepends=True)[1].replace("2026-11-20 10:00:00", time) for time in times)
        file = io.BytesIO((DEFAULT.splitlines(keepends=True)[0] + rows).encode())
        return list(read_itemized(file, reading)), reading.remarks()

    lines, told = berlin("2026-10-25 01:59:59", "2026-10-25 02:30:00", "2026-10-25 03:00:00")
    assert [line.occurred_at.hour for line in lines] == [23, 0, 2]
    assert told[-1] == "Times that the clocks of Europe/Berlin have twice, and that were read as the first: 1."
    assert not any("twice" in sentence for sentence in berlin("2026-10-25T02:30:00+01:00")[1])
    with pytest.raises(SettlementFileError, match=r"line 3: column created: the clocks .* leave .* out: .*`--zone`"):
        berlin("2026-03-29 01:59:59", "2026-03-29 02:30:00")


GERMAN = written({**ROW, "gross": "500,00", "fee": "14,80", "net": "485,2"}, delimiter=";")


@pytest.mark.parametrize(
    "file",
    [
        written(ROW) + b"\r\n",
        written(ROW) + b"\r\n\r\n  \n" + b"," * 14 + b"\n",
        b"\r\n" + written(ROW),
        b"\xef\xbb\xbf" * 2 + written(ROW),
        b'\xef\xbb\xbf"' + written(ROW).replace(b",", b'",', 1),
        GERMAN,
        b"sep=;\r\n" + GERMAN,
        b"\xef\xbb\xbf\n" + GERMAN + b";" * 14,
        written(ROW, delimiter="\t"),
        written(ROW, delimiter="|"),
        b"sep=|\n" + written(ROW, delimiter="|"),
        written() + b"\r\n" + written() + written(ROW) + written(),
        written(ROW).decode().encode("utf-16"),
    ],
)
def test_as_a_spreadsheet_saves_it(file: bytes) -> None:
    assert read(file) == [LINE]


def test_every_refusal_names_the_line_the_column_and_the_remedy() -> None:
    for row, column in (({"gross": "1.500,00"}, "gross"), ({"created_utc": "20.11.2026 10:02"}, "created_utc")):
        line_no, told = refused(b"\n" + written(ROW, {**ROW, **row}))
        assert (line_no, f"column {column}" in told, "download the report again" in told) == (4, True, True)
    for row, column in (
        ({"currency": ""}, "currency"),
        ({"created_utc": ""}, "created_utc"),
        ({"source_id": "x" * 256}, "source_id"),
    ):
        told = refused(written({**ROW, **row}))[1]
        assert (told.startswith(f"column {column}: "), "download the report again" in told) == (True, True), told
    total = dict.fromkeys(ROW, "") | {"gross": "500.00"}
    assert "a total or a remark is no row of the report, take it out" in refused(written(ROW, total))[1]
    assert "bank's statement" in refused(b"<?xml version='1.0'?><Document/>")[1]


@pytest.mark.parametrize(("gross", "delimiter"), [("1.000", ";"), ("1,500", ";"), ("-1,000", "\t"), ("999,000", "|")])
def test_thousands_are_not_taken_for_decimals(gross: str, delimiter: str) -> None:
    row = {**ROW, "gross": gross, "fee": "0", "net": gross}
    line_no, told = refused(written(ROW, row, delimiter=delimiter))
    assert (line_no, told.partition(":")[0]) == (3, "column gross")
    assert f"{gross!r} may be thousands or decimals: download" in told
    dinars = written({**row, "currency": "kwd"}, delimiter=delimiter)
    assert str(read(dinars)[0].amount) == gross.replace(".", "").replace(",", ""), (
        "three decimals are no more than these"
    )


def test_columns_that_may_be_left_out() -> None:
    columns = [
        "created",
        "balance_transaction_id",
        "currency",
        "gross",
        "fee",
        "net",
        "reporting_category",
        "source_id",
    ]
    [line] = read(written({**ROW, "created": "2026-11-20T12:00:00+02:00"}, columns=columns))
    assert (line.occurred_at, line.available_on, line.description) == (LINE.occurred_at, None, None)
    assert (line.charge_reference, line.our_reference) == ("ch_1", None)


def test_a_report_without_rows() -> None:
    assert read(written()) == []


@pytest.mark.parametrize(
    ("more", "kind", "names"),
    [
        ({"payment_intent_id": ""}, PspLineKind.CHARGE, ("ch_1", "ch_1", "ch_ours")),
        ({"payment_intent_id": "", "charge_id": ""}, PspLineKind.CHARGE, ("ch_1", "ch_1", "ch_ours")),
        ({"reporting_category": "refund", "source_id": "re_1"}, PspLineKind.REFUND, ("re_1", "pi_1", None)),
        (
            {"reporting_category": "refund_failure", "refund_metadata[paysaga_refund]": "re_ours"},
            PspLineKind.REFUND_FAILURE,
            ("ch_1", "pi_1", "re_ours"),
        ),
        ({"reporting_category": "dispute", "source_id": "du_1"}, PspLineKind.DISPUTE, ("du_1", "pi_1", None)),
        (
            {"reporting_category": "transfer_reversal", "transfer_metadata[paysaga_payout]": "pt_1"},
            PspLineKind.TRANSFER_REVERSAL,
            ("ch_1", None, "pt_1"),
        ),
        ({"reporting_category": "fee", "source_id": ""}, PspLineKind.FEE, (None, None, None)),
        ({"reporting_category": "brand_new"}, PspLineKind.OTHER, ("ch_1", None, None)),
        ({"reporting_category": ""}, PspLineKind.OTHER, ("ch_1", None, None)),
    ],
)
def test_kinds_and_names(more: dict[str, str], kind: PspLineKind, names: tuple[str | None, ...]) -> None:
    [line] = read(written({**ROW, **more}))
    assert (line.kind, (line.source_reference, line.charge_reference, line.our_reference)) == (kind, names)


@given(
    st.lists(
        st.tuples(
            st.integers(-(10**13), 10**13),
            st.integers(-(10**13), 10**13),
            st.sampled_from(["USD", "JPY", "KWD", "INR"]),
        ),
        max_size=5,
    )
)
def test_every_amount_comes_back(amounts: list[tuple[int, int, str]]) -> None:
    rows = [
        {
            **ROW,
            "currency": currency.lower(),
            "gross": to_major(amount, currency),
            "fee": to_major(fee, currency),
            "net": to_major(amount - fee, currency),
        }
        for amount, fee, currency in amounts
    ]
    assert [(line.amount, line.fee, line.currency) for line in read(written(*rows))] == amounts


@given(st.text(alphabet="0123456789.-+eE, ٣", max_size=12), st.sampled_from(["USD", "JPY", "KWD"]))
def test_an_amount_is_exact_or_refused(text: str, currency: str) -> None:
    try:
        amount = minor_units(text, currency)
    except ValueError:
        return
    whole, _, fraction = text.removeprefix("-").partition(".")
    digits = exponent(currency)
    expected = int(whole + fraction.ljust(digits, "0")[:digits] or "0")
    assert amount == (-expected if text.startswith("-") else expected)


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("5", "USD", 500),
        ("5.", "USD", 500),
        ("5.1", "USD", 510),
        ("-0.00", "USD", 0),
        ("500.00", "JPY", 500),
        ("500", "JPY", 500),
        ("1.2340", "KWD", 1_234),
        ("90071992547409.93", "USD", 9_007_199_254_740_993),
    ],
)
def test_amounts(text: str, currency: str, amount: int) -> None:
    assert minor_units(text, currency) == amount


# --- what is refused ---


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"gross": ""}, "not an amount"),
        ({"gross": "500,00"}, "not an amount"),
        ({"gross": "1,500.00"}, "not an amount"),
        ({"gross": "5e2"}, "not an amount"),
        ({"gross": "NaN"}, "not an amount"),
        ({"gross": "."}, "not an amount"),
        ({"gross": "+-5"}, "not an amount"),
        ({"gross": "٥٠٠"}, "not an amount"),
        ({"gross": "--5"}, "not an amount"),
        ({"gross": " 500.00"}, "not an amount"),
        ({"gross": "9" * 19}, "not an amount"),
        ({"gross": "99999999999999999.00"}, "an amount of 19 digits"),
        ({"fee": "100000000000000.01"}, "an amount of 17 digits"),
        ({"created_utc": "0001-01-01 00:00:00"}, "a time in the year 1"),
        ({"created_utc": "9999-12-31T23:59:59"}, "a time in the year 9999"),
        ({"available_on_utc": "2200-01-01"}, "a time in the year 2200"),
        ({"balance_transaction_id": "x" * 256}, "a name of 256 characters"),
        ({"source_id": "x" * 24_000}, "a name of 24000 characters"),
        ({"payment_intent_id": "x" * 256}, "a name of 256 characters"),
        ({"payment_metadata[paysaga_charge]": "x" * 256}, "a name of 256 characters"),
        ({"fee": "x"}, "not an amount"),
        ({"net": ""}, "not an amount"),
        ({"gross": "500.001"}, "finer than USD"),
        ({"currency": "jpy"}, "finer than JPY"),
        ({"currency": "zzz"}, "not a currency"),
        ({"currency": ""}, "not a currency"),
        ({"currency": "usdc"}, "not a currency"),
        ({"net": "485.21"}, "is not gross"),
        ({"net": "-485.20"}, "is not gross"),
        ({"balance_transaction_id": ""}, "no balance_transaction_id"),
        ({"created_utc": ""}, "no time"),
        ({"created_utc": "yesterday"}, "not a time"),
        ({"created_utc": "2026-13-01 00:00:00"}, "not a time"),
        ({"created_utc": "0001-01-01T00:00:00+14:00"}, "not a time"),
        ({"available_on_utc": "soon"}, "not a time"),
        ({"description": "a\0b"}, "a character"),
    ],
)
def test_a_bad_row_ends_the_reading(more: dict[str, str], reason: str) -> None:
    line_no, told = refused(written(ROW, {**ROW, **more}, ROW))
    assert line_no == 3
    assert reason in told


@pytest.mark.parametrize("row", ["a,b", ",".join(["x"] * 14), ",".join(["x"] * 16), ",x"])
def test_a_row_with_the_wrong_number_of_fields(row: str) -> None:
    line_no, told = refused(written(ROW) + row.encode() + b"\r\n" + written(ROW))
    assert line_no == 3
    assert "fields" in told


@pytest.mark.parametrize("name", ["balance_transaction_id", "currency", "gross", "fee", "net", "created_utc"])
def test_a_header_without_what_is_needed(name: str) -> None:
    columns = [column for column in ROW if column != name]
    line_no, told = refused(written(ROW, columns=columns))
    assert (line_no, told.partition(";")[0]) == (1, f"no column {name}")
    assert "itemized" in told, "where to get it"


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\n",
        b"\xef\xbb\xbf",
        b"id,amount\n1,2\n",
        b'{"object":"list"}',
        b"<html></html>",
        written(ROW, columns=[*ROW, "net"]),
    ],
)
def test_what_is_no_report(file: bytes) -> None:
    assert refused(file)[0] == 1


@pytest.mark.parametrize(
    ("file", "line_no"),
    [
        (written(ROW) + b'"txn', 3),
        (written(ROW) + b'"a"b,c\r\n', 3),
        (written(ROW, {**ROW, "description": "d" * 200_000}), 3),
        (written(ROW).decode().encode("utf-16-le"), 1),
        (written(*[ROW] * 500, {**ROW, "description": "é"}, ROW).decode().encode("latin-1"), 502),
        (written(ROW).decode().encode("utf-16") + b"\0\xd8\n\0", 3),
    ],
)
def test_what_is_no_csv_or_no_text(file: bytes, line_no: int) -> None:
    assert refused(file)[0] == line_no


class Endless(io.RawIOBase):
    """A file that goes on for ever, and counts what was read of it."""

    def __init__(self, start: bytes, again: bytes) -> None:
        self.start, self.again, self.read_bytes = start, again, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self.start or (self.again * (1 + len(buffer) // len(self.again)))
        chunk = chunk[: len(buffer)]
        self.start = self.start[len(chunk) :]
        buffer[: len(chunk)] = chunk
        self.read_bytes += len(chunk)
        return len(chunk)


@pytest.mark.parametrize("again", [b"x", b'"', b"a,", b'"a\nb",', b'"a\n'])
def test_a_record_without_end_is_refused_in_time(again: bytes) -> None:
    file = Endless(written(ROW), again)
    with pytest.raises(SettlementFileError):
        list(read_itemized(io.BufferedReader(file), Reading()))
    assert file.read_bytes < 3 * RECORD_CHARS_MAX


def test_rows_come_while_the_file_is_read() -> None:
    file = io.BytesIO(written(*[ROW] * 5000))
    lines = read_itemized(file, Reading())
    assert next(lines) == LINE
    assert file.tell() < 100_000
    assert sum(1 for _ in lines) == 4999


def test_the_file_stays_open() -> None:
    file = io.BytesIO(written(ROW))
    list(read_itemized(file, Reading()))
    assert not file.closed


@given(st.binary(max_size=300))
def test_no_other_error_than_ours(noise: bytes) -> None:
    for file in (noise, written(ROW) + noise):
        with suppress(SettlementFileError):
            read(file)
