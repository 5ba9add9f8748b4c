"""Money out: payouts with what they pay, the release of what is pending, the seal of the ledger."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
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

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NEW_TABLES = (
    "payout_transition", "payout_item", "payout_call", "payout", "ledger_seal_row", "payout_run", "ledger_seal",
)  # fmt: skip
APPEND_ONLY = ("payout_transition", "ledger_seal", "ledger_seal_row")

CHECKS = {
    "payout_interval": "payout_interval IN ('manual', 'daily', 'weekly', 'monthly')",
    "payout_delay_days": "payout_delay_days BETWEEN 0 AND 365",
}

# What was credited before this release: nobody wrote down when the PSP lets it go, so the longest usual time holds.
FILL_AVAILABLE = """
UPDATE payment_order SET available_at = updated_at + interval '7 days' WHERE captured_amount > 0
"""

WITHIN = """
CREATE FUNCTION payout_item_within() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    -- What the seller has by the posting: a credit is negative in the books.
    SELECT c.posting_seq, i.parts, w.whole INTO wrong
    FROM (SELECT DISTINCT tenant_id, posting_seq FROM changed) AS c
    LEFT JOIN LATERAL (
        SELECT -amount AS whole FROM ledger_posting
        WHERE seq = c.posting_seq AND tenant_id = c.tenant_id AND account LIKE 'wallet:%\\:available'
    ) AS w ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount), 0) AS parts FROM payout_item WHERE posting_seq = c.posting_seq AND NOT released
    ) AS i
    WHERE w.whole IS NULL OR i.parts NOT BETWEEN least(w.whole, 0) AND greatest(w.whole, 0)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'payouts take % of posting %, which is %', wrong.parts, wrong.posting_seq, wrong.whole
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_index(
        "ix_wallet_available",
        "wallet",
        ["tenant_id", "seller_account", "currency"],
        unique=False,
        postgresql_where=text("available > 0"),
    )
    op.create_table(
        "ledger_seal",
        Column("no", BigInteger(), autoincrement=False, nullable=False),
        Column("transactions", Integer(), nullable=False),
        Column("previous", LargeBinary(), nullable=False),
        Column("hash", LargeBinary(), nullable=False),
        Column("at", DateTime(timezone=True), nullable=False),
        PrimaryKeyConstraint("no", name=op.f("pk_ledger_seal")),
    )
    op.create_table(
        "payout_run",
        Column("id", Text(), nullable=False),
        Column("business_date", Date(), nullable=False),
        Column("actor", Text(), nullable=False),
        Column("payouts", Integer(), server_default="0", nullable=False),
        Column("started_at", DateTime(timezone=True), nullable=False),
        Column("ended_at", DateTime(timezone=True), nullable=True),
        PrimaryKeyConstraint("id", name=op.f("pk_payout_run")),
        UniqueConstraint("business_date", name=op.f("uq_payout_run_business_date")),
    )
    op.create_table(
        "ledger_seal_row",
        Column("transaction_id", Text(), nullable=False),
        Column("seal_no", BigInteger(), nullable=False),
        Column("seq", BigInteger(), nullable=False),
        Column(
            "digests",
            LargeBinary(),
            nullable=False,
            comment="of the transaction and each posting: says which was changed",
        ),
        ForeignKeyConstraint(["seal_no"], ["ledger_seal.no"], name=op.f("fk_ledger_seal_row_seal_no")),
        PrimaryKeyConstraint("transaction_id", name=op.f("pk_ledger_seal_row")),
    )
    op.create_index("ix_ledger_seal_row_seal", "ledger_seal_row", ["seal_no", "seq"], unique=False)
    op.create_table(
        "payout",
        Column("id", Text(), nullable=False),
        Column("tenant_id", Text(), nullable=False),
        Column("seller_account", Text(), nullable=False),
        Column("amount", BigInteger(), nullable=False),
        Column("currency", Text(), nullable=False),
        Column("psp", Text(), nullable=False),
        Column("destination", Text(), nullable=False, comment="the seller's account at the PSP"),
        Column("run_id", Text(), nullable=True),
        Column("business_date", Date(), nullable=True),
        Column("status", Text(), nullable=False),
        Column("ends_as", Text(), nullable=True),
        Column("transfer_reference", Text(), nullable=True),
        Column("reference", Text(), nullable=True),
        Column("arrival_at", DateTime(timezone=True), nullable=True),
        Column("failure", JSONB(none_as_null=True), nullable=True),
        Column("cancel_requested_at", DateTime(timezone=True), nullable=True),
        Column("cancel_requested_by", Text(), nullable=True),
        Column("cancel_failure", JSONB(none_as_null=True), nullable=True),
        Column("unknown_count", Integer(), server_default="0", nullable=False),
        Column("next_check_at", DateTime(timezone=True), nullable=True),
        Column("actor", Text(), nullable=False),
        Column("seq", BigInteger(), server_default=text("nextval('history_seq')"), nullable=False),
        Column("created_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        Column("updated_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        CheckConstraint(
            "status IN ('REQUESTED', 'TRANSFERRED', 'IN_TRANSIT', 'PAID', 'RETURNING', 'NEEDS_ATTENTION', 'FAILED',"
            " 'CANCELLED', 'RETURNED')",
            name=op.f("ck_payout_status"),
        ),
        CheckConstraint("(business_date IS NULL) = (run_id IS NULL)", name=op.f("ck_payout_run")),
        CheckConstraint("amount > 0", name=op.f("ck_payout_amount")),
        ForeignKeyConstraint(["run_id"], ["payout_run.id"], name=op.f("fk_payout_run_id")),
        ForeignKeyConstraint(
            ["tenant_id", "seller_account"],
            ["merchant.tenant_id", "merchant.seller_account"],
            name=op.f("fk_payout_tenant_id_seller_account"),
        ),
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payout_tenant_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_payout")),
        UniqueConstraint("psp", "reference", name=op.f("uq_payout_psp_reference")),
        UniqueConstraint("psp", "transfer_reference", name=op.f("uq_payout_psp_transfer_reference")),
    )
    op.create_index(
        "ix_payout_open",
        "payout",
        ["next_check_at"],
        unique=False,
        postgresql_where=text("status NOT IN ('CANCELLED', 'FAILED', 'PAID', 'RETURNED')"),
    )
    op.create_index(
        "ix_payout_return",
        "payout",
        ["next_check_at"],
        unique=False,
        postgresql_where=text("status = 'PAID' AND next_check_at IS NOT NULL"),
    )
    op.create_index(op.f("ix_payout_run_id"), "payout", ["run_id"], unique=False)
    op.create_index("ix_payout_seller", "payout", ["tenant_id", "seller_account", "seq"], unique=False)
    op.create_index(
        "uq_payout_business_date",
        "payout",
        ["tenant_id", "seller_account", "currency", "business_date"],
        unique=True,
        postgresql_where=text("business_date IS NOT NULL AND status <> 'FAILED'"),
    )
    op.create_table(
        "payout_call",
        Column("key", Text(), nullable=False),
        Column("tenant_id", Text(), nullable=False),
        Column("payout_id", Text(), nullable=False),
        Column("call", Text(), nullable=False),
        Column("attempt", Integer(), nullable=False),
        Column("send_until", DateTime(timezone=True), nullable=False),
        Column("sent_at", DateTime(timezone=True), nullable=True),
        Column("outcome", Text(), nullable=True),
        Column("reference", Text(), nullable=True),
        Column("failure", JSONB(none_as_null=True), nullable=True),
        Column("created_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        CheckConstraint("call IN ('transfer', 'payout', 'reversal')", name=op.f("ck_payout_call_call")),
        ForeignKeyConstraint(["payout_id"], ["payout.id"], name=op.f("fk_payout_call_payout_id")),
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payout_call_tenant_id")),
        PrimaryKeyConstraint("key", name=op.f("pk_payout_call")),
        UniqueConstraint("payout_id", "call", "attempt", name=op.f("uq_payout_call_payout_id_call_attempt")),
    )
    op.create_table(
        "payout_item",
        Column("tenant_id", Text(), nullable=False),
        Column("payout_id", Text(), nullable=False),
        Column("posting_seq", BigInteger(), nullable=False),
        Column("amount", BigInteger(), nullable=False),
        Column("released", Boolean(), server_default=text("false"), nullable=False),
        CheckConstraint("amount <> 0", name=op.f("ck_payout_item_amount")),
        ForeignKeyConstraint(["payout_id"], ["payout.id"], name=op.f("fk_payout_item_payout_id")),
        ForeignKeyConstraint(["posting_seq"], ["ledger_posting.seq"], name=op.f("fk_payout_item_posting_seq")),
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payout_item_tenant_id")),
        PrimaryKeyConstraint("payout_id", "posting_seq", name=op.f("pk_payout_item")),
    )
    op.create_index(
        "ix_payout_item_live", "payout_item", ["posting_seq"], unique=False, postgresql_where=text("NOT released")
    )
    op.create_table(
        "payout_transition",
        Column("seq", BigInteger(), Identity(always=True), nullable=False),
        Column("tenant_id", Text(), nullable=False),
        Column("payout_id", Text(), nullable=False),
        Column("from_status", Text(), nullable=True),
        Column("to_status", Text(), nullable=False),
        Column("reason", Text(), nullable=False),
        Column("at", DateTime(timezone=True), nullable=False),
        ForeignKeyConstraint(["payout_id"], ["payout.id"], name=op.f("fk_payout_transition_payout_id")),
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payout_transition_tenant_id")),
        PrimaryKeyConstraint("seq", name=op.f("pk_payout_transition")),
    )
    op.create_index(op.f("ix_payout_transition_payout_id"), "payout_transition", ["payout_id"], unique=False)
    op.add_column(
        "merchant",
        Column("payout_account", Text(), nullable=True, comment="the PSP's name of the seller's account there"),
    )
    op.add_column("merchant", Column("payout_interval", Text(), server_default="manual", nullable=False))
    op.add_column(
        "merchant",
        Column("payout_weekdays", ARRAY(Integer()), server_default="{}", nullable=False, comment="0 is Monday"),
    )
    op.add_column("merchant", Column("payout_monthdays", ARRAY(Integer()), server_default="{}", nullable=False))
    op.add_column(
        "merchant",
        Column("payout_minimum", JSONB(), server_default="{}", nullable=False, comment="currency → minor units"),
    )
    op.add_column("merchant", Column("payout_delay_days", Integer(), server_default="0", nullable=False))
    op.add_column(
        "operator_task",
        Column(
            "object_id",
            Text(),
            nullable=True,
            comment="what it is about, where that is no payment: a payout, a discrepancy",
        ),
    )
    op.create_index(
        "uq_operator_task_object",
        "operator_task",
        ["object_id", "kind"],
        unique=True,
        postgresql_where=text("closed_at IS NULL"),
    )
    op.add_column(
        "payment_order",
        Column(
            "available_at",
            DateTime(timezone=True),
            nullable=True,
            comment="when what is pending of it becomes available",
        ),
    )
    op.add_column("payment_order", Column("released_at", DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_payment_order_pending",
        "payment_order",
        ["available_at"],
        unique=False,
        postgresql_where=text("pending_amount > 0 AND status = 'SUCCESS'"),
    )
    op.add_column(
        "wallet",
        Column(
            "payable_from",
            BigInteger(),
            server_default="0",
            nullable=False,
            comment="no posting to available below this is left to be paid out",
        ),
    )
    op.add_column("webhook_inbox", Column("payout_id", Text(), nullable=True))
    op.create_index(
        "ix_webhook_inbox_payout", "webhook_inbox", ["payout_id"], postgresql_where=text("status = 'RECEIVED'")
    )
    op.create_foreign_key(op.f("fk_webhook_inbox_payout_id"), "webhook_inbox", "payout", ["payout_id"], ["id"])
    op.execute(FILL_AVAILABLE)
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_merchant_{name}"), "merchant", condition)
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
    op.execute(WITHIN)
    for change in ("INSERT", "UPDATE"):
        op.execute(
            f"CREATE TRIGGER within_{change.lower()} AFTER {change} ON payout_item REFERENCING NEW TABLE AS changed"
            " FOR EACH STATEMENT EXECUTE FUNCTION payout_item_within()"
        )
    op.execute(
        "CREATE TRIGGER terminal BEFORE UPDATE OF status ON payout FOR EACH ROW"
        " WHEN (OLD.status IN ('FAILED', 'CANCELLED', 'RETURNED') AND NEW.status <> OLD.status)"
        " EXECUTE FUNCTION status_stays_terminal()"
    )
    op.execute(
        "CREATE TRIGGER fixed BEFORE UPDATE ON payout FOR EACH ROW WHEN (OLD.amount <> NEW.amount"
        " OR OLD.currency <> NEW.currency OR OLD.tenant_id <> NEW.tenant_id) EXECUTE FUNCTION amount_stays()"
    )


def downgrade() -> None:
    op.drop_constraint("fk_webhook_inbox_payout_id", "webhook_inbox")
    op.drop_index("ix_webhook_inbox_payout", table_name="webhook_inbox")
    op.drop_column("webhook_inbox", "payout_id")
    op.drop_column("wallet", "payable_from")
    op.drop_index("ix_wallet_available", table_name="wallet")
    op.drop_index("ix_payment_order_pending", table_name="payment_order")
    op.drop_index("uq_operator_task_object", table_name="operator_task")
    op.drop_column("operator_task", "object_id")
    for column in ("released_at", "available_at"):
        op.drop_column("payment_order", column)
    for name in CHECKS:
        op.drop_constraint(f"ck_merchant_{name}", "merchant")
    for column in (
        "payout_delay_days", "payout_minimum", "payout_monthdays", "payout_weekdays", "payout_interval",
        "payout_account",
    ):  # fmt: skip
        op.drop_column("merchant", column)
    for table in NEW_TABLES:
        op.drop_table(table)
    op.execute("DROP FUNCTION payout_item_within()")
