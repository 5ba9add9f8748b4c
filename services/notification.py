"""Notifications: what was told to whom, what a tenant wants told, its contacts, and who gets nothing more."""

from collections.abc import Sequence
from dataclasses import dataclass

from db import audit_log, tenant
from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.core.keyring import Keyring
from db.notification import notification, setting, suppression
from db.notification.setting import Contact
from domain.errors import NotFound, Unprocessable
from domain.limits import Email, Phone, SenderName
from domain.notification import NOTICES, ChannelName, Notification, NotificationStatus, Setting, Suppression
from services import access
from services.command import Caller, check, once
from services.notify.values import is_locale


@dataclass(frozen=True)
class NewContact:
    """A contact as somebody writes it; None: there is no such address, or the tenant's own language."""

    email: str | None = None
    phone: str | None = None
    locale: str | None = None


def _whose(caller: Caller) -> str | None:
    """The tenant whose notifications are reached; None: a person reaches all."""
    return None if caller.tenant_id is None else access.whole_tenant(caller)


async def page(
    database: Database,
    caller: Caller,
    *,
    tenant_id: str | None = None,
    status: NotificationStatus | None = None,
    object_id: str | None = None,
    before: str | None = None,
    limit: int,
) -> list[Notification]:
    """The newest first; of all events about one object where told."""
    whose = _whose(caller) or tenant_id
    return await database.read(
        lambda c: notification.page(c, whose, status=status, object_id=object_id, before=before, limit=limit)
    )


async def find(database: Database, caller: Caller, notification_id: str) -> Notification:
    """Raises NotFound `notification_not_found`."""
    return await database.read(lambda c: notification.find(c, notification_id, _whose(caller)))


@dataclass(frozen=True)
class Told:
    """The settings of a tenant; of everything else nobody is told. `sender_name`: how it signs."""

    tenant_id: str
    sender_name: str
    settings: Sequence[Setting]


async def settings(database: Database, tenant_id: str) -> Told:
    """Raises NotFound `tenant_not_found`."""
    return await database.read(lambda c: _told(c, tenant_id))


async def _told(connection: Connection, tenant_id: str) -> Told:
    name = await setting.sender_name(connection, tenant_id)
    if name is None:
        raise NotFound(f"There is no tenant {tenant_id}.", code="tenant_not_found")
    return Told(tenant_id, name, await setting.every(connection, tenant_id))


async def replace_settings(
    database: Database,
    caller: Caller,
    tenant_id: str,
    wanted: Sequence[Setting] | None = None,
    *,
    sender_name: str | None = None,
) -> Told:
    """All of a tenant's at once; None stays as it is.

    Raises NotFound `tenant_not_found`; Unprocessable `notification_type_unknown`, `locale_unknown`,
    `setting_repeated`, `content_sid_misplaced`, `field_invalid`, `text_invalid`.
    """
    if sender_name is not None:
        check(SenderName, sender_name, "sender_name")
    for one in wanted or ():
        _check(one)
    if wanted is not None and len({(one.type, one.channel) for one in wanted}) < len(wanted):
        raise Unprocessable("A type is told once over a channel.", code="setting_repeated")

    async def work(connection: Connection) -> Told:
        before = await _told(connection, tenant_id)
        if wanted is not None:
            await setting.replace(connection, tenant_id, wanted)
        if sender_name is not None:
            await setting.set_sender_name(connection, tenant_id, sender_name)
        after = await _told(connection, tenant_id)
        if after != before:
            told = [f"{one.type} {one.channel}" for one in after.settings if one.enabled]
            detail = {"told": told, "sender_name": after.sender_name}
            await _log(connection, tenant_id, caller, "notification.settings", tenant_id, **detail)
        return after

    return await database.run(work)


def _check(one: Setting) -> None:
    if one.type not in NOTICES:
        known = ", ".join(NOTICES)
        raise Unprocessable(f"Nobody is told of {one.type[:60]}: choose of {known}.", code="notification_type_unknown")
    _check_locale(one.locale)
    if one.content_sid is not None and one.channel is not ChannelName.WHATSAPP:
        raise Unprocessable("Only WhatsApp has templates of its own.", code="content_sid_misplaced")


def _check_locale(name: str) -> None:
    if not is_locale(name):
        raise Unprocessable(f"There is no language {name[:20]}: write such as en, de or de_AT.", code="locale_unknown")


async def contacts(database: Database, tenant_id: str) -> list[Contact]:
    """Of its sellers, and of the tenant itself; without their addresses."""
    return await database.read(lambda c: setting.contacts(c, tenant_id))


async def set_contact(
    database: Database, keyring: Keyring, caller: Caller, tenant_id: str, recipient: str, new: NewContact
) -> Contact:
    """Write where a recipient (`operator`, or `seller:NAME`) is reached: all of it.

    Raises NotFound `tenant_not_found`, `recipient_not_found`; Unprocessable `field_invalid`, `text_invalid`,
    `locale_unknown`.
    """
    if new.email is not None:
        check(Email, new.email, "email")
    if new.phone is not None:
        check(Phone, new.phone, "phone")
    if new.locale is not None:
        _check_locale(new.locale)

    async def work(connection: Connection) -> Contact:
        await _require_tenant(connection, tenant_id)
        if not await setting.is_recipient(connection, tenant_id, recipient):
            raise NotFound("Say operator, or seller: and the name of a seller.", code="recipient_not_found")
        await setting.set_contact(
            connection, keyring, tenant_id, recipient, email=new.email, phone=new.phone, locale=new.locale
        )
        written = {"email": new.email is not None, "phone": new.phone is not None}
        await _log(connection, tenant_id, caller, "notification.contact", recipient, **written)
        return next(one for one in await setting.contacts(connection, tenant_id) if one.recipient == recipient)

    return await database.run(work)


async def suppressions(
    database: Database, caller: Caller, *, tenant_id: str | None = None, before: str | None = None, limit: int
) -> list[Suppression]:
    """The newest first."""
    whose = _whose(caller) or tenant_id
    return await database.read(lambda c: suppression.page(c, whose, before=before, limit=limit))


async def lift(
    database: Database, caller: Caller, suppression_id: str, *, request: Request | None = None
) -> Suppression:
    """Let an address be written to again. Raises NotFound `suppression_not_found`, also for one that is lifted."""
    found = await database.read(lambda c: suppression.find(c, suppression_id, _whose(caller)))

    async def work(connection: Connection) -> Suppression:
        row = await suppression.lift(connection, suppression_id, _whose(caller))
        await _log(connection, row.tenant_id, caller, "suppression.lift", row.id, reason=row.reason.value)
        return row

    return (await once(database, found.tenant_id, request, found.id, work)).result or found


async def _require_tenant(connection: Connection, tenant_id: str) -> None:
    if not await tenant.exists(connection, tenant_id):
        raise NotFound(f"There is no tenant {tenant_id}.", code="tenant_not_found")


async def _log(
    connection: Connection, tenant_id: str, caller: Caller, action: str, object_id: str, **detail: object
) -> None:
    await audit_log.record(connection, tenant_id, caller.actor, action, object_id, detail)
