"""The reading of a reconciliation's lines: the zone of a file's times, remarks about it, and the
number of lines outside the window."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reconciliation_run", sa.Column("zone", sa.Text(), nullable=True))
    op.add_column(
        "reconciliation_run",
        sa.Column(
            "notes",
            sa.ARRAY(sa.Text()),
            nullable=True,
            comment="what a person should know of how the lines were read",
        ),
    )
    op.add_column(
        "reconciliation_run",
        sa.Column(
            "outside",
            sa.BigInteger(),
            nullable=True,
            comment="lines outside the window, which are judged in another run",
        ),
    )


def downgrade() -> None:
    for column in ("outside", "notes", "zone"):
        op.drop_column("reconciliation_run", column)
