"""Settlement files and bank statements: whether a chunk is encrypted. Those that are here are in clear until keys are
rotated, so the bytes of a chunk may be replaced from now on; the file's digest is in the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "settlement_file_chunk",
        sa.Column(
            "encrypted",
            sa.Boolean(),
            nullable=False,
            server_default=sa.text("false"),
            comment="bound to {file_id}:{no}; false: kept in clear, before files were encrypted",
        ),
    )
    op.execute("DROP TRIGGER append_only_rows ON settlement_file_chunk")
    _append_only("UPDATE OF file_id, no OR DELETE")
    op.execute("GRANT UPDATE (data, encrypted) ON settlement_file_chunk TO paysaga_app")


def _append_only(changes: str) -> None:
    op.execute(
        f"CREATE TRIGGER append_only_rows BEFORE {changes} ON settlement_file_chunk"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Forget which chunks are encrypted: runs over their files fail until the file is uploaded again."""
    op.execute("REVOKE UPDATE (data, encrypted) ON settlement_file_chunk FROM paysaga_app")
    op.execute("DROP TRIGGER append_only_rows ON settlement_file_chunk")
    _append_only("UPDATE OR DELETE")
    op.drop_column("settlement_file_chunk", "encrypted")
