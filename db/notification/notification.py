"""Notifications, as people see them and have them sent again. None has an address."""

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.notification import notification
from domain.errors import NotFound
from domain.ids import is_id
from domain.notification import Notification, NotificationStatus

_SHOWN = [notification.c[name] for name in Notification.model_fields]


async def page(
    connection: AsyncConnection,
    tenant_id: str | None,
    *,
    status: NotificationStatus | None = None,
    object_id: str | None = None,
    before: str | None = None,
    limit: int,
) -> list[Notification]:
    """Those of the newest events first, of a tenant or of all; `before`: the id of the one that a page ended with."""
    table = notification.c
    query = select(*_SHOWN).order_by(table.id.desc()).limit(limit)
    if tenant_id is not None:
        query = query.where(table.tenant_id == tenant_id)
    if status is not None:
        query = query.where(table.status == status)
    if object_id is not None:
        query = query.where(table.object_id == object_id)
    if before is not None:
        query = query.where(table.id < before)
    return [Notification.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]


async def find(connection: AsyncConnection, notification_id: str, tenant_id: str | None) -> Notification:
    """`tenant_id` None: of any tenant. Raises NotFound `notification_not_found`."""
    query = select(*_SHOWN).where(notification.c.id == notification_id)
    if tenant_id is not None:
        query = query.where(notification.c.tenant_id == tenant_id)
    row = (await connection.execute(query)).mappings().one_or_none() if is_id("ntf", notification_id) else None
    if row is None:
        raise NotFound("There is no such notification.", code="notification_not_found")
    return Notification.model_validate(dict(row))


async def replay(connection: AsyncConnection, notification_id: str) -> bool:
    """Have one sent again that has failed, is unknown or was suppressed, with all attempts before it. A person decides
    so: an SMS whose outcome is unknown may arrive twice. False: it is no such one."""
    done = (NotificationStatus.FAILED, NotificationStatus.UNKNOWN, NotificationStatus.SUPPRESSED)
    again = await connection.execute(
        update(notification)
        .where(notification.c.id == notification_id, notification.c.status.in_(done))
        .values(
            status=NotificationStatus.PENDING,
            attempts=0,
            next_attempt_at=func.now(),
            claimed_until=None,
            begun_at=None,
            code=None,
            suppression_id=None,
            ended_at=None,
        )
    )
    return again.rowcount == 1
