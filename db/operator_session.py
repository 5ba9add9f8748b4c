"""Sessions of operators: only the SHA-256 of a token is stored; the token itself is 256 random bits."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.operator import operator, operator_session
from domain.login import SESSION_PREFIX

_NOTED_AGAIN_AFTER = timedelta(seconds=10)
_ADDRESS_KNOWN_FOR = timedelta(days=30)


@dataclass(frozen=True)
class Session:
    """A login that is good now. `enrolling`: for choosing a password and confirming the second factor, and for nothing
    else. It ends at `expires_at`, and at `idle_until` unless it is used before; `note_due`: its last
    use was noted a while ago."""

    operator: str
    tenant_id: str
    role: str
    enrolling: bool
    created_at: datetime
    expires_at: datetime
    idle_until: datetime
    note_due: bool


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def new_token() -> str:
    return f"{SESSION_PREFIX}{secrets.token_urlsafe(32)}"


async def create(
    connection: AsyncConnection,
    name: str,
    tenant_id: str,
    token: str,
    address: str,
    life: timedelta,
    *,
    enrolling: bool,
) -> None:
    """Store a login of an operator."""
    await connection.execute(
        operator_session.insert().values(
            token_hash=hash_of(token),
            tenant_id=tenant_id,
            operator_name=name,
            enrolling=enrolling,
            address=address,
            expires_at=func.now() + life,
        )
    )


async def find(connection: AsyncConnection, token: str, idle: timedelta) -> Session | None:
    """The session of a token; None: nobody's, or it has ended, or its operator was disabled or reset."""
    s = operator_session.c
    idle_until = s.last_used_at + idle
    query = (
        select(
            operator.c.name.label("operator"),
            operator.c.tenant_id,
            operator.c.role,
            s.enrolling,
            s.created_at,
            s.expires_at,
            idle_until.label("idle_until"),
            (s.last_used_at < func.now() - _NOTED_AGAIN_AFTER).label("note_due"),
        )
        .join_from(operator_session, operator)
        .where(
            s.token_hash == hash_of(token),
            s.ended_at.is_(None),
            s.expires_at > func.now(),
            idle_until > func.now(),
            operator.c.disabled_at.is_(None),
            operator.c.enrolled_at.is_(None) == s.enrolling,
        )
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else Session(**row)


async def note_use(connection: AsyncConnection, token: str) -> None:
    """Keep when a session was used last, where `note_due` says so: a row is not written at each request."""
    s = operator_session.c
    await connection.execute(
        update(operator_session)
        .where(s.token_hash == hash_of(token), s.ended_at.is_(None))
        .values(last_used_at=func.now())
    )


async def end(connection: AsyncConnection, token: str) -> bool:
    """False: it had ended, or there is none."""
    s = operator_session.c
    result = await connection.execute(
        update(operator_session).where(s.token_hash == hash_of(token), s.ended_at.is_(None)).values(ended_at=func.now())
    )
    return result.rowcount == 1


async def end_all(connection: AsyncConnection, name: str) -> None:
    """End every session of an operator."""
    s = operator_session.c
    await connection.execute(
        update(operator_session).where(s.operator_name == name, s.ended_at.is_(None)).values(ended_at=func.now())
    )


async def came_from(connection: AsyncConnection, name: str, address: str) -> bool:
    """Whether an operator has logged in from an address in the last 30 days."""
    s = operator_session.c
    recent = s.created_at > func.now() - _ADDRESS_KNOWN_FOR
    query = select(s.operator_name).where(s.operator_name == name, s.address == address, recent).limit(1)
    return await connection.scalar(query) is not None
