"""Settings of a tenant: the events that are told, over which channel, and the contacts of its sellers and of itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.keyring import Keyring
from db.event.window import activate
from db.schema.merchant import merchant
from db.schema.notification import notification_contact, notification_setting
from db.schema.tenant import tenant
from domain.ids import new_id
from domain.message import Sink
from domain.notification import NOTICES, Setting

OPERATOR = "operator"
SELLER = "seller:"

_SHOWN = [notification_setting.c[name] for name in Setting.model_fields]


@dataclass(frozen=True)
class Contact:
    """A contact without its addresses: which of them it has."""

    tenant_id: str
    recipient: str
    has_email: bool
    has_phone: bool
    locale: str | None


async def every(connection: AsyncConnection, tenant_id: str) -> list[Setting]:
    """All that a tenant has said, by type and channel."""
    query = select(*_SHOWN).where(notification_setting.c.tenant_id == tenant_id)
    query = query.order_by(notification_setting.c.type, notification_setting.c.channel)
    return [Setting.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]


async def replace(connection: AsyncConnection, tenant_id: str, settings: Sequence[Setting]) -> None:
    """All at once. From the first one that is on, events are noted for the fan-out."""
    await connection.execute(delete(notification_setting).where(notification_setting.c.tenant_id == tenant_id))
    rows = [
        {
            "tenant_id": tenant_id,
            "audience": NOTICES[one.type].audience,
            "template": NOTICES[one.type].template,
            **one.model_dump(),
        }
        for one in settings
    ]
    if rows:
        await connection.execute(notification_setting.insert(), rows)
    if any(one.enabled for one in settings):
        await activate(connection, Sink.FANOUT)


async def sender_name(connection: AsyncConnection, tenant_id: str) -> str | None:
    """The name that a tenant signs with; None: there is no such tenant."""
    found: str | None = await connection.scalar(select(tenant.c.name).where(tenant.c.id == tenant_id))
    return found


async def set_sender_name(connection: AsyncConnection, tenant_id: str, name: str) -> None:
    """Sign so from now on."""
    await connection.execute(update(tenant).where(tenant.c.id == tenant_id).values(name=name))


async def is_recipient(connection: AsyncConnection, tenant_id: str, recipient: str) -> bool:
    """Whether it is the operator of the tenant, or one of its sellers."""
    if recipient == OPERATOR:
        return True
    seller = recipient.removeprefix(SELLER)
    mine = (merchant.c.tenant_id == tenant_id, merchant.c.seller_account == seller)
    return seller != recipient and await connection.scalar(select(merchant.c.id).where(*mine)) is not None


async def contacts(connection: AsyncConnection, tenant_id: str) -> list[Contact]:
    """All of a tenant, by recipient."""
    table = notification_contact.c
    rows = await connection.execute(
        select(
            table.tenant_id,
            table.recipient,
            (func.octet_length(table.email) > 0).label("has_email"),
            (func.octet_length(table.phone) > 0).label("has_phone"),
            table.locale,
        )
        .where(table.tenant_id == tenant_id)
        .order_by(table.recipient)
    )
    return [Contact(**row) for row in rows.mappings()]


async def set_contact(
    connection: AsyncConnection,
    keyring: Keyring,
    tenant_id: str,
    recipient: str,
    *,
    email: str | None,
    phone: str | None,
    locale: str | None,
) -> None:
    """Write a contact, all of it; addresses that are None are gone."""
    table, own = notification_contact, (notification_contact.c.tenant_id, notification_contact.c.recipient)
    new = {"id": new_id("ntc"), "tenant_id": tenant_id, "recipient": recipient}
    await connection.execute(upsert(table).values(**new).on_conflict_do_nothing())
    mine = (own[0] == tenant_id, own[1] == recipient)
    contact_id = (await connection.scalars(select(table.c.id).where(*mine).with_for_update())).one()
    values = {
        "email": b"" if email is None else keyring.encrypt(email, bound_to=f"{contact_id}:email"),
        "phone": b"" if phone is None else keyring.encrypt(phone, bound_to=f"{contact_id}:phone"),
        "locale": locale,
    }
    await connection.execute(table.update().where(*mine).values(**values))
