"""API keys: only the SHA-256 of a key is stored; the key itself is 256 random bits, so no slow hash is needed."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, RowMapping, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.tenant import api_key, tenant
from domain.access import EVERY_SCOPE, ROLES, Principal, granted
from domain.ids import new_id


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret, which nobody has but its owner. `prefix`: how the secret begins; None for a key from
    before it was kept. `scopes` are those of its role, if it has one; `seller_account`: of a merchant's key."""

    id: str
    tenant_id: str
    name: str
    prefix: str | None
    role: str | None
    seller_account: str | None
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def new_secret() -> str:
    return f"sk_live_{secrets.token_urlsafe(32)}"


_PREFIX_LENGTH = 12
"""Of a secret: what all of them begin with, and 24 bits of the 256 that are random."""

_NOTED_AGAIN_AFTER = timedelta(minutes=1)


def _good() -> ColumnElement[bool]:
    return and_(api_key.c.revoked_at.is_(None), or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > func.now()))


async def find(connection: AsyncConnection, secret: str) -> Principal | None:
    """The owner of a secret; None: nobody's, or it was revoked or has expired."""
    left = func.extract("epoch", api_key.c.expires_at - func.now())
    row = (
        await connection.execute(
            select(api_key, left.label("left")).where(api_key.c.secret_hash == hash_of(secret), _good())
        )
    ).one_or_none()
    if row is None:
        return None
    return Principal(
        actor=row.id,
        tenant_id=row.tenant_id,
        scopes=_scopes(row.role, row.scopes),
        life_s=None if row.left is None else float(row.left),
        seller_account=row.seller_account,
    )


def _scopes(role: str | None, listed: Sequence[str]) -> frozenset[str]:
    """A role's are looked up, so that its keys follow it from release to release; one that is gone has none."""
    return frozenset(listed) if role is None else ROLES.get(role, frozenset())


async def note_use(connection: AsyncConnection, key_id: str) -> None:
    """Keep when a key was used last, to the minute: a row is not written at each request."""
    long_ago = func.now() - _NOTED_AGAIN_AFTER
    await connection.execute(
        update(api_key)
        .where(api_key.c.id == key_id, or_(api_key.c.last_used_at.is_(None), api_key.c.last_used_at < long_ago))
        .values(last_used_at=func.now())
    )


async def create(
    connection: AsyncConnection,
    tenant_id: str,
    name: str,
    secret: str,
    scopes: frozenset[str] = EVERY_SCOPE,
    *,
    life: timedelta | None = None,
    role: str | None = None,
    seller_account: str | None = None,
) -> str:
    """Store a key for a tenant, creating the tenant if it is new; without `life` it does not expire. With a `role`
    `scopes` do not count. Returns the key's id.

    The same secret twice is one key. Raises ValueError for a scope or role that does not exist, and for a merchant's
    key without its seller.
    """
    if not scopes <= EVERY_SCOPE:
        raise ValueError(f"unknown scope: {', '.join(sorted(scopes - EVERY_SCOPE))}")
    granted(role, None, seller_account)
    await connection.execute(upsert(tenant).values(id=tenant_id, name=tenant_id).on_conflict_do_nothing())
    inserted: str | None = await connection.scalar(
        upsert(api_key)
        .values(
            id=new_id("key"),
            tenant_id=tenant_id,
            name=name,
            secret_hash=hash_of(secret),
            prefix=secret[:_PREFIX_LENGTH],
            role=role,
            seller_account=seller_account,
            scopes=sorted(scopes) if role is None else [],
            expires_at=None if life is None else func.now() + life,
        )
        .on_conflict_do_nothing(index_elements=["secret_hash"])
        .returning(api_key.c.id)
    )
    if inserted is not None:
        return inserted
    existing: str | None = await connection.scalar(select(api_key.c.id).where(api_key.c.secret_hash == hash_of(secret)))
    assert existing is not None, "the conflicting key is there"
    return existing


async def grant(connection: AsyncConnection, key_id: str, scopes: frozenset[str]) -> None:
    """Let a key do this and nothing else from now on."""
    await connection.execute(update(api_key).where(api_key.c.id == key_id).values(scopes=sorted(scopes)))


async def revoke(connection: AsyncConnection, key_id: str) -> bool:
    """False: it was revoked already, or there is none."""
    result = await connection.execute(
        update(api_key).where(api_key.c.id == key_id, api_key.c.revoked_at.is_(None)).values(revoked_at=func.now())
    )
    return result.rowcount == 1


async def active(connection: AsyncConnection, key_id: str) -> ApiKey | None:
    """A key that is good, locked; None: there is none of this id, or it was revoked or has expired."""
    columns = (api_key.c[name] for name in ApiKey.__dataclass_fields__)
    found = await connection.execute(select(*columns).where(api_key.c.id == key_id, _good()).with_for_update())
    row = found.mappings().one_or_none()
    return None if row is None else _key(row)


def _key(row: RowMapping) -> ApiKey:
    return ApiKey(**{**row, "scopes": sorted(_scopes(row["role"], row["scopes"]))})


async def expire(connection: AsyncConnection, key_id: str, life: timedelta) -> None:
    """Let a key go on for so long at most."""
    end = func.now() + life
    await connection.execute(
        update(api_key)
        .where(api_key.c.id == key_id)
        .values(expires_at=func.least(func.coalesce(api_key.c.expires_at, end), end))
    )


async def every(connection: AsyncConnection) -> list[ApiKey]:
    """All keys, by tenant, the oldest first."""
    columns = (api_key.c[name] for name in ApiKey.__dataclass_fields__)
    rows = await connection.execute(select(*columns).order_by(api_key.c.tenant_id, api_key.c.created_at, api_key.c.id))
    return [_key(row) for row in rows.mappings()]


async def tenant_of(connection: AsyncConnection, key_id: str) -> str | None:
    """The tenant of a key; None: there is none of this id."""
    return await connection.scalar(select(api_key.c.tenant_id).where(api_key.c.id == key_id))
