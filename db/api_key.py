"""API keys: only the SHA-256 of a key is stored; the key itself is 256 random bits, so no slow hash is needed."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.tenant import api_key, tenant
from domain.ids import new_id

SCOPES = frozenset(
    {
        "audit:read",
        "payments:read",
        "payments:write",
        "refunds:write",
        "disputes:read",
        "disputes:write",
        "reviews:write",
        "risk:read",
        "risk:write",
        "merchants:read",
        "merchants:write",
        "payouts:read",
        "payouts:write",
        "ledger:read",
        "reconciliation:read",
        "reconciliation:write",
    }
)


@dataclass(frozen=True)
class Principal:
    """The owner of a request: the key's id is what the audit log and transitions name."""

    key_id: str
    tenant_id: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret, which nobody has but its owner."""

    id: str
    tenant_id: str
    name: str
    scopes: Sequence[str]
    created_at: datetime
    revoked_at: datetime | None


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def new_secret() -> str:
    return f"sk_live_{secrets.token_urlsafe(32)}"


async def find(connection: AsyncConnection, secret: str) -> Principal | None:
    """The owner of a secret; None: nobody's, or it was revoked."""
    row = (
        await connection.execute(
            select(api_key.c.id, api_key.c.tenant_id, api_key.c.scopes).where(
                api_key.c.secret_hash == hash_of(secret), api_key.c.revoked_at.is_(None)
            )
        )
    ).one_or_none()
    return None if row is None else Principal(row.id, row.tenant_id, frozenset(row.scopes))


async def create(
    connection: AsyncConnection, tenant_id: str, name: str, secret: str, scopes: frozenset[str] = SCOPES
) -> str:
    """Store a key for a tenant, creating the tenant if it is new. Returns the key's id.

    The same secret twice is one key. Raises ValueError for a scope that does not exist.
    """
    if not scopes <= SCOPES:
        raise ValueError(f"unknown scope: {', '.join(sorted(scopes - SCOPES))}")
    await connection.execute(upsert(tenant).values(id=tenant_id, name=tenant_id).on_conflict_do_nothing())
    inserted: str | None = await connection.scalar(
        upsert(api_key)
        .values(
            id=new_id("key"),
            tenant_id=tenant_id,
            name=name,
            secret_hash=hash_of(secret),
            scopes=sorted(scopes),
        )
        .on_conflict_do_nothing(index_elements=["secret_hash"])
        .returning(api_key.c.id)
    )
    if inserted is not None:
        return inserted
    existing: str | None = await connection.scalar(select(api_key.c.id).where(api_key.c.secret_hash == hash_of(secret)))
    assert existing is not None, "the conflicting key is there"
    return existing


async def revoke(connection: AsyncConnection, key_id: str) -> bool:
    """False: it was revoked already, or there is none."""
    result = await connection.execute(
        update(api_key).where(api_key.c.id == key_id, api_key.c.revoked_at.is_(None)).values(revoked_at=func.now())
    )
    return result.rowcount == 1


async def every(connection: AsyncConnection) -> list[ApiKey]:
    """All keys, by tenant, the oldest first."""
    columns = (api_key.c[name] for name in ApiKey.__dataclass_fields__)
    rows = await connection.execute(select(*columns).order_by(api_key.c.tenant_id, api_key.c.created_at, api_key.c.id))
    return [ApiKey(**row) for row in rows.mappings()]


async def tenant_of(connection: AsyncConnection, key_id: str) -> str | None:
    """The tenant of a key; None: there is none of this id."""
    return await connection.scalar(select(api_key.c.tenant_id).where(api_key.c.id == key_id))
