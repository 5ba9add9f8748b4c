"""Alembic's entry: it is always given a connection by `db.migrate`."""

from alembic import context
from sqlalchemy import Connection

from db.schema.every import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
