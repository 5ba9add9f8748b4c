"""The time since which an idempotency key is known to be dead, of charges and refunds, and when a refund is asked for
again."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_DEAD = "the PSP repeats an old answer under the key since"


def upgrade() -> None:
    for table in ("charge", "refund"):
        op.add_column(table, sa.Column("dead_since", sa.DateTime(timezone=True), nullable=True, comment=_DEAD))
    op.add_column("refund", sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("refund", "next_check_at")
    for table in ("refund", "charge"):
        op.drop_column(table, "dead_since")
