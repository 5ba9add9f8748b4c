"""Answers that are not known: what ends a wait under a dead key, and what people read of one."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.unknown import CACHED_ERROR, counts_as_not_made, in_words, waiting_for

TEN = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("reason", "waited_s", "cancelled", "ends"),
    [
        (CACHED_ERROR, 0, False, False),
        (CACHED_ERROR, 599, False, False),
        (CACHED_ERROR, 600, False, True),
        (CACHED_ERROR, 0, True, True),
        # An earlier request under the key may still be under way: a cancel does not shorten that.
        ("key_reused", 599, True, False),
        ("key_reused", 600, True, True),
        # The key has expired meanwhile, so why it was dead is not known any more.
        ("", 0, True, False),
        ("", 600, False, True),
    ],
)
def test_what_was_sent_under_a_dead_key_counts_as_not_made(
    reason: str, waited_s: float, cancelled: bool, ends: bool
) -> None:
    assert counts_as_not_made(reason, timedelta(seconds=waited_s), TEN, cancelled=cancelled) is ends


def test_an_unknown_answer_is_told_in_words() -> None:
    at = datetime(2026, 11, 29, 10, 12, 5, tzinfo=UTC)
    said = waiting_for("timeout", 3, at)
    assert said == "the PSP did not answer in time; 3 tries so far, the next by 2026-11-29 10:12:05 UTC"
    assert waiting_for("connection", 1).endswith("; 1 try so far")
    assert "stored under the idempotency key" in in_words(CACHED_ERROR)
    assert in_words("not_answered: TimeoutError") == "an attempt ended without an answer (not_answered: TimeoutError)"
    assert in_words(None) == "an attempt ended without an answer"
