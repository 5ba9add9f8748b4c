"""Tables of the people who log in, their sessions, and how often somebody has tried."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, ForeignKey, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from db.schema.base import _created, _moment, _tenant, _text, metadata

operator = Table(
    "operator",
    metadata,
    Column("name", Text, primary_key=True, comment="what is typed to log in, and what the audit log names"),
    _tenant(),
    _text("role"),
    Column("password_hash", Text, nullable=False, comment="scrypt$n$r$p$salt$hash"),
    Column(
        "password_ends_at", DateTime(timezone=True), comment="of a one-time password; null: one of the person's own"
    ),
    Column("totp_secret", LargeBinary, comment="encrypted, bound to operator:{name}:totp"),
    Column("totp_counter", BigInteger, comment="the last time step of which a code was used"),
    Column("recovery_codes", ARRAY(LargeBinary), nullable=False, server_default="{}", comment="SHA-256 of those left"),
    _created(),
    Column("enrolled_at", DateTime(timezone=True), comment="own password and second factor; null: not yet, or reset"),
    _moment("last_login_at"),
    _moment("disabled_at"),
)

operator_session = Table(
    "operator_session",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    _tenant(),
    Column("operator_name", Text, ForeignKey("operator.name"), nullable=False),
    Column("enrolling", Boolean, nullable=False, comment="good for the enrolment and for nothing else"),
    Column("address", Text, nullable=False, comment="that the login came from, and may come from again"),
    _created(),
    _created("last_used_at"),
    _moment("expires_at", required=True),
    _moment("ended_at"),
    Index("ix_operator_session_operator", "operator_name", "address"),
)

login_throttle = Table(
    "login_throttle",
    metadata,
    Column("kind", Text, primary_key=True, comment="address or name"),
    Column("bucket", Integer, primary_key=True, comment="of a keyed hash of it: as many rows as buckets, at most"),
    Column("tries", Integer, nullable=False),
    _created("tried_at"),
    _created("open_at"),
)
