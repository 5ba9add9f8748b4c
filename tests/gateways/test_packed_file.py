"""Files in a zip: read as if each came alone, and bounded."""

import io
import zipfile

import pytest

from domain.reconciliation.lines import PspLine
from gateways.packed_file import looks_like_xml, read_packed
from gateways.settlement_file import Reading, SettlementFileError
from gateways.stripe.report_file import read_itemized
from tests.gateways.test_bank_statement import document, entry
from tests.gateways.test_settlement_file import LINE, ROW, written


def packed(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def read(file: bytes) -> list[PspLine]:
    return list(read_packed(io.BytesIO(file), read_itemized, Reading()))


def test_a_file_and_the_same_in_a_zip() -> None:
    for file in (written(ROW), packed(a=written(ROW)), packed(**{"__MACOSX/._a": b"x", "a": written(ROW), ".b": b""})):
        assert read(file) == [LINE]
    assert read(packed(**{"a": written(ROW, ROW), "c/": b"", "f/__MACOSX/b": b"x", "Thumbs.db": b"\0", ".": b""})) == [
        *(LINE, LINE)
    ]
    assert read(packed(a=written(ROW).decode().encode("utf-16"))) == [LINE]


def test_a_line_that_several_files_have_is_one() -> None:
    other = written({**ROW, "gross": "500.01", "net": "485.21"}, {**ROW, "balance_transaction_id": "txn_2"})
    reading = Reading()
    files = packed(day=written(ROW, ROW), month=written(ROW), other=other)
    assert [(line.reference, line.amount) for line in read_packed(io.BytesIO(files), read_itemized, reading)] == [
        *(("txn_1", 50_000), ("txn_1", 50_000), ("txn_1", 50_001), ("txn_2", 50_000))
    ], "twice in one file is twice, and another amount is another line"
    [told] = reading.remarks()
    assert told.endswith("count once: 1.")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (packed(), "no file in it"),
        (packed(**{"[Content_Types].xml": b"<x/>"}), "save its sheet as CSV"),
        (packed(a=written(ROW))[:-30], "cannot be unpacked"),
        (packed(a=written(ROW))[:60] + b"\xff" * 9 + packed(a=written(ROW))[69:], "cannot be unpacked"),
        (packed(a=written(ROW), b=b"x,y\n"), "line 1: of 'b' in the zip: no column"),
        (packed(**{str(number): b"" for number in range(1_001)}), "too much"),
        (packed(a=packed(a=written(ROW))), "'a' in the zip: a zip in a zip: unpack it first"),
        (packed(**{".": written(ROW)}), "no file in it"),
        (b"\x1f\x8b\x08", "gzip"),
    ],
)
def test_what_cannot_be_unpacked(file: bytes, told: str) -> None:
    with pytest.raises(SettlementFileError) as caught:
        read(file)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("file", "is_xml"),
    [
        (document(entry()), True),
        (b"\xef\xbb\xbf\n " + document(entry()), True),
        (document(entry()).decode().encode("utf-16"), True),
        (packed(statement=document(entry())), True),
        (written(ROW), False),
        (packed(report=written(ROW)), False),
        (b"PK\x03\x04", False),
        (b"", False),
    ],
)
def test_a_statement_is_known_by_its_content(file: bytes, is_xml: bool) -> None:
    opened = io.BytesIO(file)
    assert looks_like_xml(opened) is is_xml
    assert opened.tell() == 0
