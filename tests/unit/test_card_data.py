"""What is taken for card data, and what must not be."""

import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from domain.card_data import has_card_data


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "30569309025904",
        "3566002020360505",
        "6011111111111117",
        "6205500000000000004",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "4242 - 4242 - 4242 - 4242",
        "4242/4242/4242/4242",
        "4242\N{NO-BREAK SPACE}4242\N{NO-BREAK SPACE}4242\N{NO-BREAK SPACE}4242",
        "4242424242424242 12/34 123",
        "12/34 4242424242424242",
        "order 7: 4242424242424242!",
        "card4242424242424242",
        "pm_4242424242424242",
        "4242424242424242_1",
        "2026-11-21T22:30:42.345872+00:00 4242424242424242",
        "4242424242424242 2026-11-21 22:30:42",
        "4242 4242 4242 4242 21.11.2026 22:30",
        "４２４２４２４２４２４２４２４２",
        "cvc 123",
        "CVV2: 1234",
        "security code is 999",
    ],
)
def test_card_data(text: str) -> None:
    assert has_card_data(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4242",
        "4242424242424241",
        "500.00",
        "1732100000000",
        "1234567890123456",
        "2026-11-20T10:00:00.123456Z",
        "+91 98765 43210",
        "order-20261120-0001",
        "4242424242424242424242424242424242424242",
        "a4242424242424242f",
        "IBAN DE89 3704 0044 0532 0130 00",
        "cvc",
        "the 123rd",
    ],
)
def test_no_card_data(text: str) -> None:
    assert not has_card_data(text)


def test_random_ids_pass() -> None:
    assert not any(has_card_data(str(uuid.UUID(bytes=secrets.token_bytes(16)))) for _ in range(20_000))
    assert sum(has_card_data(secrets.token_hex(16)) for _ in range(20_000)) == 0


@pytest.mark.parametrize(
    "form",
    [
        *(
            "%Y-%m-%dT%H:%M:%S.%f+00:00",
            "%Y-%m-%d %H:%M:%S.%f +0000",
            "%Y-%m-%dT%H:%M:%S.%f123-05:30",
            "%Y-%m-%dT%H:%M:%SZ",
        ),
        *("%Y%m%dT%H%M%S.%f+0000", "%Y-%m-%d_%H-%M-%S-%f", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y, %H:%M:%S", "%m/%d/%Y %H:%M"),
    ],
)
def test_any_point_in_time_passes(form: str) -> None:
    """Late in the evening one in ten had the length, first digits and check digit of a card number."""
    moments = (datetime(2026, 11, 1, 0, 0, 0, 345_872, tzinfo=UTC) + timedelta(seconds=311 * n) for n in range(20_000))
    assert not [text for text in (moment.strftime(form) for moment in moments) if has_card_data(text)]


@pytest.mark.parametrize(
    "text", ["2026-11-21 " * 9_000, "5 " * 48_000, "4242 " * 19_000, "9" * 96_000, "cvc " * 24_000, "-" * 96_000]
)
def test_the_search_is_quick_for_the_largest_body(text: str) -> None:
    """In processor time: what else the machine does is not counted."""
    began_s = time.thread_time()
    has_card_data(text)
    assert time.thread_time() - began_s < 1.0
