"""What every noun of the database stands on: connections, idempotency keys, outbox, migrations, encryption."""
