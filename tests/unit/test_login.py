"""The rules of logging in: names, passwords, codes, and what of an address is counted together."""

import re
import time

import pyotp
import pytest

from domain.login import as_hashed, login_name, refused_password
from services import second_factor
from services.session import network_of


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (" Olga ", "olga"),
        ("olga.p-2", "olga.p-2"),
        ("key_01k", None),
        ("2olga", None),
        ("o", None),
        ("öl", None),
        ("sweeper", None),
        ("nobody", None),
        ("", None),
        ("a" * 64, None),
        ("olga\x00", None),
        ("olga\n.", None),
    ],
)
def test_names(typed: str, name: str | None) -> None:
    assert login_name(typed) == name


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("a horse that staples", True),
        ("пароль-из-слов", True),
        ("elevenchars", False),
        ("a" * 129, False),
        ("abababababab", False),
        ("Olga is my name", False),
        ("my 4242424242424242", False),
        ("a horse\tthat staples", False),
    ],
)
def test_passwords_of_ones_own(password: str, good: bool) -> None:
    assert (refused_password(password, "olga") is None) is good


def test_one_password_typed_on_two_systems_is_one() -> None:
    assert as_hashed("Cafe\u0301 noir 123") == as_hashed("Café noir 123")
    assert as_hashed("x" * 128) != as_hashed("x" * 129)
    assert len(as_hashed("\ufdfa" * 100_000)) < 3_000


def test_a_code_is_of_one_of_three_steps() -> None:
    secret = second_factor.new_secret()
    made, now = pyotp.TOTP(secret), int(time.time()) // 30
    found = [second_factor.counter_of(secret, made.generate_otp(now + shift)) for shift in (-3, -1, 0, 1, 3)]
    if int(time.time()) // 30 == now:
        assert found == [None, now - 1, now, now + 1, None]
    for wrong in ("", "12345", "1234567", "١٢٣٤٥٦"):
        assert second_factor.counter_of(secret, wrong) is None


def test_codes_and_passwords_that_are_made() -> None:
    codes = second_factor.new_recovery_codes()
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"([a-z2-7]{4}-){3}[a-z2-7]{4}", code) for code in codes)
    assert second_factor.recovery_hash(codes[0].upper().replace("-", "")) == second_factor.recovery_hash(codes[0])
    assert re.fullmatch(r"([a-z2-7]{5}-){3}[a-z2-7]{5}", second_factor.new_one_time_password())


def test_an_ipv6_network_is_one_address() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert network_of("203.0.113.7") == "203.0.113.7"
    assert network_of(None) == ""
