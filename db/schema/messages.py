"""The tables of messages: the inbox of PSP webhooks, and the outbox of our own events."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from db.schema.base import BY_MONTH, _created, _flag, _id, _json, _moment, _tenant, _text, metadata

webhook_inbox = Table(
    "webhook_inbox",
    metadata,
    _id(),
    _tenant(),
    _text("psp"),
    _text("event_id"),
    _text("type"),
    _json("payload", required=True),
    _text("reference", required=False),
    Column("payment_id", Text, ForeignKey("payment.id")),
    Column("charge_id", Text, ForeignKey("charge.id")),
    _text("charge_reference", required=False),
    _text("refund_id", required=False),
    Column("dispute_id", Text, ForeignKey("dispute.id")),
    Column("payout_id", Text, ForeignKey("payout.id")),
    Column("kind", Text, nullable=False, server_default="charge"),
    Column("amount", BigInteger),
    _text("currency", required=False),
    _flag("paid"),
    _flag("refund_failed"),
    # Not answered by the end of the payment's workflow: what follows a payment takes notice of it.
    _flag("aftermath"),
    _text("status"),
    _text("note", required=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _created("received_at"),
    _moment("processed_at"),
    UniqueConstraint("psp", "event_id"),
    CheckConstraint("status IN ('RECEIVED', 'PROCESSED', 'IGNORED', 'DEAD')", name="status"),
    Index("ix_webhook_inbox_waiting", "payment_id", "received_at", postgresql_where=text("status = 'RECEIVED'")),
    # What the retention looks through: payloads that are still kept.
    Index("ix_webhook_inbox_kept", "received_at", postgresql_where=text("payload <> '{}'")),
    Index("ix_webhook_inbox_payout", "payout_id", postgresql_where=text("status = 'RECEIVED'")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    _text("id"),
    _tenant(),
    _text("type"),
    Column("schema_version", Integer, nullable=False),
    _text("object_id"),
    _json("payload", required=True),
    _moment("at", required=True),
    _moment("published_at"),
    # By flag, never `seq > last`: sequences commit out of order and the relay would skip a late one.
    Index("ix_outbox_unpublished", "seq", postgresql_where=text("published_at IS NULL")),
    postgresql_partition_by=BY_MONTH,
)
