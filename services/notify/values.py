"""Values that the words of a notification can name: amounts, dates and names, as people of a language write them."""

import copy
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import NumberPattern

from db.notification.material import Material
from domain.money import exponent, to_major
from domain.notification import LOCALE_DEFAULT

Values = dict[str, object]

_LETTER_AT_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
"""Between a currency's letters and the number there is a space (UTS 35); between a sign and the number as the language
has it."""


def is_locale(name: str) -> bool:
    """Whether amounts and dates can be written in it; words that are missing are English."""
    try:
        return Locale.parse(name.replace("-", "_")) is not None
    except (UnknownLocaleError, ValueError):
        return False


def locale_of(name: str) -> Locale:
    """English for a language that nobody knows."""
    return Locale.parse(name.replace("-", "_") if is_locale(name) else LOCALE_DEFAULT)


def money(amount: str, currency: str, locale: Locale) -> str:
    """`"1234.50"`, EUR, de → `1.234,50 €`; with as many decimals as ISO 4217 gives the currency, not as the language
    likes."""
    digits = exponent(currency)
    pattern: NumberPattern = copy.copy(locale.currency_formats["standard"])
    pattern.frac_prec = (digits, digits)
    shown: str = pattern.apply(Decimal(amount), locale, currency=currency, currency_digits=False)
    return _LETTER_AT_DIGIT.sub("\N{NO-BREAK SPACE}", shown)


def _day(text: str | None, locale: Locale) -> str:
    return "" if not text else format_date(datetime.fromisoformat(text).date(), "long", locale=locale)


def _of_payment(data: Mapping[str, Any], material: Material, locale: Locale) -> Values:
    orders = [
        {
            "name": material.sellers.get(order["seller_account"], order["seller_account"]),
            "amount": money(order["amount"], data["currency"], locale),
        }
        for order in data["payment_orders"]
    ]
    return {"payment_id": data["id"], "reference": data["checkout_id"] or data["id"], "items": orders}


def _of_refund(data: Mapping[str, Any], _: Material, __: Locale) -> Values:
    return {"payment_id": data["payment_id"], "refund_id": data["id"]}


def _of_dispute(data: Mapping[str, Any], material: Material, locale: Locale) -> Values:
    """A seller is told of its share alone, where something is set aside of it."""
    own = None if material.share is None else to_major(material.share, data["currency"])
    return {
        "payment_id": data["payment_id"],
        "dispute_id": data["id"],
        "category": data["category"] or "",
        "due": _day(data["evidence_due_at"], locale),
        "amount": "" if own is None else money(own, data["currency"], locale),
    }


def _of_payout(data: Mapping[str, Any], material: Material, _: Locale) -> Values:
    return {"payout_id": data["id"], "seller": material.sellers.get(data["seller_account"], data["seller_account"])}


def _of_endpoint(data: Mapping[str, Any], _: Material, __: Locale) -> Values:
    return {"endpoint_id": data["id"], "because": data["because"]}


_BY_NOUN: Mapping[str, Callable[[Mapping[str, Any], Material, Locale], Values]] = {
    "payment": _of_payment,
    "refund": _of_refund,
    "dispute": _of_dispute,
    "payout": _of_payout,
    "webhook_endpoint": _of_endpoint,
}


def values_of(event_type: str, data: Mapping[str, Any], material: Material, locale_name: str) -> Values:
    """`shop` and `date`, `amount` where there is one, and what the event's noun has."""
    locale = locale_of(locale_name)
    common: Values = {"shop": material.shop, "date": format_date(material.at.date(), "long", locale=locale)}
    if "amount" in data:
        common["amount"] = money(data["amount"], data["currency"], locale)
    return common | _BY_NOUN[event_type.partition(".")[0]](data, material, locale)
