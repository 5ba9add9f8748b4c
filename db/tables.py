"""The tables. Amounts are BIGINT minor units beside an ISO 4217 code; every row has its tenant.

What no column can say (balanced transactions, append-only tables, terminal states) is in the migrations as triggers.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from domain.payout import DELAY_DAYS_MAX, Interval, PayoutCall
from domain.risk import ReviewDecision, Stage, Verdict
from domain.status import PAYOUT_ENDED, DisputeStatus, MerchantStatus, PayoutStatus, RefundStatus, Status

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


def _tenant() -> Column[str]:
    return Column("tenant_id", Text, ForeignKey("tenant.id"), nullable=False)


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


history_seq = Sequence("history_seq", metadata=metadata)
"""One for everything that a history shows, so that its pages are stable: a time is not unique, and clocks differ."""


def _history_seq() -> Column[int]:
    return Column("seq", BigInteger, nullable=False, server_default=text("nextval('history_seq')"))


tenant = Table("tenant", metadata, _id(), _text("name"), _created())

api_key = Table(
    "api_key",
    metadata,
    _id(),
    _tenant(),
    _text("name"),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    _created(),
    _moment("revoked_at"),
)

merchant = Table(
    "merchant",
    metadata,
    _id(),
    _tenant(),
    _text("seller_account"),
    _text("name", required=False),
    Column("status", Text, nullable=False, server_default="ACTIVE"),
    Column("fee_percent", Numeric(7, 4), nullable=False, server_default="0"),
    Column("fee_fixed", Numeric(14, 4), nullable=False, server_default="0"),
    Column("psp_fee_payer", Text, nullable=False, server_default="platform"),
    Column("dispute_fee_payer", Text, nullable=False, server_default="platform"),
    Column("platform_fee_on_refund", Text, nullable=False, server_default="returned"),
    _flag("allow_negative_balance"),
    _text("country", required=False),
    Column("payout_account", Text, comment="the PSP's name of the seller's account there"),
    Column("payout_interval", Text, nullable=False, server_default=Interval.MANUAL.value),
    Column("payout_weekdays", ARRAY(Integer), nullable=False, server_default="{}", comment="0 is Monday"),
    Column("payout_monthdays", ARRAY(Integer), nullable=False, server_default="{}"),
    Column("payout_minimum", JSONB, nullable=False, server_default="{}", comment="currency → minor units"),
    Column("payout_delay_days", Integer, nullable=False, server_default="0"),
    _created(),
    _created("updated_at"),
    UniqueConstraint("tenant_id", "seller_account"),
    CheckConstraint(f"status IN ({_words(MerchantStatus)})", name="status"),
    CheckConstraint("fee_percent BETWEEN 0 AND 100 AND fee_fixed >= 0", name="fee"),
    CheckConstraint("psp_fee_payer IN ('platform', 'seller')", name="psp_fee_payer"),
    CheckConstraint("dispute_fee_payer IN ('platform', 'seller')", name="dispute_fee_payer"),
    CheckConstraint("platform_fee_on_refund IN ('returned', 'kept')", name="platform_fee_on_refund"),
    CheckConstraint(f"payout_interval IN ({_words(Interval)})", name="payout_interval"),
    CheckConstraint(f"payout_delay_days BETWEEN 0 AND {DELAY_DAYS_MAX}", name="payout_delay_days"),
)

payment = Table(
    "payment",
    metadata,
    _id(),
    _tenant(),
    _text("checkout_id", required=False),
    _text("buyer_id"),
    Column("buyer_email", LargeBinary, comment="encrypted"),
    Column("amount", BigInteger, nullable=False),
    _text("currency"),
    _text("status"),
    _text("psp"),
    _text("method"),
    Column("token", LargeBinary, nullable=False, comment="encrypted payment method token"),
    _text("on_partial_failure"),
    _json("metadata", required=True),
    _flag("is_payment_done"),
    _moment("cancel_requested_at"),
    _text("cancel_requested_by", required=False),
    _flag("authorize_only"),
    _flag("capture_by_request"),
    _flag("capture_on_expiry"),
    _moment("capture_requested_at"),
    _text("capture_requested_by", required=False),
    Column("risk_version", Integer, comment="the rule set that judges it"),
    _text("buyer_country", required=False),
    _text("card_fingerprint", required=False),
    _json("next_action"),
    _moment("deadline_at"),
    _moment("next_check_at"),
    Column("version", Integer, nullable=False, server_default="0"),
    _created(),
    _created("updated_at"),
    CheckConstraint(f"status IN ({_words(Status)})", name="status"),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("on_partial_failure IN ('compensate_all', 'keep_successful')", name="on_partial_failure"),
    # A double click with another key finds the first payment here; a failed checkout may be tried again.
    Index(
        "uq_payment_live_checkout",
        "tenant_id",
        "checkout_id",
        unique=True,
        postgresql_where=text("status NOT IN ('FAILED', 'CANCELLED')"),
    ),
    Index(
        "ix_payment_open",
        "updated_at",
        postgresql_where=text("status NOT IN ('SUCCESS', 'FAILED', 'CANCELLED')"),
    ),
    Index("ix_payment_buyer", "tenant_id", "buyer_id", "id"),
    Index("ix_payment_buyer_created", "tenant_id", "buyer_id", "created_at"),
    Index(
        "ix_payment_card",
        "tenant_id",
        "card_fingerprint",
        "created_at",
        postgresql_where=text("card_fingerprint IS NOT NULL"),
    ),
)

payment_order = Table(
    "payment_order",
    metadata,
    _id(),
    _tenant(),
    Column("payment_id", Text, ForeignKey("payment.id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    _text("payment_order_id"),
    _text("seller_account"),
    Column("amount", BigInteger, nullable=False),
    _text("currency"),
    Column("platform_fee", BigInteger, nullable=False),
    Column("capture_amount", BigInteger, comment="what was asked to be captured; null: all of it"),
    _amount("captured_amount"),
    _amount("captured_fee", comment="the platform's fee of it"),
    _amount("pending_amount", comment="what of it is in the wallet's pending"),
    _amount("refund_amount", comment="live refunds that we started"),
    _amount("psp_refund_amount", comment="refunds made at the PSP"),
    _amount("dispute_amount", comment="disputed, and not won"),
    _text("status"),
    _flag("wallet_updated"),
    _flag("ledger_updated"),
    _flag("compensating"),
    _json("failure"),
    _text("refund_status", required=False),
    _text("dispute_status", required=False),
    Column("available_at", DateTime(timezone=True), comment="when what is pending of it becomes available"),
    _moment("released_at"),
    Column("version", Integer, nullable=False, server_default="0"),
    _history_seq(),
    _created(),
    _created("updated_at"),
    ForeignKeyConstraint(["tenant_id", "seller_account"], ["merchant.tenant_id", "merchant.seller_account"]),
    UniqueConstraint("payment_id", "position"),
    CheckConstraint(f"status IN ({_words(Status)})", name="status"),
    CheckConstraint("amount > 0 AND platform_fee BETWEEN 0 AND amount", name="amount"),
    CheckConstraint("capture_amount BETWEEN 0 AND amount", name="capture"),
    CheckConstraint(
        "captured_amount BETWEEN 0 AND coalesce(capture_amount, amount)"
        " AND captured_fee BETWEEN 0 AND least(captured_amount, platform_fee)"
        " AND pending_amount BETWEEN 0 AND captured_amount",
        name="captured",
    ),
    # Whatever else goes wrong, we never start refunds of more than was captured.
    CheckConstraint("refund_amount BETWEEN 0 AND captured_amount", name="refunds"),
    CheckConstraint("psp_refund_amount >= 0 AND dispute_amount >= 0", name="taken_back"),
    Index(
        "uq_payment_order_live",
        "tenant_id",
        "payment_order_id",
        unique=True,
        postgresql_where=text("status NOT IN ('FAILED', 'CANCELLED')"),
    ),
    Index("ix_payment_order_name", "tenant_id", "payment_order_id", "id"),
    Index("ix_payment_order_seller", "tenant_id", "seller_account", "seq"),
    Index(
        "ix_payment_order_pending",
        "available_at",
        postgresql_where=text("pending_amount > 0 AND status = 'SUCCESS'"),
    ),
)

payment_order_transition = Table(
    "payment_order_transition",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    _tenant(),
    Column("payment_id", Text, ForeignKey("payment.id"), nullable=False, index=True),
    Column("order_id", Text, ForeignKey("payment_order.id"), nullable=False),
    _text("from_status", required=False),
    _text("to_status"),
    _text("reason"),
    _text("actor"),
    _moment("at", required=True),
)

charge = Table(
    "charge",
    metadata,
    _id(),
    _tenant(),
    Column("payment_id", Text, ForeignKey("payment.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    _text("psp"),
    Column("key", Text, nullable=False, unique=True),
    Column("amount", BigInteger, nullable=False),
    _text("currency"),
    _moment("send_until", required=True),
    _text("outcome", required=False),
    _text("reference", required=False),
    Column("received_amount", BigInteger),
    _text("received_currency", required=False),
    Column("refund_amount", BigInteger, nullable=False, server_default="0", comment="live refunds that we started"),
    _json("fee"),
    _flag("booked"),
    Column("unknown_count", Integer, nullable=False, server_default="0"),
    _json("last_answer"),
    _moment("last_answer_at"),
    _created(),
    UniqueConstraint("payment_id", "attempt"),
    UniqueConstraint("psp", "reference"),
    CheckConstraint("refund_amount BETWEEN 0 AND coalesce(received_amount, 0)", name="refunds"),
)

refund = Table(
    "refund",
    metadata,
    _id(),
    _tenant(),
    Column("payment_id", Text, ForeignKey("payment.id"), nullable=False, index=True),
    Column("order_id", Text, ForeignKey("payment_order.id"), comment="null: the whole charge"),
    Column("charge_id", Text, ForeignKey("charge.id"), nullable=False),
    _text("origin"),
    Column(
        "source_id",
        Text,
        nullable=False,
        unique=True,
        comment="what makes it one: the order or charge that it undoes, itself, or the PSP's own refund",
    ),
    Column("amount", BigInteger, nullable=False),
    _text("currency"),
    _text("status"),
    _text("ends_as", required=False),
    _json("ends_with"),
    Column("attempt", Integer, nullable=False, server_default="1"),
    _moment("send_until", required=True),
    _text("reference", required=False),
    _json("failure"),
    Column("unknown_count", Integer, nullable=False, server_default="0"),
    _text("reason", required=False),
    _text("actor", required=False),
    Column("refundable_amount", BigInteger, comment="what could be refunded when it was asked for"),
    _history_seq(),
    _created(),
    _created("updated_at"),
    UniqueConstraint("charge_id", "reference"),
    CheckConstraint(f"status IN ({_words(RefundStatus)})", name="status"),
    CheckConstraint("amount > 0 AND amount <= refundable_amount", name="amount"),
    CheckConstraint("origin IN ('compensation', 'late_charge', 'request', 'psp')", name="origin"),
)

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

# Funds of a seller that are set aside for a refund or a dispute: one row for each order that it concerns.
reserve = Table(
    "reserve",
    metadata,
    _id(),
    _tenant(),
    Column("source_id", Text, nullable=False, comment="the refund or dispute"),
    Column("payment_id", Text, ForeignKey("payment.id"), nullable=False, index=True),
    Column("order_id", Text, ForeignKey("payment_order.id"), nullable=False),
    _text("seller_account"),
    _text("currency"),
    Column("amount", BigInteger, nullable=False, comment="the order's share of the refund or dispute"),
    _amount("platform_fee", comment="what the platform returns of it"),
    _amount("psp_fee", comment="what of the PSP's dispute fee the seller bears"),
    _amount("pending", comment="covered from there"),
    _amount("available"),
    _amount("receivable"),
    _text("status"),
    _history_seq(),
    _created(),
    Index("uq_reserve_live", "source_id", "order_id", unique=True, postgresql_where=text("status <> 'RELEASED'")),
    ForeignKeyConstraint(["tenant_id", "seller_account"], ["merchant.tenant_id", "merchant.seller_account"]),
    CheckConstraint("status IN ('HELD', 'TAKEN', 'RELEASED')", name="status"),
    CheckConstraint(
        "amount >= 0 AND platform_fee BETWEEN 0 AND amount AND least(psp_fee, pending, available, receivable) >= 0",
        name="amounts",
    ),
    Index("ix_reserve_seller", "tenant_id", "seller_account", "seq"),
)

risk_rule_set = Table(
    "risk_rule_set",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    _json("rules", required=True),
    _text("actor"),
    _created(),
)

risk_decision = Table(
    "risk_decision",
    metadata,
    Column("payment_id", Text, ForeignKey("payment.id"), primary_key=True),
    Column("stage", Text, primary_key=True),
    _tenant(),
    Column("version", Integer, nullable=False, comment="of the rule set"),
    _text("verdict"),
    Column("reasons", ARRAY(Text), nullable=False),
    _json("facts", required=True),
    _moment("at", required=True),
    _text("review", required=False),
    _text("reviewed_by", required=False),
    _text("review_note", required=False),
    _moment("reviewed_at"),
    Column("released_at", DateTime(timezone=True), comment="let go to its charge, once"),
    CheckConstraint(f"stage IN ({_words(Stage)})", name="stage"),
    CheckConstraint(f"verdict IN ({_words(Verdict)})", name="verdict"),
    CheckConstraint(f"review IN ({_words(ReviewDecision)})", name="review"),
)

ledger_account = Table(
    "ledger_account",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    _text("kind"),
    _created(),
)

ledger_transaction = Table(
    "ledger_transaction",
    metadata,
    _id(),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    _tenant(),
    _text("kind"),
    _text("source_id"),
    _text("payment_id", required=False),
    _text("order_id", required=False),
    Column("corrects", Text, ForeignKey("ledger_transaction.id")),
    _moment("at", required=True),
    # Postings are accepted from the database transaction that wrote this row alone; the seal orders by it as well.
    Column("xact", BigInteger, nullable=False, server_default=text("(pg_current_xact_id()::text)::bigint")),
    UniqueConstraint("kind", "source_id"),
    Index("ix_ledger_transaction_payment_id", "payment_id"),
)

ledger_posting = Table(
    "ledger_posting",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("transaction_id", Text, ForeignKey("ledger_transaction.id"), nullable=False, index=True),
    _text("account"),
    _text("currency"),
    Column("amount", BigInteger, nullable=False, comment="debit positive"),
    ForeignKeyConstraint(
        ["tenant_id", "account", "currency"],
        ["ledger_account.tenant_id", "ledger_account.name", "ledger_account.currency"],
        name="fk_ledger_posting_account",
    ),
    CheckConstraint("amount <> 0", name="amount"),
    Index("ix_ledger_posting_account", "tenant_id", "account", "currency", "seq"),
)

wallet = Table(
    "wallet",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("seller_account", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("pending", BigInteger, nullable=False, server_default="0"),
    Column("available", BigInteger, nullable=False, server_default="0"),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    _amount("receivable", comment="what the seller owes us"),
    Column(
        "payable_from",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="no posting to available below this is left to be paid out",
    ),
    _created("updated_at"),
    ForeignKeyConstraint(["tenant_id", "seller_account"], ["merchant.tenant_id", "merchant.seller_account"]),
    Index(
        "ix_wallet_available",
        "tenant_id",
        "seller_account",
        "currency",
        postgresql_where=text("available > 0"),
    ),
)

# Hashes of what was posted, in a chain: each block covers the transactions whose rows follow, and the block before it.
ledger_seal = Table(
    "ledger_seal",
    metadata,
    Column("no", BigInteger, primary_key=True, autoincrement=False),
    Column("transactions", Integer, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _moment("at", required=True),
)

ledger_seal_row = Table(
    "ledger_seal_row",
    metadata,
    # No foreign key: a transaction that was deleted has to be missed by its name.
    Column("transaction_id", Text, primary_key=True),
    Column("seal_no", BigInteger, ForeignKey("ledger_seal.no"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column(
        "digests", LargeBinary, nullable=False, comment="of the transaction and each posting: says which was changed"
    ),
    Index("ix_ledger_seal_row_seal", "seal_no", "seq"),
)

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
    _tenant(),
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
    CheckConstraint(f"call IN ({_words(PayoutCall)})", name="call"),
)

# What a payout pays: postings to the wallet's available balance, or parts of them. `amount` has the sign that it has
# for the seller: what was taken from the balance (a refund, a debt) is deducted.
payout_item = Table(
    "payout_item",
    metadata,
    Column("payout_id", Text, ForeignKey("payout.id"), primary_key=True),
    Column("posting_seq", BigInteger, ForeignKey("ledger_posting.seq"), primary_key=True),
    _tenant(),
    Column("amount", BigInteger, nullable=False),
    _flag("released"),
    CheckConstraint("amount <> 0", name="amount"),
    Index("ix_payout_item_live", "posting_seq", postgresql_where=text("NOT released")),
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    _text("object_id"),
    _created(),
)

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
    Index("ix_webhook_inbox_payout", "payout_id", postgresql_where=text("status = 'RECEIVED'")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    _tenant(),
    _text("type"),
    Column("schema_version", Integer, nullable=False),
    _text("object_id"),
    _json("payload", required=True),
    _moment("at", required=True),
    _moment("published_at"),
    # By flag, never `seq > last`: sequences commit out of order and the relay would skip a late one.
    Index("ix_outbox_unpublished", "seq", postgresql_where=text("published_at IS NULL")),
)

operator_task = Table(
    "operator_task",
    metadata,
    _id(),
    _tenant(),
    Column("payment_id", Text, ForeignKey("payment.id"), index=True),
    Column("object_id", Text, comment="what it is about, where that is no payment: a payout, a discrepancy"),
    _text("kind"),
    _text("detail"),
    _created("opened_at"),
    _moment("closed_at"),
    _text("closed_by", required=False),
    _text("resolution", required=False),
    Index("uq_operator_task_open", "payment_id", "kind", unique=True, postgresql_where=text("closed_at IS NULL")),
    Index("uq_operator_task_object", "object_id", "kind", unique=True, postgresql_where=text("closed_at IS NULL")),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    _tenant(),
    _text("actor"),
    _text("action"),
    _text("object_id"),
    _json("detail", required=True),
    _created("at"),
)
