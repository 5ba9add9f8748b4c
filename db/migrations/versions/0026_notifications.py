"""Notifications to buyers, sellers and operators; the telephone number of a buyer."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_TABLES = ("suppression", "notification_contact", "notification_setting", "notification")


def upgrade() -> None:
    op.add_column("payment", sa.Column("buyer_phone", sa.LargeBinary(), nullable=True, comment="encrypted"))
    _notification()
    _setting()
    _contact()
    _suppression()
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {', '.join(_TABLES)} TO paysaga_app")
    op.execute("GRANT DELETE ON notification_setting TO paysaga_app")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _created() -> sa.Column[object]:
    return sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def _belongs(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f(f"fk_{table}_tenant_id"))


def _channel(table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint("channel IN ('email', 'sms', 'whatsapp')", name=op.f(f"ck_{table}_channel"))


def _notification() -> None:
    op.create_table(
        "notification",
        _text("id"),
        _text("tenant_id"),
        _text("event_id"),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="of the event in the outbox"),
        _text("type"),
        _text("object_id"),
        sa.Column(
            "recipient", sa.Text(), nullable=False, comment="a payment (its buyer), seller:NAME or operator; no address"
        ),
        _text("channel"),
        _text("template"),
        _text("locale"),
        _text("content_sid", nullable=True),
        sa.Column("status", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        _moment("next_attempt_at", nullable=False),
        _moment("claimed_until"),
        _moment("begun_at"),
        _text("code", nullable=True),
        _text("provider_id", nullable=True),
        _text("suppression_id", nullable=True),
        _created(),
        _moment("ended_at"),
        sa.CheckConstraint(
            "status IN ('PENDING', 'SENT', 'FAILED', 'UNKNOWN', 'SUPPRESSED')", name=op.f("ck_notification_status")
        ),
        _channel("notification"),
        _belongs("notification"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint(
            "event_id",
            "recipient",
            "channel",
            "template",
            name=op.f("uq_notification_event_id_recipient_channel_template"),
        ),
    )
    pending = sa.text("status = 'PENDING'")
    op.create_index("ix_notification_due", "notification", ["next_attempt_at", "seq"], postgresql_where=pending)
    op.create_index("ix_notification_listed", "notification", ["tenant_id", "id"])
    op.create_index("ix_notification_object", "notification", ["tenant_id", "object_id"])


def _setting() -> None:
    op.create_table(
        "notification_setting",
        _text("tenant_id"),
        _text("type"),
        _text("channel"),
        _text("audience"),
        _text("template"),
        _text("locale"),
        _text("content_sid", nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _channel("notification_setting"),
        sa.CheckConstraint(
            "audience IN ('buyer', 'seller', 'operator')", name=op.f("ck_notification_setting_audience")
        ),
        _belongs("notification_setting"),
        sa.PrimaryKeyConstraint("tenant_id", "type", "channel", name=op.f("pk_notification_setting")),
    )


def _contact() -> None:
    nothing = sa.text("''")
    op.create_table(
        "notification_contact",
        _text("id"),
        _text("tenant_id"),
        sa.Column("recipient", sa.Text(), nullable=False, comment="seller:NAME or operator"),
        sa.Column("email", sa.LargeBinary(), server_default=nothing, nullable=False, comment="empty: none"),
        sa.Column("phone", sa.LargeBinary(), server_default=nothing, nullable=False, comment="empty: none"),
        _text("locale", nullable=True),
        _belongs("notification_contact"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_contact")),
        sa.UniqueConstraint("tenant_id", "recipient", name=op.f("uq_notification_contact_tenant_id_recipient")),
    )


def _suppression() -> None:
    op.create_table(
        "suppression",
        _text("id"),
        _text("tenant_id"),
        _text("channel"),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="of the address, keyed by the ring"),
        _text("reason"),
        _text("code", nullable=True),
        _created(),
        _moment("lifted_at"),
        sa.CheckConstraint("reason IN ('refused', 'invalid', 'unsubscribed')", name=op.f("ck_suppression_reason")),
        _channel("suppression"),
        _belongs("suppression"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression")),
    )
    op.create_index(
        "uq_suppression_live",
        "suppression",
        ["tenant_id", "channel", "digest"],
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
    op.drop_column("payment", "buyer_phone")
