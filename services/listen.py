"""Listening to a tenant's events as they happen, for its developer."""

import asyncio
from collections.abc import Awaitable, Callable

from db import tenant
from db.core.database import Connection, Database
from db.core.keyring import Keyring
from db.event import tail
from db.event.tail import Seen
from domain.errors import NotFound
from domain.webhook_endpoint import secret_of

_POLL_S = 0.2
_LATE = 500
"""Numbers by which one may commit after a higher one."""


def listening_secret(keyring: Keyring, tenant_id: str) -> str:
    """The secret that signs what is forwarded: the same at every start, so that a receiver keeps it."""
    return secret_of(keyring.derived(f"paysaga.listen:{tenant_id}")[0][:24])


async def follow(
    database: Database, tenant_id: str, ready: Callable[[], None], tell: Callable[[Seen], Awaitable[None]]
) -> None:
    """Tell every event of a tenant that is written from now on, once, until cancelled; `ready` is called when that has
    begun. Raises NotFound `tenant_not_found`, Unavailable."""

    async def work(connection: Connection) -> None:
        if not await tenant.exists(connection, tenant_id):
            raise NotFound(f"There is no tenant {tenant_id}.", code="tenant_not_found")
        highest = await tail.last(connection)
        known = {row.seq for row in await tail.after(connection, tenant_id, highest - _LATE)}
        ready()
        while True:
            for row in await tail.after(connection, tenant_id, highest - _LATE):
                if row.seq not in known:
                    known.add(row.seq)
                    await tell(row)
            highest = max(known, default=highest)
            known = {seq for seq in known if seq > highest - _LATE}
            await asyncio.sleep(_POLL_S)

    await database.read(work)
