"""Reconciliation: settlement files, runs with their lines and items, discrepancies."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NEW_TABLES = (
    "reconciliation_item", "discrepancy", "reconciliation_line", "reconciliation_run", "settlement_file_chunk",
    "settlement_file",
)  # fmt: skip
APPEND_ONLY = ("reconciliation_item", "reconciliation_line", "settlement_file_chunk")


def upgrade() -> None:
    op.create_table(
        "reconciliation_line",
        Column("run_id", Text(), nullable=False),
        Column("line_no", BigInteger(), autoincrement=False, nullable=False),
        Column("reference", Text(), nullable=False),
        Column("kind", Text(), nullable=False),
        Column("amount", BigInteger(), nullable=False),
        Column("fee", BigInteger(), nullable=False),
        Column("currency", Text(), nullable=False),
        Column("occurred_at", DateTime(timezone=True), nullable=False),
        Column("available_on", DateTime(timezone=True), nullable=True),
        Column("source_reference", Text(), nullable=True),
        Column("charge_reference", Text(), nullable=True),
        Column("our_reference", Text(), nullable=True),
        Column("description", Text(), nullable=True),
        Column("names", ARRAY(Text()), nullable=True),
        PrimaryKeyConstraint("run_id", "line_no", name=op.f("pk_reconciliation_line")),
    )
    op.create_index(
        "ix_reconciliation_line_ours",
        "reconciliation_line",
        ["our_reference"],
        unique=False,
        postgresql_where=text("our_reference IS NOT NULL"),
    )
    op.create_index(
        "ix_reconciliation_line_theirs",
        "reconciliation_line",
        [text("coalesce(charge_reference, source_reference, reference)")],
        unique=False,
        postgresql_where=text("our_reference IS NULL"),
    )
    op.create_table(
        "settlement_file",
        Column("id", Text(), nullable=False),
        Column("tenant_id", Text(), nullable=False),
        Column("kind", Text(), nullable=False),
        Column("name", Text(), nullable=False),
        Column("sha256", LargeBinary(), nullable=True, comment="null only while its bytes are being stored"),
        Column("size", BigInteger(), server_default="0", nullable=False),
        Column("actor", Text(), nullable=False),
        Column("created_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        CheckConstraint("kind IN ('psp', 'bank')", name=op.f("ck_settlement_file_kind")),
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_settlement_file_tenant_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_settlement_file")),
        UniqueConstraint("tenant_id", "kind", "sha256", name=op.f("uq_settlement_file_tenant_id_kind_sha256")),
    )
    op.create_table(
        "reconciliation_run",
        Column("id", Text(), nullable=False),
        Column("tenant_id", Text(), nullable=False),
        Column("key", Text(), nullable=False, comment="what makes it one: its workflow's run, or its own id"),
        Column("psp", Text(), nullable=False),
        Column("subject", Text(), nullable=False),
        Column("source", Text(), nullable=False),
        Column("file_id", Text(), nullable=True),
        Column("file_name", Text(), nullable=True),
        Column("file_sha256", Text(), nullable=True),
        Column("window_from", DateTime(timezone=True), nullable=True),
        Column("window_to", DateTime(timezone=True), nullable=True, comment="exclusive"),
        Column("margin_s", Double(), nullable=False, comment="lines so far outside the window were asked for as well"),
        Column("business_date", Date(), nullable=True),
        Column("status", Text(), nullable=False),
        Column("cursor", Text(), nullable=True),
        Column("pages", Integer(), server_default="0", nullable=False),
        Column("lines", BigInteger(), server_default="0", nullable=False),
        Column("staged_at", DateTime(timezone=True), nullable=True),
        Column("matched_at", DateTime(timezone=True), nullable=True),
        Column("counts", JSONB(), nullable=True, comment="class → lines and records"),
        Column("opened", Integer(), server_default="0", nullable=False, comment="discrepancies"),
        Column("closed", Integer(), server_default="0", nullable=False, comment="discrepancies, found matched again"),
        Column("fixed", Integer(), server_default="0", nullable=False),
        Column("asked", Integer(), server_default="0", nullable=False),
        Column("apply", Boolean(), server_default=text("false"), nullable=False),
        Column("actor", Text(), nullable=False),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("failure", Text(), nullable=True),
        Column("seq", BigInteger(), server_default=text("nextval('history_seq')"), nullable=False),
        Column("created_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        Column("updated_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        Column("completed_at", DateTime(timezone=True), nullable=True),
        CheckConstraint("(source = 'file') = (file_id IS NOT NULL)", name=op.f("ck_reconciliation_run_file")),
        CheckConstraint("source IN ('api', 'file')", name=op.f("ck_reconciliation_run_source")),
        CheckConstraint(
            "status IN ('STAGING', 'MATCHING', 'COMPLETED', 'FAILED')", name=op.f("ck_reconciliation_run_status")
        ),
        CheckConstraint("subject IN ('psp', 'bank')", name=op.f("ck_reconciliation_run_subject")),
        CheckConstraint("window_from < window_to", name=op.f("ck_reconciliation_run_window")),
        ForeignKeyConstraint(["file_id"], ["settlement_file.id"], name=op.f("fk_reconciliation_run_file_id")),
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_reconciliation_run_tenant_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_run")),
        UniqueConstraint("key", name=op.f("uq_reconciliation_run_key")),
    )
    op.create_index("ix_reconciliation_run_seq", "reconciliation_run", ["tenant_id", "seq"], unique=False)
    op.create_table(
        "settlement_file_chunk",
        Column("file_id", Text(), nullable=False),
        Column("no", Integer(), autoincrement=False, nullable=False),
        Column("data", LargeBinary(), nullable=False),
        ForeignKeyConstraint(["file_id"], ["settlement_file.id"], name=op.f("fk_settlement_file_chunk_file_id")),
        PrimaryKeyConstraint("file_id", "no", name=op.f("pk_settlement_file_chunk")),
    )
    op.create_table(
        "discrepancy",
        Column("id", Text(), nullable=False),
        Column("tenant_id", Text(), nullable=False),
        Column("psp", Text(), nullable=False),
        Column("subject", Text(), nullable=False),
        Column("fingerprint", Text(), nullable=False, comment="the same break has the same one in every run"),
        Column("class", Text(), nullable=False),
        Column("kind", Text(), nullable=False),
        Column("reason", Text(), nullable=False),
        Column("how", Text(), nullable=True),
        Column("object_id", Text(), nullable=True),
        Column("payment_id", Text(), nullable=True),
        Column("record_status", Text(), nullable=True),
        Column("line_run_id", Text(), nullable=True, comment="the evidence: a line of a run"),
        Column("line_no", BigInteger(), nullable=True),
        Column("line_reference", Text(), nullable=True),
        Column("occurred_at", DateTime(timezone=True), nullable=True),
        Column("there_amount", BigInteger(), nullable=True),
        Column("there_currency", Text(), nullable=True),
        Column("there_fee", BigInteger(), nullable=True),
        Column("record_amount", BigInteger(), nullable=True),
        Column("record_currency", Text(), nullable=True),
        Column("record_fee", BigInteger(), nullable=True),
        Column("ledger_amount", BigInteger(), nullable=True),
        Column("ledger_currency", Text(), nullable=True),
        Column("ledger_fee", BigInteger(), nullable=True),
        Column(
            "difference",
            BigInteger(),
            nullable=True,
            comment="what is there, less what the ledger says, with fees; minor units",
        ),
        Column("currency", Text(), nullable=True),
        Column("differences", JSONB(), nullable=True, comment="the same in every currency: what adjusting it books"),
        Column("due_at", DateTime(timezone=True), nullable=True),
        Column("fix", Text(), nullable=True),
        Column("fix_asked_at", DateTime(timezone=True), nullable=True),
        Column("fix_note", Text(), nullable=True),
        Column("status", Text(), nullable=False),
        Column("first_run_id", Text(), nullable=False),
        Column("last_run_id", Text(), nullable=False),
        Column("resolution", Text(), nullable=True),
        Column("note", Text(), nullable=True),
        Column("resolved_by", Text(), nullable=True),
        Column("resolved_at", DateTime(timezone=True), nullable=True),
        Column("ledger_transaction_id", Text(), nullable=True),
        Column("seq", BigInteger(), server_default=text("nextval('history_seq')"), nullable=False),
        Column("opened_at", DateTime(timezone=True), nullable=False),
        Column("created_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        Column("updated_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        CheckConstraint(
            "(status = 'OPEN') = (resolved_at IS NULL) AND (status = 'OPEN') = (resolved_by IS NULL)",
            name=op.f("ck_discrepancy_resolved"),
        ),
        CheckConstraint(
            "class IN ('missing_at_psp', 'missing_here', 'amount', 'currency', 'fee', 'duplicate', 'timing', 'status')",
            name=op.f("ck_discrepancy_class"),
        ),
        CheckConstraint(
            "fix IN ('advance_payment', 'advance_refund', 'advance_dispute', 'advance_payout', 'book_fee',"
            " 'book_bank_payout')",
            name=op.f("ck_discrepancy_fix"),
        ),
        CheckConstraint("how IN ('reference', 'psp_id', 'guess')", name=op.f("ck_discrepancy_how")),
        CheckConstraint("status IN ('OPEN', 'FIXED', 'RESOLVED')", name=op.f("ck_discrepancy_status")),
        CheckConstraint("subject IN ('psp', 'bank')", name=op.f("ck_discrepancy_subject")),
        ForeignKeyConstraint(["first_run_id"], ["reconciliation_run.id"], name=op.f("fk_discrepancy_first_run_id")),
        ForeignKeyConstraint(["last_run_id"], ["reconciliation_run.id"], name=op.f("fk_discrepancy_last_run_id")),
        ForeignKeyConstraint(
            ["ledger_transaction_id"], ["ledger_transaction.id"], name=op.f("fk_discrepancy_ledger_transaction_id")
        ),
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_discrepancy_tenant_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_discrepancy")),
    )
    op.create_index(
        "ix_discrepancy_due", "discrepancy", ["due_at"], unique=False, postgresql_where=text("status = 'OPEN'")
    )
    op.create_index("ix_discrepancy_fingerprint", "discrepancy", ["psp", "subject", "fingerprint"], unique=False)
    op.create_index(
        "ix_discrepancy_corrected",
        "discrepancy",
        ["psp", "subject", "fingerprint"],
        unique=False,
        postgresql_where=text("status = 'RESOLVED' AND ledger_transaction_id IS NOT NULL"),
    )
    op.create_index("ix_discrepancy_last_run", "discrepancy", ["last_run_id", "id"], unique=False)
    op.create_index(
        "ix_discrepancy_line",
        "discrepancy",
        ["line_reference"],
        unique=False,
        postgresql_where=text("line_reference IS NOT NULL"),
    )
    op.create_index(
        "ix_discrepancy_object",
        "discrepancy",
        ["object_id"],
        unique=False,
        postgresql_where=text("object_id IS NOT NULL"),
    )
    op.create_index(
        "ix_discrepancy_payment",
        "discrepancy",
        ["payment_id"],
        unique=False,
        postgresql_where=text("payment_id IS NOT NULL"),
    )
    op.create_index("ix_discrepancy_tenant", "discrepancy", ["tenant_id", "seq"], unique=False)
    op.create_index(
        "uq_discrepancy_open",
        "discrepancy",
        ["psp", "subject", "fingerprint"],
        unique=True,
        postgresql_where=text("status = 'OPEN'"),
    )
    op.create_table(
        "reconciliation_item",
        Column("seq", BigInteger(), Identity(always=True), nullable=False),
        Column("run_id", Text(), nullable=False),
        Column("tenant_id", Text(), nullable=False),
        Column("line_no", BigInteger(), nullable=True, comment="null: a record that has no line"),
        Column("line_reference", Text(), nullable=True),
        Column("class", Text(), nullable=False),
        Column("kind", Text(), nullable=False),
        Column("how", Text(), nullable=True),
        Column("object_id", Text(), nullable=True),
        Column("payment_id", Text(), nullable=True),
        Column("record_status", Text(), nullable=True),
        Column("there_amount", BigInteger(), nullable=True),
        Column("there_currency", Text(), nullable=True),
        Column("there_fee", BigInteger(), nullable=True),
        Column("record_amount", BigInteger(), nullable=True),
        Column("record_currency", Text(), nullable=True),
        Column("record_fee", BigInteger(), nullable=True),
        Column("ledger_amount", BigInteger(), nullable=True),
        Column("ledger_currency", Text(), nullable=True),
        Column("ledger_fee", BigInteger(), nullable=True),
        Column("occurred_at", DateTime(timezone=True), nullable=True),
        Column("reason", Text(), nullable=False),
        Column("due_at", DateTime(timezone=True), nullable=True),
        Column("discrepancy_id", Text(), nullable=True),
        CheckConstraint(
            "class IN ('matched', 'missing_at_psp', 'missing_here', 'amount', 'currency', 'fee', 'duplicate', 'timing',"
            " 'status', 'unrelated')",
            name=op.f("ck_reconciliation_item_class"),
        ),
        CheckConstraint("how IN ('reference', 'psp_id', 'guess')", name=op.f("ck_reconciliation_item_how")),
        ForeignKeyConstraint(
            ["discrepancy_id"], ["discrepancy.id"], name=op.f("fk_reconciliation_item_discrepancy_id")
        ),
        ForeignKeyConstraint(["run_id"], ["reconciliation_run.id"], name=op.f("fk_reconciliation_item_run_id")),
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_reconciliation_item_tenant_id")),
        PrimaryKeyConstraint("seq", name=op.f("pk_reconciliation_item")),
    )
    op.create_index(
        op.f("ix_reconciliation_item_discrepancy_id"), "reconciliation_item", ["discrepancy_id"], unique=False
    )
    op.create_index(
        "ix_reconciliation_item_matched",
        "reconciliation_item",
        ["object_id"],
        unique=False,
        postgresql_where=text("class = 'matched'"),
    )
    op.create_index("ix_reconciliation_item_line", "reconciliation_item", ["run_id", "line_no"], unique=False)
    op.create_index("ix_reconciliation_item_run", "reconciliation_item", ["run_id", "seq"], unique=False)
    op.create_index(
        "ix_charge_unbooked",
        "charge",
        ["last_answer_at"],
        unique=False,
        postgresql_where=text("outcome = 'SUCCEEDED' AND NOT booked"),
    )
    op.create_index("ix_ledger_transaction_at", "ledger_transaction", ["at"], unique=False, postgresql_using="brin")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {', '.join(NEW_TABLES)} TO paysaga_app")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO paysaga_app")
    op.execute(f"REVOKE UPDATE ON {', '.join(APPEND_ONLY)} FROM paysaga_app")
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    # What was fixed or resolved stays so; found again, it is a new one.
    op.execute(
        "CREATE TRIGGER terminal BEFORE UPDATE OF status ON discrepancy FOR EACH ROW"
        " WHEN (OLD.status <> 'OPEN' AND NEW.status <> OLD.status)"
        " EXECUTE FUNCTION status_stays_terminal()"
    )
    op.execute(
        "CREATE TRIGGER terminal BEFORE UPDATE OF status ON reconciliation_run FOR EACH ROW"
        " WHEN (OLD.status IN ('COMPLETED', 'FAILED') AND NEW.status <> OLD.status)"
        " EXECUTE FUNCTION status_stays_terminal()"
    )


def downgrade() -> None:
    op.drop_index("ix_ledger_transaction_at", table_name="ledger_transaction")
    op.drop_index("ix_charge_unbooked", table_name="charge")
    for table in NEW_TABLES:
        op.drop_table(table)
