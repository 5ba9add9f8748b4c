"""Tables of payout runs, payouts, their history, calls and items."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from db.schema.base import _created, _flag, _history_seq, _id, _json, _moment, _tenant, _text, _words, metadata
from domain.payout import PayoutCall
from domain.status import PAYOUT_ENDED, PayoutStatus

payout_run = Table(
    "payout_run",
    metadata,
    _id(),
    Column("business_date", Date, nullable=False, unique=True),
    _text("actor"),
    Column("payouts", Integer, nullable=False, server_default="0"),
    _moment("started_at", required=True),
    _moment("ended_at"),
)

PAYOUT_UNSENT = text(f"status IN ({_words((PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED))})")

payout = Table(
    "payout",
    metadata,
    _id(),
    _tenant(checked=False),
    _text("seller_account"),
    Column("amount", BigInteger, nullable=False),
    _text("currency"),
    _text("psp"),
    Column("destination", Text, nullable=False, comment="the seller's account at the PSP"),
    Column("run_id", Text, ForeignKey("payout_run.id")),
    Column("business_date", Date),
    _text("status"),
    _text("ends_as", required=False),
    _text("transfer_reference", required=False),
    _text("reference", required=False),
    _moment("arrival_at"),
    _json("failure"),
    _moment("cancel_requested_at"),
    _text("cancel_requested_by", required=False),
    _json("cancel_failure"),
    Column("unknown_count", Integer, nullable=False, server_default="0"),
    _moment("next_check_at"),
    _text("actor"),
    _history_seq(),
    _created(),
    _created("updated_at"),
    ForeignKeyConstraint(["tenant_id", "seller_account"], ["merchant.tenant_id", "merchant.seller_account"]),
    UniqueConstraint("psp", "reference"),
    UniqueConstraint("psp", "transfer_reference"),
    Index("ix_payout_reference", "reference"),
    Index("ix_payout_transfer_reference", "transfer_reference"),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint(f"status IN ({_words(PayoutStatus)})", name="status"),
    CheckConstraint("(business_date IS NULL) = (run_id IS NULL)", name="run"),
    # A run for the same date, again or at the same time, finds its payout here. One that failed has paid nothing.
    Index(
        "uq_payout_business_date",
        "tenant_id",
        "seller_account",
        "currency",
        "business_date",
        unique=True,
        postgresql_where=text("business_date IS NOT NULL AND status <> 'FAILED'"),
    ),
    Index("ix_payout_seller", "tenant_id", "seller_account", "seq"),
    Index(
        "ix_payout_open",
        "next_check_at",
        postgresql_where=text(f"status NOT IN ({_words(sorted(PAYOUT_ENDED))})"),
    ),
    Index("ix_payout_run", "run_id", "seq"),
    Index("ix_payout_unsent", "run_id", postgresql_where=PAYOUT_UNSENT),
    Index("ix_payout_return", "next_check_at", postgresql_where=text("status = 'PAID' AND next_check_at IS NOT NULL")),
)

payout_transition = Table(
    "payout_transition",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    _tenant(),
    Column("payout_id", Text, ForeignKey("payout.id"), nullable=False, index=True),
    _text("from_status", required=False),
    _text("to_status"),
    _text("reason"),
    _moment("at", required=True),
)

# One row for each attempt at one of a payout's calls at the PSP, written before anything is sent.
payout_call = Table(
    "payout_call",
    metadata,
    Column("key", Text, primary_key=True),
    _tenant(),
    Column("payout_id", Text, ForeignKey("payout.id"), nullable=False),
    _text("call"),
    Column("attempt", Integer, nullable=False),
    _moment("send_until", required=True),
    _moment("sent_at"),
    _text("outcome", required=False),
    _text("reference", required=False),
    _json("failure"),
    _created(),
    UniqueConstraint("payout_id", "call", "attempt"),
    Index("ix_payout_call_reference", "reference"),
    CheckConstraint(f"call IN ({_words(PayoutCall)})", name="call"),
)

# What a payout pays: postings to the wallet's available balance, or parts of them. `amount` has the sign that it has
# for the seller: what was taken from the balance (a refund, a debt) is deducted. A trigger sees to it that the posting
# is there, is the tenant's, and is not paid twice.
payout_item = Table(
    "payout_item",
    metadata,
    Column("payout_id", Text, ForeignKey("payout.id"), primary_key=True),
    Column("posting_seq", BigInteger, primary_key=True, autoincrement=False),
    _tenant(checked=False),
    Column("amount", BigInteger, nullable=False),
    _flag("released"),
    CheckConstraint("amount <> 0", name="amount"),
    Index("ix_payout_item_live", "posting_seq", postgresql_where=text("NOT released")),
)

# The bank's own reference of a payout to it, of a seller or of ours, as the PSP tells it: days later than the rest.
payout_trace = Table(
    "payout_trace",
    metadata,
    Column("psp", Text, primary_key=True),
    Column("reference", Text, primary_key=True, comment="the PSP's payout"),
    Column("trace_id", Text, primary_key=True),
    _created(),
)
