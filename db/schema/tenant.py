"""Tables of tenants, API keys, idempotency keys, tasks and the audit log."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.schema.base import BY_MONTH, _created, _id, _json, _moment, _tenant, _text, metadata

tenant = Table(
    "tenant",
    metadata,
    _id(),
    _text("name"),
    Column(
        "return_origins",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="scheme, host and port of the sites that its buyers may be sent back to",
    ),
    Column(
        "page_origins",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="scheme, host and port of the pages that may call with a client token",
    ),
    _created(),
)

api_key = Table(
    "api_key",
    metadata,
    _id(),
    _tenant(),
    _text("name"),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("prefix", Text, comment="the first characters of the secret, by which people tell keys apart"),
    Column("role", Text, comment="its scopes are those of the role; without one they are listed"),
    Column("seller_account", Text, comment="of a merchant's key: the one seller whose objects it reaches"),
    _created(),
    _moment("expires_at"),
    _moment("last_used_at"),
    _moment("revoked_at"),
    ForeignKeyConstraint(["tenant_id", "seller_account"], ["merchant.tenant_id", "merchant.seller_account"]),
    CheckConstraint("(coalesce(role, '') = 'merchant') = (seller_account IS NOT NULL)", name="seller"),
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    _text("object_id"),
    _created(),
    Index("ix_idempotency_key_created", "created_at"),
)

operator_task = Table(
    "operator_task",
    metadata,
    _id(),
    _tenant(),
    Column("payment_id", Text, ForeignKey("payment.id"), index=True),
    Column("object_id", Text, comment="what it is about, where that is no payment: a payout, a discrepancy"),
    _text("kind"),
    _text("detail"),
    _created("opened_at"),
    _moment("closed_at"),
    _text("closed_by", required=False),
    _text("resolution", required=False),
    Index("uq_operator_task_open", "payment_id", "kind", unique=True, postgresql_where=text("closed_at IS NULL")),
    Index("uq_operator_task_object", "object_id", "kind", unique=True, postgresql_where=text("closed_at IS NULL")),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    _tenant(),
    _text("actor"),
    _text("action"),
    _text("object_id"),
    _json("detail", required=True),
    _created("at"),
    Column("address", Text, comment="the client's, of what came over HTTP"),
    Index("ix_audit_log_tenant", "tenant_id", "seq"),
    Index("ix_audit_log_object", "object_id"),
    postgresql_partition_by=BY_MONTH,
)
