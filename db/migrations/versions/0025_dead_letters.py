"""Dead letters are listed and ended in one place: when one ended, which replay took it, and the events of PSPs that had
been given up before."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

GIVEN_UP = """
INSERT INTO dead_letter (id, tenant_id, source, ref_id, object_id, error_class, error, attempts, first_at, last_at)
SELECT 'dl_' || substr(id, 5), tenant_id, 'webhooks', id, coalesce(payment_id, payout_id), 'unused',
    'nobody could use it', attempts, received_at, received_at
FROM webhook_inbox WHERE status = 'DEAD'
ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    op.add_column("dead_letter", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("dead_letter", sa.Column("replay_id", sa.Text(), nullable=True))
    op.execute("UPDATE dead_letter SET ended_at = last_at WHERE status <> 'OPEN'")
    op.create_index(
        "ix_dead_letter_ended", "dead_letter", ["source", "ref_id"], postgresql_where=sa.text("status <> 'OPEN'")
    )
    op.create_index("ix_dead_letter_listed", "dead_letter", ["tenant_id", "id"])
    op.create_index(
        "ix_dead_letter_replay", "dead_letter", ["replay_id"], postgresql_where=sa.text("replay_id IS NOT NULL")
    )
    op.execute(GIVEN_UP)


def downgrade() -> None:
    op.drop_index("ix_dead_letter_replay", "dead_letter")
    op.drop_index("ix_dead_letter_listed", "dead_letter")
    op.drop_index("ix_dead_letter_ended", "dead_letter")
    op.drop_column("dead_letter", "replay_id")
    op.drop_column("dead_letter", "ended_at")
