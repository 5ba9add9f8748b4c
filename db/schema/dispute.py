"""The tables of disputes: evidence and transitions."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.schema.base import _amount, _created, _flag, _history_seq, _id, _json, _moment, _tenant, _text, _words, metadata
from domain.status import DisputeStatus

dispute = Table(
    "dispute",
    metadata,
    _id(),
    _tenant(),
    Column("payment_id", Text, ForeignKey("payment.id"), nullable=False, index=True),
    Column("charge_id", Text, ForeignKey("charge.id"), nullable=False),
    _text("psp"),
    _text("reference"),
    Column("amount", BigInteger, nullable=False),
    _text("currency"),
    _text("category", required=False),
    _text("status"),
    _moment("evidence_due_at"),
    _flag("withdrawn"),
    _amount("fee", comment="what the PSP keeps for it"),
    Column("unknown_count", Integer, nullable=False, server_default="0"),
    _moment("next_check_at"),
    _moment("closed_at"),
    _history_seq(),
    _created(),
    _created("updated_at"),
    UniqueConstraint("psp", "reference"),
    Index("ix_dispute_reference", "reference"),
    CheckConstraint(f"status IN ({_words(DisputeStatus)})", name="status"),
    CheckConstraint("amount >= 0", name="amount"),
)

dispute_evidence = Table(
    "dispute_evidence",
    metadata,
    _id(),
    _tenant(),
    Column("dispute_id", Text, ForeignKey("dispute.id"), nullable=False, index=True),
    Column("fields", LargeBinary, nullable=False, comment="encrypted"),
    Column("field_names", ARRAY(Text), nullable=False),
    _text("status"),
    _text("actor"),
    _json("failure"),
    _created(),
    _moment("submitted_at"),
    CheckConstraint("status IN ('STORED', 'SUBMITTED', 'REFUSED')", name="status"),
)

dispute_transition = Table(
    "dispute_transition",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    _tenant(),
    Column("dispute_id", Text, ForeignKey("dispute.id"), nullable=False, index=True),
    _text("from_status", required=False),
    _text("to_status"),
    _moment("at", required=True),
)
