"""People who log in: operators, their sessions, and how often somebody has tried."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NEW_TABLES = ("operator", "operator_session", "login_throttle")


def _moment(
    name: str, *, nullable: bool = True, default: bool = False, comment: str | None = None
) -> sa.Column[datetime]:
    now = sa.text("now()") if default else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=now, comment=comment)


def upgrade() -> None:
    op.create_table(
        "operator",
        sa.Column("name", sa.Text(), nullable=False, comment="what is typed to log in, and what the audit log names"),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="scrypt$n$r$p$salt$hash"),
        _moment("password_ends_at", comment="of a one-time password; null: one of the person's own"),
        sa.Column("totp_secret", sa.LargeBinary(), comment="encrypted, bound to operator:{name}:totp"),
        sa.Column("totp_counter", sa.BigInteger(), comment="the last time step of which a code was used"),
        sa.Column(
            "recovery_codes",
            postgresql.ARRAY(sa.LargeBinary()),
            nullable=False,
            server_default="{}",
            comment="SHA-256 of those left",
        ),
        _moment("created_at", nullable=False, default=True),
        _moment("enrolled_at", comment="own password and second factor; null: not yet, or reset"),
        _moment("last_login_at"),
        _moment("disabled_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_operator_tenant_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_operator")),
    )
    op.create_table(
        "operator_session",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("operator_name", sa.Text(), nullable=False),
        sa.Column("enrolling", sa.Boolean(), nullable=False, comment="good for the enrolment and for nothing else"),
        sa.Column("address", sa.Text(), nullable=False, comment="that the login came from, and may come from again"),
        _moment("created_at", nullable=False, default=True),
        _moment("last_used_at", nullable=False, default=True),
        _moment("expires_at", nullable=False),
        _moment("ended_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_operator_session_tenant_id")),
        sa.ForeignKeyConstraint(["operator_name"], ["operator.name"], name=op.f("fk_operator_session_operator_name")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_operator_session")),
    )
    op.create_index("ix_operator_session_operator", "operator_session", ["operator_name", "address"], unique=False)
    op.create_table(
        "login_throttle",
        sa.Column("kind", sa.Text(), nullable=False, comment="address or name"),
        sa.Column(
            "bucket", sa.Integer(), nullable=False, comment="of a keyed hash of it: as many rows as buckets, at most"
        ),
        sa.Column("tries", sa.Integer(), nullable=False),
        _moment("tried_at", nullable=False, default=True),
        _moment("open_at", nullable=False, default=True),
        sa.PrimaryKeyConstraint("kind", "bucket", name=op.f("pk_login_throttle")),
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {', '.join(NEW_TABLES)} TO paysaga_app")


def downgrade() -> None:
    for table in reversed(NEW_TABLES):
        op.drop_table(table)
