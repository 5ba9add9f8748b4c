"""Indexes for lists of payments, refunds and merchants by time, and for a refund by its reference at the PSP."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("payment", "refund", "merchant"):
        op.create_index(f"ix_{table}_created", table, ["tenant_id", "created_at", "id"], unique=False)
    op.create_index("ix_payment_checkout", "payment", ["tenant_id", "checkout_id"], unique=False)
    op.create_index("ix_charge_reference", "charge", ["reference"], unique=False)
    op.create_index("ix_refund_reference", "refund", ["reference"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_refund_reference", table_name="refund")
    op.drop_index("ix_charge_reference", table_name="charge")
    op.drop_index("ix_payment_checkout", table_name="payment")
    for table in ("merchant", "refund", "payment"):
        op.drop_index(f"ix_{table}_created", table_name=table)
