"""The shapes of the HTTP contract. Amounts are decimal strings in major units; unknown fields are refused."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)
from pydantic_core import PydanticCustomError

from domain.ids import is_client_id
from domain.money import MoneyError, exponent


class In(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


def _client_id(text: str) -> str:
    if not is_client_id(text):
        raise PydanticCustomError(
            "client_id",
            "1 to 64 characters of A-Z a-z 0-9 _ -, and not one of our own prefixes",
            {"code": "id_invalid"},
        )
    return text


ClientId = Annotated[
    str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,64}$"}, max_length=64), AfterValidator(_client_id)
]


def _string(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError(
            "amount", 'An amount is a decimal string in major units, such as "500.00".', {"code": "amount_invalid"}
        )
    return value


def _currency(text: str) -> str:
    try:
        exponent(text)
    except MoneyError as error:
        raise PydanticCustomError("currency", str(error).replace("{", "(").replace("}", ")"), {"code": error.code})  # noqa: B904
    return text


Amount = Annotated[
    str,
    BeforeValidator(_string),
    Field(
        description="decimal string in major units",
        examples=["500.00"],
        max_length=24,
        json_schema_extra={"pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"},
    ),
]
Currency = Annotated[
    str, Field(description="ISO 4217", examples=["INR"], min_length=3, max_length=3), AfterValidator(_currency)
]
CountryCode = Annotated[
    str, Field(description="ISO 3166-1 alpha-2", examples=["IN"], pattern="^[A-Z]{2}$", min_length=2, max_length=2)
]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
