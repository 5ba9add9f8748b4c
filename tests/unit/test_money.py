"""Amounts in and out, and splits that lose no minor unit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import AMOUNT_MINOR_MAX, FeeRule, Money, MoneyError, allocate, exponent, parse_major, to_major

CURRENCIES = ("INR", "USD", "JPY", "KWD", "CLF", "UYW")


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("INR", 2), ("USD", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("BHD", 3), ("CLF", 4), ("UYW", 4)],
)
def test_decimals_by_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


READABLE = {
    # Each currency of any list of ISO 4217 that a release knew: an update of the list takes none away.
    0: ("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF BYR "),
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
        "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
        "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
        "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
        "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG "
        "YER ZAR ZMW ZWG "
        "ANG BGN CUC CYP EEK GHC HRK LTL LVL MRO MTL SKK SLL STD TMM VEB VEF ZMK ZWD ZWL "
    ),
    3: ("BHD IQD JOD KWD LYD OMR TND "),
    4: ("CLF UYW "),
}


def test_what_was_stored_stays_readable_when_iso_retires_its_currency() -> None:
    for digits, currencies in READABLE.items():
        for currency in currencies.split():
            assert exponent(currency) == digits, f"{currency} was withdrawn: add it to those that are retired"
    assert to_major(1_234, "HRK") == "12.34"


@pytest.mark.parametrize("text", ["", "XX", "inr", "Inr", "XYZ", "XAU", "XXX", "EURO", "E R", "ＩＮＲ"])
def test_what_is_no_currency(text: str) -> None:
    with pytest.raises(MoneyError) as caught:
        exponent(text)
    assert caught.value.code == "currency_unknown"


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("500.00", "INR", 50000),
        ("500", "INR", 50000),
        ("500.5", "INR", 50050),
        ("0", "INR", 0),
        ("0.01", "INR", 1),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("999999999.99", "INR", AMOUNT_MINOR_MAX),
    ],
)
def test_reading(text: str, currency: str, amount: int) -> None:
    assert parse_major(text, currency) == amount


@pytest.mark.parametrize(
    ("text", "currency", "code"),
    [
        ("1.234", "INR", "amount_precision"),
        ("1.0", "JPY", "amount_precision"),
        ("1.2345", "KWD", "amount_precision"),
        ("1000000000.00", "INR", "amount_too_large"),
        ("100000000000", "JPY", "amount_too_large"),
        ("1" * 16, "INR", "amount_invalid"),
        ("1.2345678", "INR", "amount_invalid"),
        ("-1", "INR", "amount_invalid"),
        ("1e3", "INR", "amount_invalid"),
        ("1\n", "INR", "amount_invalid"),
        ("١٢", "INR", "amount_invalid"),
        ("1", "XYZ", "currency_unknown"),
    ],
)
def test_reading_refuses(text: str, currency: str, code: str) -> None:
    with pytest.raises(MoneyError) as caught:
        parse_major(text, currency)
    assert caught.value.code == code


@given(st.integers(0, AMOUNT_MINOR_MAX), st.sampled_from(CURRENCIES))
def test_what_is_written_reads_back(amount: int, currency: str) -> None:
    assert parse_major(to_major(amount, currency), currency) == amount
    assert to_major(-amount, currency) == ("-" if amount else "") + to_major(amount, currency)


@given(st.text(max_size=30), st.sampled_from(CURRENCIES))
def test_no_text_is_anything_but_an_amount_or_refused(text: str, currency: str) -> None:
    try:
        amount = parse_major(text, currency)
    except MoneyError:
        return
    assert 0 <= amount <= AMOUNT_MINOR_MAX
    assert Decimal(text) == Decimal(to_major(amount, currency))


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_a_split_loses_nothing(total: int, weights: list[int]) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    assert all(part == 0 or (part > 0) == (total > 0) for part in parts)
    whole = sum(weights)
    if whole:
        assert all(abs(part * whole - total * weight) < whole for part, weight in zip(parts, weights, strict=True))
    assert allocate(total, weights) == parts


def test_a_split_goes_by_the_largest_remainder() -> None:
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(-100, [1, 1, 1]) == [-34, -33, -33]
    assert allocate(5, [0, 0]) == [5, 0]
    for weights in ([], [1, -1]):
        with pytest.raises(ValueError, match="weights"):
            allocate(1, weights)


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=9), st.sampled_from([1, 10, 100]))
def test_a_split_in_larger_units_leaves_whole_units(total: int, weights: list[int], unit: int) -> None:
    parts = allocate(total, weights, unit)
    assert sum(parts) == total
    assert min(parts) >= 0
    assert sum(part % unit for part in parts) == total % unit


def test_a_share_is_what_the_psp_can_move() -> None:
    assert allocate(3_330, [5_000, 5_000], 10) == [1_670, 1_660]
    assert allocate(3_335, [1, 2], 10) == [1_110, 2_225]
    assert allocate(-3_330, [1, 1], 10) == [-1_670, -1_660]
    assert allocate(700, [1, 1], 100) == [400, 300]


@pytest.mark.parametrize(
    ("percent", "fixed", "amount", "currency", "fee"),
    [
        ("2.9", "0.30", 50000, "INR", 1480),
        ("3", "0", 500, "JPY", 15),
        ("0", "0.30", 500, "JPY", 0),
        ("0", "0.50", 500, "JPY", 0),
        ("0", "1.50", 500, "JPY", 2),
        ("0", "0.0005", 500, "KWD", 0),
        ("0.5", "0", 100, "INR", 0),
        ("1.5", "0", 100, "INR", 2),
        ("2.5", "0", 100, "INR", 2),
        ("100", "1", 100, "INR", 100),
        ("0", "9999999", 100, "INR", 100),
        ("0", "0", 100, "INR", 0),
    ],
)
def test_fees_are_rounded_half_to_even_and_capped(
    percent: str, fixed: str, amount: int, currency: str, fee: int
) -> None:
    assert FeeRule(percent=Decimal(percent), fixed=Decimal(fixed)).of(amount, currency) == fee


@given(st.integers(1, AMOUNT_MINOR_MAX), st.decimals(0, 100, places=4), st.decimals(0, 9999999, places=4))
def test_a_fee_is_never_above_the_amount(amount: int, percent: Decimal, fixed: Decimal) -> None:
    assert 0 <= FeeRule(percent=percent, fixed=fixed).of(amount, "INR") <= amount


def test_two_currencies_never_mix() -> None:
    five, two = Money(amount=500, currency="INR"), Money(amount=200, currency="INR")
    assert (five + two, five - two) == (Money(amount=700, currency="INR"), Money(amount=300, currency="INR"))
    assert str(five) == "5.00 INR"
    with pytest.raises(MoneyError) as caught:
        five + Money(amount=1, currency="USD")
    assert caught.value.code == "currency_mismatch"
