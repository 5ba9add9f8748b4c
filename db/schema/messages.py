"""The tables of messages: the inbox of PSP webhooks, the outbox of our own events with what is still to be done with
them, and what could not be delivered."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from db.schema.base import BY_MONTH, _created, _flag, _id, _json, _moment, _tenant, _text, _words, metadata
from domain.dead_letter import LetterStatus

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
    postgresql_partition_by=BY_MONTH,
)

event_sink = Table(
    "event_sink",
    metadata,
    Column("sink", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    # Only what is active is noted: nothing piles up for a broker that nobody has.
    _flag("active"),
    _moment("active_since"),
    # When the relay last had a connection to it.
    _moment("reached_at"),
)

# What each sink has still to be given, written by a trigger on the outbox. By row, never `seq > last`: sequences commit
# out of order and the relay would skip a late one.
outbox_todo = Table(
    "outbox_todo",
    metadata,
    Column("sink", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    _id(),
    _tenant(),
    _text("source"),
    # What its source calls it: of an event, its number in the outbox.
    _text("ref_id"),
    _text("object_id", required=False),
    _text("error_class"),
    _text("error"),
    Column("attempts", Integer, nullable=False),
    _created("first_at"),
    _created("last_at"),
    Column("status", Text, nullable=False, server_default="OPEN"),
    _moment("ended_at"),
    _text("actor", required=False),
    _text("reason", required=False),
    # Of the request that replays many: repeated under its key, it goes on with the same ones.
    _text("replay_id", required=False),
    CheckConstraint(f"status IN ({_words(LetterStatus)})", name="status"),
    Index("ix_dead_letter_open", "source", "ref_id", unique=True, postgresql_where=text("status = 'OPEN'")),
    Index("ix_dead_letter_ended", "source", "ref_id", postgresql_where=text("status <> 'OPEN'")),
    Index("ix_dead_letter_listed", "tenant_id", "id"),
    Index("ix_dead_letter_replay", "replay_id", postgresql_where=text("replay_id IS NOT NULL")),
)
