"""Indexes for a tenant's pages of the ledger, so that one with few transactions among many is not looked for in all of
them; and for the transactions of an order."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_ledger_transaction_tenant", "ledger_transaction", ["tenant_id", "seq"], unique=False)
    op.create_index("ix_ledger_transaction_order_id", "ledger_transaction", ["order_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_ledger_transaction_order_id", table_name="ledger_transaction")
    op.drop_index("ix_ledger_transaction_tenant", table_name="ledger_transaction")
