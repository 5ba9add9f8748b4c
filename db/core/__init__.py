"""The ground of every noun of the database: connections, idempotency keys, outbox, migrations, encryption."""
