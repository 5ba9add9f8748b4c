"""Lengths of the texts that people and shops give with a command: the same over HTTP and at a terminal."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from domain.money import MoneyError, exponent
from domain.return_url import LENGTH_MAX, ReturnUrlError, origin_of

Note = Annotated[str, Field(max_length=2000)]
"""Why somebody decided so, for the audit log."""

OrderName = Annotated[str, Field(min_length=1, max_length=64)]
"""An order, by our id or the client's own."""

RefundReason = Annotated[str, Field(min_length=1, max_length=500)]

PspReference = Annotated[str, Field(min_length=1, max_length=255)]
"""An object of the PSP."""

AmountText = Annotated[str, Field(max_length=24)]
"""An amount in major units: `500.00`."""

Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]

Phone = Annotated[str, Field(max_length=16, pattern=r"^\+[1-9][0-9]{6,14}$")]
"""E.164."""

SenderName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f<>\"]+$")]
"""How a shop signs what it sends to people."""

LogText = Annotated[str, Field(min_length=1, max_length=255)]
"""The subject, action or object of a row of the audit log, as somebody looks for it."""

KeyName = Annotated[str, Field(max_length=200)]
"""What an API key is for."""


def _currency(text: str) -> str:
    try:
        exponent(text)
    except MoneyError as error:
        raise PydanticCustomError("currency", str(error).replace("{", "(").replace("}", ")"), {"code": error.code})  # noqa: B904
    return text


CurrencyCode = Annotated[str, Field(min_length=3, max_length=3), AfterValidator(_currency)]
"""ISO 4217."""


def _return_url(text: str) -> str:
    try:
        origin_of(text)
    except ReturnUrlError as error:
        raise PydanticCustomError("return_url", str(error), {"code": "return_url_invalid"}) from error
    return text


ReturnUrl = Annotated[str, Field(min_length=1, max_length=LENGTH_MAX), AfterValidator(_return_url)]
"""Where the buyer is sent back to."""
