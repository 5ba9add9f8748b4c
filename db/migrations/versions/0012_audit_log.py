"""The audit log says from which address a request came, and is read by tenant and by object."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "audit_log", sa.Column("address", sa.Text(), nullable=True, comment="the client's, of what came over HTTP")
    )
    op.create_index("ix_audit_log_tenant", "audit_log", ["tenant_id", "seq"], unique=False)
    op.create_index("ix_audit_log_object", "audit_log", ["object_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_audit_log_object", table_name="audit_log")
    op.drop_index("ix_audit_log_tenant", table_name="audit_log")
    op.drop_column("audit_log", "address")
