"""The outbox: an event is stored in the transaction that makes it true; a relay publishes it later."""

from collections.abc import Sequence

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.messages import outbox
from domain.events import Event


async def add(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Store events, to be published."""
    if events:
        await connection.execute(
            insert(outbox),
            [
                {
                    "id": event.id,
                    "tenant_id": event.tenant_id,
                    "type": event.type,
                    "schema_version": event.schema_version,
                    "object_id": event.object_id,
                    "payload": event.data,
                    "at": event.at,
                }
                for event in events
            ],
        )
