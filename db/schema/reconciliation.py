"""The tables of the reconciliation, of the same metadata as the others: evidence, findings, and what is worked on.

A run copies the other side's lines (never changed), and keeps an item for each line or record that our own reference
did not plainly match. A discrepancy is what people work on: one per break, across all runs that find it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from db.schema.base import _created, _flag, _history_seq, _id, _moment, _tenant, _text, _words, metadata
from db.schema.ledger import ledger_transaction
from db.schema.payment import charge
from domain.reconciliation.reconciliation import (
    BREAKS,
    DiscrepancyStatus,
    Fix,
    LineClass,
    MatchedBy,
    RunStatus,
    Source,
    Subject,
)

settlement_file = Table(
    "settlement_file",
    metadata,
    _id(),
    _tenant(),
    _text("kind"),
    _text("name"),
    Column("sha256", LargeBinary, comment="null only while its bytes are being stored"),
    Column("size", BigInteger, nullable=False, server_default="0"),
    _text("actor"),
    _created(),
    UniqueConstraint("tenant_id", "kind", "sha256"),
    CheckConstraint(f"kind IN ({_words(Subject)})", name="kind"),
)

settlement_file_chunk = Table(
    "settlement_file_chunk",
    metadata,
    Column("file_id", Text, ForeignKey("settlement_file.id"), primary_key=True),
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    Column(
        "encrypted",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="bound to {file_id}:{no}; false: kept in clear, before files were encrypted",
    ),
)

reconciliation_run = Table(
    "reconciliation_run",
    metadata,
    _id(),
    _tenant(),
    Column("key", Text, nullable=False, unique=True, comment="what makes it one: its workflow's run, or its own id"),
    _text("psp"),
    _text("subject"),
    _text("source"),
    Column("file_id", Text, ForeignKey("settlement_file.id")),
    _text("file_name", required=False),
    _text("file_sha256", required=False),
    _moment("window_from"),
    Column("window_to", DateTime(timezone=True), comment="exclusive"),
    Column("margin_s", Double, nullable=False, comment="lines so far outside the window were asked for as well"),
    Column("business_date", Date),
    _text("zone", required=False),
    _text("status"),
    _text("cursor", required=False),
    Column("pages", Integer, nullable=False, server_default="0"),
    Column("lines", BigInteger, nullable=False, server_default="0"),
    _moment("staged_at"),
    _moment("matched_at"),
    Column("notes", ARRAY(Text), comment="what a person should know of how the lines were read"),
    Column("outside", BigInteger, comment="lines outside the window, which are judged in another run"),
    Column("counts", JSONB, comment="class → lines and records"),
    Column("opened", Integer, nullable=False, server_default="0", comment="discrepancies"),
    Column("closed", Integer, nullable=False, server_default="0", comment="discrepancies, found matched again"),
    Column("fixed", Integer, nullable=False, server_default="0"),
    Column("asked", Integer, nullable=False, server_default="0"),
    _flag("apply"),
    _text("actor"),
    _moment("at", required=True),
    _text("failure", required=False),
    _history_seq(),
    _created(),
    _created("updated_at"),
    _moment("completed_at"),
    CheckConstraint(f"status IN ({_words(RunStatus)})", name="status"),
    CheckConstraint(f"subject IN ({_words(Subject)})", name="subject"),
    CheckConstraint(f"source IN ({_words(Source)})", name="source"),
    CheckConstraint("(source = 'file') = (file_id IS NOT NULL)", name="file"),
    CheckConstraint("window_from < window_to", name="window"),
    Index("ix_reconciliation_run_seq", "tenant_id", "seq"),
)

# What the other side listed, as it listed it. No foreign key to the run: that would be a million checks of one row.
# An entry of a bank statement has its names in `names`, and neither kind nor fee; a payout to our bank, its trace id.
reconciliation_line = Table(
    "reconciliation_line",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("line_no", BigInteger, primary_key=True, autoincrement=False),
    _text("reference"),
    _text("kind"),
    Column("amount", BigInteger, nullable=False),
    Column("fee", BigInteger, nullable=False),
    _text("currency"),
    _moment("occurred_at", required=True),
    _moment("available_on"),
    _text("source_reference", required=False),
    _text("charge_reference", required=False),
    _text("our_reference", required=False),
    _text("description", required=False),
    Column("names", ARRAY(Text)),
    # Our ids sort by time, so a run's lines are added at one end of this index; it costs little. A line is in this
    # index or in the next, by the name under which a later run looks for it.
    Index("ix_reconciliation_line_ours", "our_reference", postgresql_where=text("our_reference IS NOT NULL")),
    Index(
        "ix_reconciliation_line_theirs",
        text("coalesce(charge_reference, source_reference, reference)"),
        postgresql_where=text("our_reference IS NULL"),
    ),
)


def _sides() -> list[Column[object]]:
    """Columns for the word of each of the three sides, where it says something: `there` (PSP or bank), our record, the
    ledger."""
    columns: list[Column[object]] = []
    for side in ("there", "record", "ledger"):
        columns += [
            Column(f"{side}_amount", BigInteger),
            Column(f"{side}_currency", Text),
            Column(f"{side}_fee", BigInteger),
        ]
    return columns


discrepancy = Table(
    "discrepancy",
    metadata,
    _id(),
    _tenant(),
    _text("psp"),
    _text("subject"),
    Column("fingerprint", Text, nullable=False, comment="the same break has the same one in every run"),
    _text("class"),
    _text("kind"),
    _text("reason"),
    _text("how", required=False),
    _text("object_id", required=False),
    _text("payment_id", required=False),
    _text("record_status", required=False),
    Column("line_run_id", Text, comment="the evidence: a line of a run"),
    Column("line_no", BigInteger),
    _text("line_reference", required=False),
    _moment("occurred_at"),
    *_sides(),
    Column("difference", BigInteger, comment="what is there, less what the ledger says, with fees; minor units"),
    _text("currency", required=False),
    Column("differences", JSONB, comment="the same in every currency: what adjusting it books"),
    _moment("due_at"),
    _text("fix", required=False),
    _moment("fix_asked_at"),
    _text("fix_note", required=False),
    _text("status"),
    Column("first_run_id", Text, ForeignKey("reconciliation_run.id"), nullable=False),
    Column("last_run_id", Text, ForeignKey("reconciliation_run.id"), nullable=False),
    _text("resolution", required=False),
    _text("note", required=False),
    _text("resolved_by", required=False),
    _moment("resolved_at"),
    Column("ledger_transaction_id", Text, ForeignKey("ledger_transaction.id")),
    _history_seq(),
    _moment("opened_at", required=True),
    _created(),
    _created("updated_at"),
    CheckConstraint(f"status IN ({_words(DiscrepancyStatus)})", name="status"),
    CheckConstraint(f"class IN ({_words(BREAKS)})", name="class"),
    CheckConstraint(f"subject IN ({_words(Subject)})", name="subject"),
    CheckConstraint(f"fix IN ({_words(Fix)})", name="fix"),
    CheckConstraint(f"how IN ({_words(MatchedBy)})", name="how"),
    CheckConstraint(
        "(status = 'OPEN') = (resolved_at IS NULL) AND (status = 'OPEN') = (resolved_by IS NULL)", name="resolved"
    ),
    # The same break, found by another run or by two at once, is this row.
    Index(
        "uq_discrepancy_open",
        "psp",
        "subject",
        "fingerprint",
        unique=True,
        postgresql_where=text("status = 'OPEN'"),
    ),
    Index("ix_discrepancy_fingerprint", "psp", "subject", "fingerprint"),
    Index(
        "ix_discrepancy_corrected",
        "psp",
        "subject",
        "fingerprint",
        postgresql_where=text("status = 'RESOLVED' AND ledger_transaction_id IS NOT NULL"),
    ),
    Index("ix_discrepancy_due", "due_at", postgresql_where=text("status = 'OPEN'")),
    Index("ix_discrepancy_tenant", "tenant_id", "seq"),
    Index("ix_discrepancy_last_run", "last_run_id", "id"),
    Index("ix_discrepancy_object", "object_id", postgresql_where=text("object_id IS NOT NULL")),
    Index("ix_discrepancy_payment", "payment_id", postgresql_where=text("payment_id IS NOT NULL")),
    Index("ix_discrepancy_line", "line_reference", postgresql_where=text("line_reference IS NOT NULL")),
)

# One row for each line or record that is not plainly matched by our own reference, with what this run saw of it.
reconciliation_item = Table(
    "reconciliation_item",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", Text, ForeignKey("reconciliation_run.id"), nullable=False),
    _tenant(),
    Column("line_no", BigInteger, comment="null: a record that has no line"),
    _text("line_reference", required=False),
    _text("class"),
    _text("kind"),
    _text("how", required=False),
    _text("object_id", required=False),
    _text("payment_id", required=False),
    _text("record_status", required=False),
    *_sides(),
    _moment("occurred_at"),
    _text("reason"),
    _moment("due_at"),
    Column("discrepancy_id", Text, ForeignKey("discrepancy.id"), index=True),
    CheckConstraint(f"class IN ({_words(LineClass)})", name="class"),
    CheckConstraint(f"how IN ({_words(MatchedBy)})", name="how"),
    Index("ix_reconciliation_item_run", "run_id", "seq"),
    Index("ix_reconciliation_item_line", "run_id", "line_no"),
    Index("ix_reconciliation_item_matched", "object_id", postgresql_where=text("class = 'matched'")),
)

# What a window's runs look through: both are written in the order of time, or hold few rows.
Index("ix_ledger_transaction_at", ledger_transaction.c.at, postgresql_using="brin")
Index(
    "ix_charge_unbooked",
    charge.c.last_answer_at,
    postgresql_where=text("outcome = 'SUCCEEDED' AND NOT booked"),
)
