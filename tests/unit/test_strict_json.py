"""The reader of request bodies against Python's own: stricter, never different, never surprised."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.strict import DEPTH_MAX, JSON_BYTES_MAX, BodyTooLarge, read_json
from domain.errors import BadRequest, PaysagaError

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(TEXT.filter(lambda name: "cv" not in name), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_fine_is_read_as_python_reads_it(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        assert read_json(text.encode()) == json.loads(text)
    except PaysagaError as error:
        assert error.code == "card_data_forbidden"  # noqa: PT017 - chance may write a number that passes for a card's


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf1")
@example(b'"\\ud800"')
@example(b"-")
@example(b"1" * 5000)
def test_no_bytes_raise_anything_but_our_own_errors(body: bytes) -> None:
    try:
        read_json(body)
    except PaysagaError as error:
        assert error.status in (400, 422)  # noqa: PT017


@pytest.mark.parametrize("depth", [DEPTH_MAX + 2, 500, 5_000, 40_000])
def test_depth(depth: int) -> None:
    with pytest.raises(BadRequest):
        read_json(b"[" * depth + b"]" * depth)
    assert read_json(b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1))


def test_size() -> None:
    assert read_json(b" " * (JSON_BYTES_MAX - 1) + b"1") == 1
    with pytest.raises(BodyTooLarge):
        read_json(b" " * JSON_BYTES_MAX + b"1")


@pytest.mark.parametrize("body", ['{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '[{"x":{"b":1,"c":2,"b":3}}]'])
def test_repeated_members(body: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_json(body.encode())
    assert caught.value.code == "malformed_json"
