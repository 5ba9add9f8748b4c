"""Tables of notifications to people: what is told, whom a tenant wants told, and who gets nothing more."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from db.schema.base import _created, _flag, _id, _moment, _tenant, _text, _words, metadata
from domain.notification import Audience, ChannelName, NotificationStatus, SuppressionReason

_PENDING = text("status = 'PENDING'")


def _channel() -> CheckConstraint:
    return CheckConstraint(f"channel IN ({_words(ChannelName)})", name="channel")


notification = Table(
    "notification",
    metadata,
    _id(),
    _tenant(),
    _text("event_id"),
    Column("seq", BigInteger, nullable=False, comment="of the event in the outbox"),
    _text("type"),
    _text("object_id"),
    Column("recipient", Text, nullable=False, comment="a payment (its buyer), seller:NAME or operator; no address"),
    _text("channel"),
    _text("template"),
    _text("locale"),
    _text("content_sid", required=False),
    Column("status", Text, nullable=False, server_default="PENDING"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _moment("next_attempt_at", required=True),
    # A worker has it until then; when that worker has died, another one takes it.
    _moment("claimed_until"),
    # The first attempt whose outcome is not known began then: it may have been sent.
    _moment("begun_at"),
    _text("code", required=False),
    _text("provider_id", required=False),
    _text("suppression_id", required=False),
    _created(),
    _moment("ended_at"),
    UniqueConstraint("event_id", "recipient", "channel", "template"),
    CheckConstraint(f"status IN ({_words(NotificationStatus)})", name="status"),
    _channel(),
    Index("ix_notification_due", "next_attempt_at", "seq", postgresql_where=_PENDING),
    Index("ix_notification_listed", "tenant_id", "id"),
    Index("ix_notification_object", "tenant_id", "object_id"),
)

notification_setting = Table(
    "notification_setting",
    metadata,
    _tenant(),
    _text("type"),
    _text("channel"),
    _text("audience"),
    _text("template"),
    _text("locale"),
    _text("content_sid", required=False),
    _flag("enabled"),
    PrimaryKeyConstraint("tenant_id", "type", "channel"),
    _channel(),
    CheckConstraint(f"audience IN ({_words(Audience)})", name="audience"),
)

notification_contact = Table(
    "notification_contact",
    metadata,
    _id(),
    _tenant(),
    Column("recipient", Text, nullable=False, comment="seller:NAME or operator"),
    Column("email", LargeBinary, nullable=False, server_default=text("''"), comment="empty: none"),
    Column("phone", LargeBinary, nullable=False, server_default=text("''"), comment="empty: none"),
    _text("locale", required=False),
    UniqueConstraint("tenant_id", "recipient"),
)

suppression = Table(
    "suppression",
    metadata,
    _id(),
    _tenant(),
    _text("channel"),
    Column("digest", LargeBinary, nullable=False, comment="of the address, keyed by the ring"),
    _text("reason"),
    _text("code", required=False),
    _created(),
    _moment("lifted_at"),
    CheckConstraint(f"reason IN ({_words(SuppressionReason)})", name="reason"),
    _channel(),
    Index(
        "uq_suppression_live", "tenant_id", "channel", "digest", unique=True, postgresql_where=text("lifted_at IS NULL")
    ),
)
