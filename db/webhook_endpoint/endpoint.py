"""Endpoints: making, finding and changing one, and its secrets."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.keyring import Keyring
from db.event.window import activate
from db.schema.webhook_endpoint import webhook_delivery, webhook_endpoint
from domain.errors import Conflict, NotFound
from domain.ids import is_id, new_id
from domain.message import Sink
from domain.webhook_endpoint import OVERLAP, DeliveryStatus, Endpoint, EndpointStatus

MAX_PER_TENANT = 50
_SHOWN = [webhook_endpoint.c[name] for name in Endpoint.model_fields]


def _endpoint(row: RowMapping) -> Endpoint:
    return Endpoint.model_validate(dict(row))


def sealed(keyring: Keyring, endpoint_id: str, secret: str, *, old: bool = False) -> bytes:
    """A secret as it is stored."""
    return keyring.encrypt(secret, bound_to=_bound(endpoint_id, old=old))


def opened(keyring: Keyring, endpoint_id: str, stored: bytes, *, old: bool = False) -> str:
    """Raises Undecryptable."""
    return keyring.decrypt(stored, bound_to=_bound(endpoint_id, old=old))


def _bound(endpoint_id: str, *, old: bool) -> str:
    return f"{endpoint_id}:{'old_secret' if old else 'secret'}"


async def create(
    connection: AsyncConnection, keyring: Keyring, tenant_id: str, url: str, types: Sequence[str], secret: str
) -> Endpoint:
    """From the first endpoint on, events are noted for the fan-out. Raises Conflict `endpoint_exists`,
    `endpoints_too_many`."""
    table, endpoint_id = webhook_endpoint, new_id("whe")
    count = await connection.scalar(select(func.count()).where(table.c.tenant_id == tenant_id))
    if (count or 0) >= MAX_PER_TENANT:
        raise Conflict(f"A tenant has {MAX_PER_TENANT} endpoints at most.", code="endpoints_too_many")
    inserted = await connection.execute(
        upsert(table)
        .values(
            id=endpoint_id,
            tenant_id=tenant_id,
            url=url,
            types=list(types),
            secret=sealed(keyring, endpoint_id, secret),
        )
        .on_conflict_do_nothing()
        .returning(*_SHOWN)
    )
    row = inserted.mappings().one_or_none()
    if row is None:
        raise _exists()
    await activate(connection, Sink.FANOUT)
    return _endpoint(row)


def _exists() -> Conflict:
    return Conflict("There is an endpoint with this URL.", code="endpoint_exists")


async def find(connection: AsyncConnection, endpoint_id: str, tenant_id: str | None, *, lock: bool = False) -> Endpoint:
    """`tenant_id` None: of any tenant. Raises NotFound `endpoint_not_found`."""
    query = select(*_SHOWN).where(webhook_endpoint.c.id == endpoint_id)
    if tenant_id is not None:
        query = query.where(webhook_endpoint.c.tenant_id == tenant_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await connection.execute(query)).mappings().one_or_none() if is_id("whe", endpoint_id) else None
    if row is None:
        raise NotFound("There is no such endpoint.", code="endpoint_not_found")
    return _endpoint(row)


async def page(connection: AsyncConnection, tenant_id: str | None) -> list[Endpoint]:
    """All of a tenant's, or of all tenants, in the order in which they were made."""
    query = select(*_SHOWN).order_by(webhook_endpoint.c.created_at, webhook_endpoint.c.id)
    if tenant_id is not None:
        query = query.where(webhook_endpoint.c.tenant_id == tenant_id)
    return [_endpoint(row) for row in (await connection.execute(query)).mappings()]


async def change(
    connection: AsyncConnection, row: Endpoint, *, url: str | None, types: Sequence[str] | None
) -> Endpoint:
    """Of one that is locked. Raises Conflict `endpoint_exists`."""
    values: dict[str, Any] = {} if url is None else {"url": url}
    try:
        return await _set(connection, row.id, values if types is None else values | {"types": list(types)})
    except IntegrityError as error:
        raise _exists() from error


async def set_status(connection: AsyncConnection, row: Endpoint, status: EndpointStatus, because: str) -> Endpoint:
    """Disable one, which skips what waits for it and is not being sent just now; or enable it with a clean record."""
    if status is EndpointStatus.DISABLED:
        await skip_pending(connection, row.id)
        return await _set(connection, row.id, {"status": status, "disabled_because": because})
    fresh = {"failures": 0, "failing_since": None, "held_until": None, "disabled_because": None}
    return await _set(connection, row.id, {"status": status, **fresh})


async def skip_pending(connection: AsyncConnection, endpoint_id: str) -> None:
    """End the waiting of all that is pending for an endpoint, and not under way."""
    delivery = webhook_delivery.c
    free = delivery.claimed_until.is_(None) | (delivery.claimed_until <= func.now())
    await connection.execute(
        update(webhook_delivery)
        .where(delivery.endpoint_id == endpoint_id, delivery.status == DeliveryStatus.PENDING, free)
        .values(status=DeliveryStatus.SKIPPED)
    )


async def rotate(connection: AsyncConnection, keyring: Keyring, row: Endpoint, secret: str) -> Endpoint:
    """Of one that is locked: the old secret signs for a day more; one that was replaced before it ends now."""
    stored = await connection.scalar(select(webhook_endpoint.c.secret).where(webhook_endpoint.c.id == row.id))
    assert stored is not None, "each has one"
    old = sealed(keyring, row.id, opened(keyring, row.id, stored), old=True)
    until = func.now() + OVERLAP
    new = {"secret": sealed(keyring, row.id, secret), "old_secret": old, "old_secret_until": until}
    return await _set(connection, row.id, new)


async def _set(connection: AsyncConnection, endpoint_id: str, values: Mapping[str, Any]) -> Endpoint:
    own = webhook_endpoint.c.id == endpoint_id
    changed = await connection.execute(update(webhook_endpoint).where(own).values(**values).returning(*_SHOWN))
    return _endpoint(changed.mappings().one())
