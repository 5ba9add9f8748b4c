"""A refund's event, written in the transaction that moves it."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import outbox
from db.refund.record import Refund
from domain.events import Event, refund_event_data
from domain.ids import new_id


async def announce(connection: AsyncConnection, row: Refund, at: datetime) -> None:
    await outbox.add(connection, [event_of(row, at)])


def event_of(row: Refund, at: datetime) -> Event:
    return Event(
        id=new_id("evt"),
        type=f"refund.{row.status.value.lower()}",
        tenant_id=row.tenant_id,
        object_id=row.id,
        at=at,
        data=refund_event_data(
            refund_id=row.id,
            payment_id=row.payment_id,
            payment_order_id=row.order_id,
            origin=row.origin,
            amount=row.amount,
            currency=row.currency,
            status=row.status,
            failure=row.failure,
        ),
    )
