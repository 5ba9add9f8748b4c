"""An index for the payouts of a run that are on their way to the PSP; and its payouts are
listed, newest first."""

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_payout_unsent",
        "payout",
        ["run_id"],
        unique=False,
        postgresql_where=text("status IN ('REQUESTED', 'TRANSFERRED')"),
    )
    op.create_index("ix_payout_run", "payout", ["run_id", "seq"], unique=False)
    op.drop_index("ix_payout_run_id", table_name="payout")


def downgrade() -> None:
    op.create_index("ix_payout_run_id", "payout", ["run_id"], unique=False)
    op.drop_index("ix_payout_run", table_name="payout")
    op.drop_index("ix_payout_unsent", table_name="payout")
