"""Tables of webhooks to shops: their endpoints, the deliveries of events to them, and every attempt."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.schema.base import _created, _id, _moment, _tenant, _text, _words, metadata
from domain.webhook_endpoint import DeliveryStatus, EndpointStatus

_PENDING = text("status = 'PENDING'")
_CLAIMED = text("status = 'PENDING' AND claimed_until IS NOT NULL")

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    _id(),
    _tenant(),
    _text("url"),
    Column("types", ARRAY(Text), nullable=False, server_default="{}", comment="of the events it gets; empty: all"),
    Column("secret", LargeBinary, nullable=False),
    Column("old_secret", LargeBinary, nullable=False, server_default=text("''")),
    _moment("old_secret_until"),
    Column("status", Text, nullable=False, server_default="ENABLED"),
    _text("disabled_because", required=False),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    _moment("failing_since"),
    # After some failures in a row: when the next probe may be sent.
    _moment("held_until"),
    # When a delivery last succeeded after that: what waits for an earlier event has waited since then.
    _moment("recovered_at"),
    _created(),
    UniqueConstraint("tenant_id", "url"),
    CheckConstraint(f"status IN ({_words(EndpointStatus)})", name="status"),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    _id(),
    _tenant(),
    Column("endpoint_id", Text, ForeignKey("webhook_endpoint.id"), nullable=False),
    _text("event_id"),
    Column("seq", BigInteger, comment="of the event in the outbox; a test has none"),
    _text("type"),
    _text("object_id"),
    Column("status", Text, nullable=False, server_default="PENDING"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="since it was first, or again, to be sent"),
    _moment("next_attempt_at", required=True),
    # A worker has it until then; when that worker has died, another one takes it.
    _moment("claimed_until"),
    _created(),
    _moment("delivered_at"),
    UniqueConstraint("endpoint_id", "event_id"),
    CheckConstraint(f"status IN ({_words(DeliveryStatus)})", name="status"),
    Index("ix_webhook_delivery_due", "endpoint_id", "next_attempt_at", "seq", postgresql_where=_PENDING),
    Index("ix_webhook_delivery_object", "endpoint_id", "object_id", "seq", postgresql_where=_PENDING),
    Index("ix_webhook_delivery_claimed", "endpoint_id", "claimed_until", postgresql_where=_CLAIMED),
    Index("ix_webhook_delivery_listed", "endpoint_id", "created_at", "id"),
)

webhook_attempt = Table(
    "webhook_attempt",
    metadata,
    Column("delivery_id", Text, ForeignKey("webhook_delivery.id"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    _tenant(),
    _moment("at", required=True),
    Column("address", Text, comment="that was connected to"),
    Column("status_code", Integer),
    Column("latency_ms", Integer, nullable=False),
    _text("error", required=False),
    Column("response", Text, comment="its first 2 KB"),
)
