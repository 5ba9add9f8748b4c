"""The parts of a notification, read when it is sent: the event, the address, and the names that are in it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, and_, null, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import share
from db.core.keyring import Keyring
from db.notification.sending import Claimed
from db.notification.setting import SELLER
from db.schema.merchant import merchant
from db.schema.messages import outbox
from db.schema.notification import notification_contact
from db.schema.payment import payment
from db.schema.person import person
from db.schema.tenant import tenant
from domain.notification import ChannelName


@dataclass(frozen=True)
class Material:
    """`data`: of the event, None where it is no longer kept; `at`: when it happened. `address`: in clear, None where
    there is none. `sellers`: by the shop's own name, how people know them. `share`: of a dispute, what concerns the
    seller, in minor units."""

    data: dict[str, Any] | None
    at: datetime
    address: str | None
    shop: str
    sellers: dict[str, str]
    share: int | None


async def read(connection: AsyncConnection, keyring: Keyring, one: Claimed) -> Material:
    """Raises Undecryptable."""
    event = (
        await connection.execute(select(outbox.c.payload, outbox.c.at).where(outbox.c.seq == one.seq))
    ).one_or_none()
    data = None if event is None else event.payload
    shop = await connection.scalar(select(tenant.c.name).where(tenant.c.id == one.tenant_id))
    seller = one.recipient.removeprefix(SELLER) if one.recipient.startswith(SELLER) else None
    return Material(
        data=data,
        at=datetime.now(UTC) if event is None else event.at,
        address=await _address(connection, keyring, one),
        shop=shop or one.tenant_id,
        sellers=await _sellers(connection, one.tenant_id, data or {}),
        share=None if seller is None else await _share(connection, seller, one.object_id),
    )


async def _address(connection: AsyncConnection, keyring: Keyring, one: Claimed) -> str | None:
    name = "email" if one.channel is ChannelName.EMAIL else "phone"
    if one.recipient.startswith("pay_"):
        buyer = and_(person.c.tenant_id == payment.c.tenant_id, person.c.buyer_id == payment.c.buyer_id)
        query: Select[Any] = (
            select(payment.c.id, payment.c[f"buyer_{name}"].label("sealed"), person.c.key)
            .select_from(payment.outerjoin(person, buyer))
            .where(payment.c.id == one.recipient)
        )
    else:
        table = notification_contact.c
        query = select(table.id, table[name].label("sealed"), null().label("key"))
        query = query.where(table.tenant_id == one.tenant_id, table.recipient == one.recipient)
    row = (await connection.execute(query)).one_or_none()
    if row is None or not row.sealed:
        return None
    return keyring.decrypt(row.sealed, bound_to=f"{row.id}:{name}", person_key=row.key)


async def _sellers(connection: AsyncConnection, tenant_id: str, data: dict[str, Any]) -> dict[str, str]:
    names = {order["seller_account"] for order in data.get("payment_orders", ())}
    names |= {data["seller_account"]} if "seller_account" in data else set()
    if not names:
        return {}
    mine = (merchant.c.tenant_id == tenant_id, merchant.c.seller_account.in_(names))
    rows = await connection.execute(select(merchant.c.seller_account, merchant.c.name).where(*mine))
    return {row.seller_account: row.name or row.seller_account for row in rows}


async def _share(connection: AsyncConnection, seller: str, dispute_id: str) -> int | None:
    found = (await share.disputes(connection, seller, [dispute_id])).get(dispute_id)
    return None if found is None else found.amount
