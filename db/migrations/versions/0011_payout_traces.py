"""The banks' own references of payouts, as the PSP tells them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payout_trace",
        sa.Column("psp", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False, comment="the PSP's payout"),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("psp", "reference", "trace_id", name=op.f("pk_payout_trace")),
    )
    op.execute("GRANT SELECT, INSERT ON payout_trace TO paysaga_app")
    op.execute(
        "CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON payout_trace"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER append_only_table BEFORE TRUNCATE ON payout_trace"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.drop_table("payout_trace")
