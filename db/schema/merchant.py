"""Tables of merchants and their wallets."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from db.schema.base import _amount, _created, _flag, _id, _tenant, _text, _words, metadata
from domain.payout import DELAY_DAYS_MAX, Interval
from domain.status import MerchantStatus

merchant = Table(
    "merchant",
    metadata,
    _id(),
    _tenant(),
    _text("seller_account"),
    _text("name", required=False),
    Column("status", Text, nullable=False, server_default="ACTIVE"),
    Column("fee_percent", Numeric(7, 4), nullable=False, server_default="0"),
    Column("fee_fixed", Numeric(14, 4), nullable=False, server_default="0"),
    Column("psp_fee_payer", Text, nullable=False, server_default="platform"),
    Column("dispute_fee_payer", Text, nullable=False, server_default="platform"),
    Column("platform_fee_on_refund", Text, nullable=False, server_default="returned"),
    _flag("allow_negative_balance"),
    _text("country", required=False),
    Column("payout_account", Text, comment="the PSP's name of the seller's account there"),
    Column("payout_interval", Text, nullable=False, server_default=Interval.MANUAL.value),
    Column("payout_weekdays", ARRAY(Integer), nullable=False, server_default="{}", comment="0 is Monday"),
    Column("payout_monthdays", ARRAY(Integer), nullable=False, server_default="{}"),
    Column("payout_minimum", JSONB, nullable=False, server_default="{}", comment="currency → minor units"),
    Column("payout_delay_days", Integer, nullable=False, server_default="0"),
    _created(),
    _created("updated_at"),
    UniqueConstraint("tenant_id", "seller_account"),
    Index("ix_merchant_created", "tenant_id", "created_at", "id"),
    CheckConstraint(f"status IN ({_words(MerchantStatus)})", name="status"),
    CheckConstraint("fee_percent BETWEEN 0 AND 100 AND fee_fixed >= 0", name="fee"),
    CheckConstraint("psp_fee_payer IN ('platform', 'seller')", name="psp_fee_payer"),
    CheckConstraint("dispute_fee_payer IN ('platform', 'seller')", name="dispute_fee_payer"),
    CheckConstraint("platform_fee_on_refund IN ('returned', 'kept')", name="platform_fee_on_refund"),
    CheckConstraint(f"payout_interval IN ({_words(Interval)})", name="payout_interval"),
    CheckConstraint(f"payout_delay_days BETWEEN 0 AND {DELAY_DAYS_MAX}", name="payout_delay_days"),
)

wallet = Table(
    "wallet",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("seller_account", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("pending", BigInteger, nullable=False, server_default="0"),
    Column("available", BigInteger, nullable=False, server_default="0"),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    _amount("receivable", comment="what the seller owes us"),
    Column(
        "payable_from",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="no posting to available below this is left to be paid out",
    ),
    _created("updated_at"),
    ForeignKeyConstraint(["tenant_id", "seller_account"], ["merchant.tenant_id", "merchant.seller_account"]),
    Index(
        "ix_wallet_available",
        "tenant_id",
        "seller_account",
        "currency",
        postgresql_where=text("available > 0"),
    ),
)
