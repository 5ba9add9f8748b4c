"""The audit log: one append-only row per action of a person or of an API key."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import func, literal, literal_column, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.tenant import api_key, audit_log

client_address: ContextVar[str | None] = ContextVar("client_address", default=None)
"""The address of the client whose request is being served; None: a terminal's command, or a step of a workflow. It
accompanies the request as a transaction does, so that no command has to hand it on to every row that it writes."""


async def record(
    connection: AsyncConnection,
    tenant_id: str,
    actor: str,
    action: str,
    object_id: str,
    detail: dict[str, Any],
    *,
    address: str | None = None,
) -> None:
    """Write who did what and from where, in the transaction that does it. `actor`: a person's name, or an API key's id,
    whose name is added to the detail as `key`; `address`: where a step of a workflow writes it, the client's that it
    was told."""
    name = select(func.jsonb_build_object(literal_column("'key'"), api_key.c.name)).where(api_key.c.id == actor)
    key = func.coalesce(name.scalar_subquery(), literal_column("'{}'::jsonb"))
    await connection.execute(
        audit_log.insert().values(
            tenant_id=tenant_id,
            actor=actor,
            action=action,
            object_id=object_id,
            detail=literal(detail, JSONB).op("||")(key),
            address=address or client_address.get(),
        )
    )


async def was_recorded(connection: AsyncConnection, action: str, object_id: str, *, within: timedelta) -> bool:
    """Whether there is a row of an action on an object that is so young."""
    log = audit_log.c
    young = select(log.seq).where(log.object_id == object_id, log.action == action, log.at > func.now() - within)
    return await connection.scalar(young.limit(1)) is not None


@dataclass(frozen=True)
class AuditEntry:
    """A row of the log. `key`: the name of the API key, where `actor` is the id of one; `address`: of the client, where
    it came over HTTP."""

    seq: int
    tenant_id: str
    at: datetime
    actor: str
    key: str | None
    address: str | None
    action: str
    object_id: str
    detail: Mapping[str, JsonValue]


@dataclass(frozen=True)
class Wanted:
    """The filters of the log; what is None matches everything. `since` included and `until` not. `actor`: a person's
    name, or an API key's id or name. `action`: one such as `payment.cancel`, or all of a noun: `payment`."""

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    action: str | None = None
    object_id: str | None = None


async def page(
    connection: AsyncConnection, tenant_id: str | None, wanted: Wanted, *, before: int | None = None, limit: int
) -> list[AuditEntry]:
    """Rows of a tenant (None: of all), the newest first; `before`: the `seq` that the page before ended with."""
    log, key = audit_log.c, audit_log.c.detail["key"].astext
    query = select(audit_log, key.label("key")).order_by(log.seq.desc()).limit(limit)
    if tenant_id is not None:
        query = query.where(log.tenant_id == tenant_id)
    if wanted.since is not None:
        query = query.where(log.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(log.at < wanted.until)
    if wanted.actor is not None:
        query = query.where(or_(log.actor == wanted.actor, key == wanted.actor))
    if wanted.action is not None:
        query = query.where(
            or_(log.action == wanted.action, log.action.startswith(f"{wanted.action}.", autoescape=True))
        )
    if wanted.object_id is not None:
        query = query.where(log.object_id == wanted.object_id)
    if before is not None:
        query = query.where(log.seq < before)
    rows = (await connection.execute(query)).mappings()
    return [AuditEntry(**{**row, "detail": {k: v for k, v in row["detail"].items() if k != "key"}}) for row in rows]
