"""How many payouts of a run are on their way to the PSP is asked for each few that it makes."""

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


def downgrade() -> None:
    op.drop_index("ix_payout_unsent", table_name="payout")
