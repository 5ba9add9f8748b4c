"""A database with a million payments, made of some thousands that were paid for."""

# ruff: noqa: S608 - the statements are put together from names of this file and of the schema

import asyncpg

TABLES = (
    "payment", "payment_order", "charge", "webhook_inbox", "idempotency_key", "ledger_transaction", "ledger_posting",
    "payment_order_transition", "outbox", "audit_log",
)  # fmt: skip
"""What a settled payment has rows in."""

_RENAMED = {
    "id", "checkout_id", "buyer_id", "payment_id", "payment_order_id", "order_id", "charge_id", "charge_reference",
    "reference", "event_id", "key", "transaction_id", "source_id", "object_id",
}  # fmt: skip
"""Names of one payment: a copy's end in its number."""

_COLUMNS = """
    SELECT column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'NO' AND is_generated = 'NEVER'
    ORDER BY ordinal_position
"""


async def multiply(owner: "asyncpg.Connection[asyncpg.Record]", times: int) -> None:
    """Copy every row so many times under names of its own, without triggers and the sums that they keep: these are
    tables and indexes of that size, not books."""
    await owner.execute("SET session_replication_role = replica")
    for table in TABLES:
        names = [row["column_name"] for row in await owner.fetch(_COLUMNS, table)]
        copied = ", ".join(f"o.{name} || '~' || c.n" if name in _RENAMED else f"o.{name}" for name in names)
        copy = (
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {copied} FROM original AS o, (SELECT $1::int AS n) AS c"
        )
        await owner.execute(f"CREATE TEMP TABLE original AS SELECT * FROM {table}")
        for n in range(1, times + 1):
            await owner.execute(copy, n)
        await owner.execute("DROP TABLE original")
    await owner.execute("RESET session_replication_role")
    await owner.execute("VACUUM (ANALYZE)", timeout=600)
    await owner.execute("CHECKPOINT")
