"""Ids: ours sort by time and cannot be taken by a client."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import PREFIXES, is_client_id, is_id, is_ours, new_id


@pytest.mark.parametrize("prefix", PREFIXES)
def test_ours_are_recognised_and_refused_to_clients(prefix: str) -> None:
    name = new_id(prefix)
    assert is_id(prefix, name)
    assert is_ours(name)
    assert not is_client_id(name)
    assert not is_client_id(f"{prefix}_")
    assert is_client_id(f"{prefix}-1")
    assert not is_id(prefix, name[:-1])
    assert not is_id(prefix, name + "0")
    assert not is_id(prefix, name[:-1] + "u")


@pytest.mark.parametrize("name", ["re_3QabcDEFghiJKL0mnopQRstu", "po_1", "txn_1", f"acct_{'0' * 26}", "", "pay"])
def test_the_name_of_a_psp_is_not_taken_for_ours(name: str) -> None:
    assert not is_ours(name)


def test_they_sort_by_time_and_differ() -> None:
    first = new_id("pay")
    time.sleep(0.002)
    later = [new_id("pay") for _ in range(10_000)]
    assert len(set(later)) == 10_000
    assert all(first < name for name in later)


@pytest.mark.parametrize("text", ["a", "A-1_b", "0", "-", "_", "x" * 64, "payment_1", "pays"])
def test_what_a_client_may_use(text: str) -> None:
    assert is_client_id(text)


@pytest.mark.parametrize("text", ["", " ", "a b", "a\n", "ä", "a/b", "a:b", "a.b", "x" * 65, "pay_", "re_1", "\x00"])
def test_what_a_client_may_not_use(text: str) -> None:
    assert not is_client_id(text)


@given(st.text())
def test_a_clients_id_is_safe_anywhere(text: str) -> None:
    if is_client_id(text):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set(" /:%?#\"'\\")
