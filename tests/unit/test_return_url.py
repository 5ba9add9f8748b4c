"""Return URLs: what a buyer may be sent to, how two sites are compared, and how our ids come into one."""

import pytest
from pydantic import TypeAdapter, ValidationError

from domain.limits import ReturnUrl
from domain.return_url import ReturnUrlError, is_origin, origin_of, with_ids


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        ("HTTPS://Shop.Example:443/paid?x=1#done", "https://shop.example"),
        ("https://shop.example:8443/a//b/../c", "https://shop.example:8443"),
        ("https://shop.example?x=https://evil.example", "https://shop.example"),
        ("https://shop.example#@evil.example", "https://shop.example"),
        ("https://shop.example/@evil.example", "https://shop.example"),
        ("http://localhost:3000/back", "http://localhost:3000"),
        ("http://127.0.0.1/back", "http://127.0.0.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://xn--bcher-kva.example/%C3%BC", "https://xn--bcher-kva.example"),
    ],
)
def test_the_site_of_a_url(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        *("", "shop.example", "//shop.example", "/back", "https:", "https://", "https:///back", "https:shop.example"),
        *("http://shop.example", "ftp://shop.example", "javascript:alert(1)", "data:text/html,x", "myapp://back"),
        *("https://shop.example@evil.example", "https://user:pw@shop.example/", "https://shop.example%40evil.example"),
        *("https://shop.example\\@evil.example", "https://shop.example\\.evil.example", "https:\\\\shop.example"),
        *("https://shop.example/\r\nx", "https://shop.example/\tx", "https://shop.example/ x", " https://shop.example"),
        *("https://shop.example/\u202e", "https://shöp.example", "https://shop。example", "https://shop.example\x00"),
        *("https://shop.example:", "https://shop.example:0", "https://shop.example:65536", "https://shop.example:x"),
        *("https://shop.example:08443", "https://.shop.example", "https://shop..example", "https://shop.example."),
        *("https://-shop.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://[::2]"),
        *("https://shop.example/%zz", 'https://shop.example/"', "https://shop.example/<b>", "https://shop.example/\n"),
    ],
)
def test_what_no_buyer_is_sent_to(url: str) -> None:
    with pytest.raises(ReturnUrlError):
        origin_of(url)
    with pytest.raises(ValidationError):
        TypeAdapter(ReturnUrl).validate_python(url)


@pytest.mark.parametrize(
    ("url", "completed"),
    [
        ("https://a.example", "https://a.example?payment_id=pay_1&checkout_id=c-1"),
        ("https://a.example/b?", "https://a.example/b?payment_id=pay_1&checkout_id=c-1"),
        ("https://a.example/b?x=%20&y&z=1+2", "https://a.example/b?x=%20&y&z=1+2&payment_id=pay_1&checkout_id=c-1"),
        ("https://a.example/#/paid?q=1", "https://a.example/?payment_id=pay_1&checkout_id=c-1#/paid?q=1"),
        (
            "https://a.example/?payment_id=pay_other&a=1&checkout%5Fid=x",
            "https://a.example/?a=1&payment_id=pay_1&checkout_id=c-1",
        ),
    ],
)
def test_our_ids_come_into_it(url: str, completed: str) -> None:
    assert with_ids(url, payment_id="pay_1", checkout_id="c-1") == completed
    assert origin_of(completed) == origin_of(url)


def test_without_a_checkout_the_shops_own_parameter_stays() -> None:
    assert with_ids("https://a.example/?checkout_id=x", payment_id="pay_1", checkout_id=None) == (
        "https://a.example/?checkout_id=x&payment_id=pay_1"
    )


def test_a_site_is_named_without_what_follows() -> None:
    assert is_origin("https://a.example")
    assert is_origin("https://a.example:8443/")
    assert not any(map(is_origin, ("https://a.example/b", "https://a.example?x", "https://a.example#x")))


def test_a_long_one_leaves_room_for_our_ids() -> None:
    longest = "https://a.example/".ljust(1_800, "x")
    TypeAdapter(ReturnUrl).validate_python(longest)
    assert len(with_ids(longest, payment_id=f"pay_{'0' * 26}", checkout_id="c" * 64)) < 2_048
    with pytest.raises(ValidationError):
        TypeAdapter(ReturnUrl).validate_python(longest + "x")
