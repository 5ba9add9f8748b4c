"""Tables of the ledger and its seal."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from db.schema.base import BY_MONTH, _created, _id, _moment, _tenant, _text, metadata

ledger_account = Table(
    "ledger_account",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    _text("kind"),
    _created(),
)

ledger_transaction = Table(
    "ledger_transaction",
    metadata,
    _id(),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    _tenant(checked=False),
    _text("kind"),
    _text("source_id"),
    _text("payment_id", required=False),
    _text("order_id", required=False),
    Column("corrects", Text, ForeignKey("ledger_transaction.id")),
    _moment("at", required=True),
    # Postings are accepted from the database transaction that wrote this row alone; the seal orders by it as well.
    Column("xact", BigInteger, nullable=False, server_default=text("(pg_current_xact_id()::text)::bigint")),
    UniqueConstraint("kind", "source_id"),
    Index("ix_ledger_transaction_payment_id", "payment_id"),
    Index("ix_ledger_transaction_order_id", "order_id"),
    Index("ix_ledger_transaction_tenant", "tenant_id", "seq"),
)

ledger_posting = Table(
    "ledger_posting",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("transaction_id", Text, ForeignKey("ledger_transaction.id"), nullable=False, index=True),
    _text("account"),
    _text("currency"),
    Column("amount", BigInteger, nullable=False, comment="debit positive"),
    ForeignKeyConstraint(
        ["tenant_id", "account", "currency"],
        ["ledger_account.tenant_id", "ledger_account.name", "ledger_account.currency"],
        name="fk_ledger_posting_account",
    ),
    CheckConstraint("amount <> 0", name="amount"),
    Index("ix_ledger_posting_account", "tenant_id", "account", "currency", "seq"),
    postgresql_partition_by=BY_MONTH,
)

# The sums of the sealed postings by the day and by the month (in UTC) of their transactions, so that nobody has to sum
# what was ever posted. Written with the seal.
ledger_balance = Table(
    "ledger_balance",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("starts_on", Date, primary_key=True),
    Column("amount", BigInteger, nullable=False, comment="debit positive"),
    CheckConstraint("period IN ('day', 'month')", name="period"),
    ForeignKeyConstraint(
        ["tenant_id", "account", "currency"],
        ["ledger_account.tenant_id", "ledger_account.name", "ledger_account.currency"],
        name="fk_ledger_balance_account",
    ),
)

# Hashes of what was posted, in a chain: each block covers the transactions whose rows follow, and the block before it.
ledger_seal = Table(
    "ledger_seal",
    metadata,
    Column("no", BigInteger, primary_key=True, autoincrement=False),
    Column("transactions", Integer, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _moment("at", required=True),
)

ledger_seal_row = Table(
    "ledger_seal_row",
    metadata,
    # No foreign key: a transaction that was deleted has to be missed by its name.
    Column("transaction_id", Text, primary_key=True),
    Column("seal_no", BigInteger, ForeignKey("ledger_seal.no"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column(
        "digests", LargeBinary, nullable=False, comment="of the transaction and each posting: says which was changed"
    ),
    Index("ix_ledger_seal_row_seal", "seal_no", "seq"),
)
