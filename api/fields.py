"""Fields that several shapes of the HTTP contract share. Amounts are decimal strings in major units; unknown fields
of a request are refused."""

from datetime import UTC, date, datetime
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
from domain.limits import AmountText, CurrencyCode
from domain.model import Failure


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


Amount = Annotated[
    AmountText,
    BeforeValidator(_string),
    Field(
        description="decimal string in major units",
        examples=["500.00"],
        json_schema_extra={"pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"},
    ),
]
Currency = Annotated[CurrencyCode, Field(description="ISO 4217", examples=["INR"])]
CountryCode = Annotated[
    str, Field(description="ISO 3166-1 alpha-2", examples=["IN"], pattern="^[A-Z]{2}$", min_length=2, max_length=2)
]


class FailureOut(Out):
    code: str = Field(examples=["card_declined"])
    message: str
    psp_code: str | None = Field(default=None, examples=["generic_decline"])


def failure_out(failure: Failure | None) -> FailureOut | None:
    """The shape of a failure."""
    return FailureOut(**failure.model_dump()) if failure else None


_YEARS = range(2000, 2200)
"""Of a time that anybody may mean."""


def _moment(value: object) -> object:
    """RFC 3339 with a zone, in UTC; a number is no time here."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None and moment.year in _YEARS:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("time", "a time with its zone, such as 2026-11-20T00:00:00Z", {"code": "time_invalid"})


def _day(value: object) -> object:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
        if day is not None and day.year in _YEARS:
            return day
    except ValueError:
        pass
    raise PydanticCustomError("date", "a day such as 2026-11-20", {"code": "date_invalid"})


MomentIn = Annotated[datetime, BeforeValidator(_moment)]
DayIn = Annotated[date, BeforeValidator(_day)]
