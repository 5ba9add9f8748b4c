"""The tables. Amounts are BIGINT minor units beside an ISO 4217 code; every row has its tenant.

What no column can say (balanced transactions, append-only tables, terminal states) is in the migrations as triggers.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    MetaData,
    Sequence,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

PLATFORM_TENANT = "platform"
"""Owns what belongs to no tenant, such as a webhook about an object nobody knows."""


def _words(values: object) -> str:
    return ", ".join(f"'{v}'" for v in values)  # type: ignore[attr-defined]


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _tenant(*, checked: bool = True) -> Column[str]:
    """`checked` false: another constraint, or a trigger, guarantees that the tenant is there."""
    return Column("tenant_id", Text, *([ForeignKey("tenant.id")] if checked else []), nullable=False)


def _moment(name: str, *, required: bool = False) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=not required)


def _created(name: str = "created_at") -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _json(name: str, *, required: bool = False) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), nullable=not required)


def _text(name: str, *, required: bool = True) -> Column[str]:
    return Column(name, Text, nullable=not required)


def _amount(name: str, *, comment: str | None = None) -> Column[int]:
    """A sum that starts at nothing."""
    return Column(name, BigInteger, nullable=False, server_default="0", comment=comment)


BY_MONTH = "RANGE (seq)"
"""The partitions of the large tables that only grow: the numbers of a month begin anew (`db.month`)."""

history_seq = Sequence("history_seq", metadata=metadata)
"""One for everything that a history shows, so that its pages are stable: a time is not unique, and clocks differ."""


def _history_seq() -> Column[int]:
    return Column("seq", BigInteger, nullable=False, server_default=text("nextval('history_seq')"))
