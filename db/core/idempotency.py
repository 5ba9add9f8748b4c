"""Idempotency keys: a key commits with its object, so no crash can leave one in flight for ever."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.database import LockTimeout
from db.schema.tenant import idempotency_key
from domain.errors import Conflict, Unprocessable


@dataclass(frozen=True)
class Request:
    """A client's request under its key: `hash` tells another request under the same key."""

    key: str
    hash: bytes


@dataclass(frozen=True)
class Claim:
    """`object_id`: of the first request with this key; `replayed` if that was not this one."""

    object_id: str
    replayed: bool


async def claim(connection: AsyncConnection, tenant_id: str, key: str, request_hash: bytes, object_id: str) -> Claim:
    """Take the key for `object_id`, or find whose it is. Waits while another request with the key is in its
    transaction; raises LockTimeout after that, Unprocessable `idempotency_key_reused` for another request."""
    inserted = await connection.execute(
        upsert(idempotency_key)
        .values(tenant_id=tenant_id, key=key, request_hash=request_hash, object_id=object_id)
        .on_conflict_do_nothing()
    )
    if inserted.rowcount == 1:
        return Claim(object_id=object_id, replayed=False)
    taken = await find(connection, tenant_id, key, request_hash)
    assert taken is not None, "the key that is in the way is there"
    return taken


async def find(connection: AsyncConnection, tenant_id: str, key: str, request_hash: bytes) -> Claim | None:
    """The first request with this key, or None. Raises Unprocessable `idempotency_key_reused` for another request."""
    row = (
        await connection.execute(
            select(idempotency_key.c.request_hash, idempotency_key.c.object_id).where(
                idempotency_key.c.tenant_id == tenant_id, idempotency_key.c.key == key
            )
        )
    ).one_or_none()
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise Unprocessable(
            "This Idempotency-Key was used for another request.",
            code="idempotency_key_reused",
            first_object=row.object_id,
        )
    return Claim(object_id=row.object_id, replayed=True)


def in_progress(error: LockTimeout) -> Conflict:
    """The refusal of a request whose key is held by an open transaction."""
    conflict = Conflict("The first request with this key is still being stored.", code="idempotency_in_progress")
    conflict.__cause__ = error
    return conflict
