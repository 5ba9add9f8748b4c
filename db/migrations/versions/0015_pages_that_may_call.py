"""Tenants: the origins whose pages may call with a client token."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenant",
        sa.Column(
            "page_origins",
            sa.ARRAY(sa.Text()),
            nullable=False,
            server_default="{}",
            comment="scheme, host and port of the pages that may call with a client token",
        ),
    )


def downgrade() -> None:
    op.drop_column("tenant", "page_origins")
