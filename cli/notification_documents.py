"""The documents of notifications that `--json` prints, in the shapes of the HTTP API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.documents import Json, of_tenant

if TYPE_CHECKING:
    from db.notification.setting import Contact
    from domain.notification import Notification, Suppression
    from services.notification import Told


async def notification(row: "Notification") -> Json:
    from api.notification.shapes import notification_out

    return of_tenant(row.tenant_id, notification_out(row))


async def notifications(rows: "Sequence[Notification]") -> Json:
    return {"object": "list", "data": [await notification(row) for row in rows]}


async def settings(told: "Told") -> Json:
    from api.notification.shapes import settings_out

    return of_tenant(told.tenant_id, settings_out(told))


async def settings_and_contacts(told: "Told", found: "Sequence[Contact]") -> Json:
    return {**await settings(told), "contacts": [await contact(one) for one in found]}


async def contact(row: "Contact") -> Json:
    from api.notification.shapes import contact_out

    return of_tenant(row.tenant_id, contact_out(row))


async def suppression(row: "Suppression") -> Json:
    from api.notification.shapes import suppression_out

    return of_tenant(row.tenant_id, suppression_out(row))


async def suppressions(rows: "Sequence[Suppression]") -> Json:
    return {"object": "list", "data": [await suppression(row) for row in rows]}
