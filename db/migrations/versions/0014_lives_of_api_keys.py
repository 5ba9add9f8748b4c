"""API keys: the visible beginning of the secret, an end, and when a key was used last."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "the first characters of the secret, by which people tell keys apart"
    op.add_column("api_key", sa.Column("prefix", sa.Text(), nullable=True, comment=comment))
    op.add_column("api_key", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_key", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for column in ("last_used_at", "expires_at", "prefix"):
        op.drop_column("api_key", column)
