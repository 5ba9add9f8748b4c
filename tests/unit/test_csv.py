"""CSV that a spreadsheet opens: text is never a formula, numbers stay numbers."""

import csv
import io

import pytest

from domain.statement import csv_line

FORMULAS = [
    "=1+1", "+1", "-1+1", "-a", "--1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\tplain", "-1,5", "-1e5", "-", "−1",
    "＝1+1", "＋1", "－a", "＠SUM(A1)", "﹦1", "﹣a", " =1", "\u00a0=1", "\u3000＝1", "\u200b=1", "\ufeff@x", "\x00=1",
    '=HYPERLINK("http://x","y")', "=cmd|' /C calc'!A0",
]  # fmt: skip


def cells(text: str) -> list[str]:
    (row,) = csv.reader(io.StringIO(text, newline=""))
    return row


@pytest.mark.parametrize("text", FORMULAS)
def test_what_begins_as_a_formula_is_behind_an_apostrophe(text: str) -> None:
    assert cells(csv_line(["first", text])) == ["first", f"'{text}"]
    assert cells(csv_line([f"a{text}"])) == [f"a{text}"]


@pytest.mark.parametrize(
    "text", ["0", "-1", "-97.00", "1234567.891", "pay_1", "2026-03-10T12:00:00Z", "", "&", "…", "é"]
)
def test_what_is_none_stays_as_it_is(text: str) -> None:
    assert cells(csv_line(["first", text])) == ["first", text]


def test_nothing_said_is_an_empty_cell() -> None:
    assert csv_line([None, "", "a"]) == ",,a\r\n"
