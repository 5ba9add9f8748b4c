"""API keys: the role whose scopes a key has, and the seller that a merchant's key is bound to."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "its scopes are those of the role; without one they are listed"
    op.add_column("api_key", sa.Column("role", sa.Text(), nullable=True, comment=comment))
    comment = "of a merchant's key: the one seller whose objects it reaches"
    op.add_column("api_key", sa.Column("seller_account", sa.Text(), nullable=True, comment=comment))
    op.create_check_constraint(
        op.f("ck_api_key_seller"), "api_key", "(coalesce(role, '') = 'merchant') = (seller_account IS NOT NULL)"
    )
    op.create_foreign_key(
        op.f("fk_api_key_tenant_id_seller_account"),
        "api_key",
        "merchant",
        ["tenant_id", "seller_account"],
        ["tenant_id", "seller_account"],
    )


def downgrade() -> None:
    op.drop_constraint(op.f("fk_api_key_tenant_id_seller_account"), "api_key")
    op.drop_constraint(op.f("ck_api_key_seller"), "api_key")
    for column in ("seller_account", "role"):
        op.drop_column("api_key", column)
