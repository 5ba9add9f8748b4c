"""Webhooks to shops: signatures, when an attempt is repeated, and which URLs and addresses are taken."""

import base64
import hashlib
import hmac
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.public_address import is_public
from domain.webhook_endpoint import ATTEMPTS_MAX, STEPS_S, Answer, new_secret, next_attempt_in, signed_headers
from domain.webhook_url import WebhookUrlError, target_of

# --- signatures ---


@pytest.mark.parametrize(
    ("secret", "name", "at", "body", "signature"),
    [
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1649367553,
            b'{"email":"test@example.com","username":"test_user"}',
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ],
)
def test_a_signature_is_that_of_the_standard(secret: str, name: str, at: int, body: bytes, signature: str) -> None:
    headers = signed_headers(name, datetime.fromtimestamp(at, UTC), body, [secret])
    assert headers == {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": signature}
    both = signed_headers(name, datetime.fromtimestamp(at, UTC), body, [new_secret(), secret])
    assert both["webhook-signature"].split(" ")[1] == signature


def test_a_zone_changes_nothing() -> None:
    at, body, keys = datetime(2026, 11, 20, tzinfo=UTC), b"{}", [new_secret()]
    elsewhere = at.astimezone().astimezone(UTC)
    assert signed_headers("evt_1", at, body, keys) == signed_headers("evt_1", elsewhere, body, keys)


def test_the_page_s_receiver_takes_what_is_ours_and_nothing_else() -> None:
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"base64": base64, "hashlib": hashlib, "hmac": hmac, "time": time}
    exec(code, names)  # noqa: S102 - of our own page
    is_ours, secret, now = names["is_ours"], new_secret(), datetime.now(UTC)
    headers = signed_headers("evt_1", now, b"{}", [new_secret(), secret])
    assert is_ours(headers, b"{}", secret)
    assert not is_ours(headers, b"{ }", secret)
    assert not is_ours(headers, b"{}", new_secret())
    assert not is_ours(headers | {"webhook-id": "evt_2"}, b"{}", secret)
    assert not is_ours(signed_headers("evt_1", now - timedelta(minutes=6), b"{}", [secret]), b"{}", secret)


# --- retries ---


def test_eleven_attempts_over_three_days() -> None:
    waits = [next_attempt_in(n) for n in range(1, ATTEMPTS_MAX + 1)]
    assert waits[-1] is None
    for wait, step_s in zip(waits[:-1], STEPS_S, strict=True):
        assert wait is not None
        assert step_s <= wait.total_seconds() <= step_s * 1.2
    assert (ATTEMPTS_MAX, timedelta(seconds=sum(STEPS_S))) == (11, timedelta(hours=75, minutes=36, seconds=5))


@pytest.mark.parametrize(("asked_s", "least_s", "most_s"), [(0, 300, 360), (500, 500, 500), (10_000, 600, 600)])
def test_a_receiver_may_ask_for_a_longer_wait(asked_s: float, least_s: float, most_s: float) -> None:
    wait = next_attempt_in(3, asked_s)
    assert wait is not None
    assert least_s <= wait.total_seconds() <= most_s


@pytest.mark.parametrize(
    ("status", "delivered", "gone"),
    [
        (200, True, False),
        (204, True, False),
        (302, False, False),
        (410, False, True),
        (500, False, False),
        (None, False, False),
    ],
)
def test_what_an_answer_means(status: int | None, delivered: bool, gone: bool) -> None:
    answer = Answer(status, None, None, 1, None)
    assert (answer.delivered, answer.gone) == (delivered, gone)


# --- addresses ---

PUBLIC = ["93.184.215.14", "8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:800::200e"]
NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2001:0:4136:e378::1", "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [*NOT_PUBLIC, "", "example.com", "127.1", "2130706433"])
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


# --- URLs ---

ODD_FORMS = [
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://127.1/",
    "https://127.0.1/", "https://0/", "https://017700000001/", "https://1.2.3.4.5/", "https://127.0.0.1./",
    "https://[::ffff:7f00:1]/", "https://[0:0:0:0:0:ffff:127.0.0.1]/", "https://[fe80::1%25lo]/", "https://[::1",
    "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://999.999.999.999/", "https://0x7f.1/",
]  # fmt: skip
OTHERS = [
    "http://shop.example/", "ftp://shop.example/", "file:///etc/passwd", "gopher://127.0.0.1:6379/_", "//shop.example/",
    "shop.example", "https:///x", "https://", "https://user@shop.example/", "https://user:password@shop.example/",
    "https://shop.example@127.0.0.1/", "https://shop.example/#x", "https://shop.example/#", "https://shop.example:0/",
    "https://shop.example:99999/", "https://shop.example:x/", "https://shop.example/a b", "https://shop.example\\@evil/",
    "https://shop.example/\n", "\thttps://shop.example/", "https://-shop.example/", "https://shop..example/",
    "javascript:x", "https://" + "a" * 64 + ".example/", "https://shop.example/" + "x" * 2_000,
]  # fmt: skip
HERE = ["http://127.0.0.1:9000/", "http://127.0.0.1/", "http://localhost:9000/", "https://127.0.0.1/", "http://[::1]/"]


def literal(address: str) -> str:
    return f"https://[{address}]/" if ":" in address else f"https://{address}/"


@pytest.mark.parametrize("url", [*map(literal, NOT_PUBLIC), *ODD_FORMS, *OTHERS, *HERE])
def test_a_url_that_nothing_is_sent_to(url: str) -> None:
    with pytest.raises(WebhookUrlError):
        target_of(url, loopback=False)


@pytest.mark.parametrize(
    "url",
    ["https://shop.example", "https://shop.example:8443/a?b=c", "https://xn--bcher-kva.example/", "https://8.8.8.8/"],
)
def test_a_url_that_is_taken(url: str) -> None:
    assert not target_of(url, loopback=False).loopback


def test_a_developer_s_own_machine() -> None:
    assert target_of("http://127.0.0.1:9000/hooks", loopback=True) == ("127.0.0.1", 9000, True)
    for url in ("http://127.0.0.2/", "http://localhost/", "http://[::1]/", "https://127.0.0.1/", "http://10.0.0.1/",
                "http://127.1/", "http://a@127.0.0.1/", *ODD_FORMS):  # fmt: skip
        with pytest.raises(WebhookUrlError):
            target_of(url, loopback=True)
