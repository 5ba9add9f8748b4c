"""The return URL and the statement's words that a payment is charged with, the sites of a tenant, who accepted another
amount, and indexes for disputes and payouts by their references at the PSP."""

from alembic import op
from sqlalchemy import Column, DateTime, Text
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenant",
        Column(
            "return_origins",
            ARRAY(Text()),
            nullable=False,
            server_default="{}",
            comment="scheme, host and port of the sites that its buyers may be sent back to",
        ),
    )
    # Null in the rows of before: under their keys the setting was sent, and is until the keys end.
    op.add_column(
        "payment",
        Column(
            "return_url", Text(), comment="as it is sent to the PSP; empty: none; null: the setting, not kept yet then"
        ),
    )
    op.add_column(
        "payment",
        Column("statement_descriptor", Text(), comment="as it is sent to the PSP; empty and null as of return_url"),
    )
    op.add_column("payment", Column("accepted_at", DateTime(timezone=True)))
    op.add_column(
        "payment",
        Column("accepted_by", Text(), comment="the person who accepted that the PSP took less than was asked for"),
    )
    op.create_index("ix_dispute_reference", "dispute", ["reference"], unique=False)
    op.create_index("ix_payout_reference", "payout", ["reference"], unique=False)
    op.create_index("ix_payout_transfer_reference", "payout", ["transfer_reference"], unique=False)
    op.create_index("ix_payout_call_reference", "payout_call", ["reference"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_payout_call_reference", table_name="payout_call")
    op.drop_index("ix_payout_transfer_reference", table_name="payout")
    op.drop_index("ix_payout_reference", table_name="payout")
    op.drop_index("ix_dispute_reference", table_name="dispute")
    for column in ("accepted_by", "accepted_at", "statement_descriptor", "return_url"):
        op.drop_column("payment", column)
    op.drop_column("tenant", "return_origins")
