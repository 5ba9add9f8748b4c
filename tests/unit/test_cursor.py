"""Cursors: ours come back, any other text is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursor import decode, encode
from domain.errors import Unprocessable


@pytest.mark.parametrize(
    ("kind", "position"),
    [("merchant", "mer_01kafm6e8q9v7s2c4n0b8k6h3j"), ("history", "1"), ("ledger", "9" * 18), ("dispute", "7")],
)
def test_ours_come_back(kind: str, position: str) -> None:
    cursor = encode(kind, position)
    assert decode(kind, cursor) == position
    assert cursor.isascii()
    assert not set(cursor) & set("=+/&")
    for other in {"history", "merchant", "ledger", "dispute"} - {kind}:
        with pytest.raises(Unprocessable):
            decode(other, cursor)


def test_no_cursor_is_the_first_page() -> None:
    assert decode("history", None) is None


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_refused(text: str) -> None:
    for kind in ("history", "merchant"):
        with pytest.raises(Unprocessable) as caught:
            decode(kind, text)
        assert caught.value.code == "cursor_invalid"
