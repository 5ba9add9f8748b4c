"""Deliveries, as people and shops see and repeat them."""

# ruff: noqa: S608 - what is put into the statements are constants of the code

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import dead_letter
from db.schema.webhook_endpoint import webhook_attempt, webhook_delivery
from db.webhook_endpoint.fan_out import DELIVERY, DELIVERY_COLUMNS, WANTS
from domain.dead_letter import LetterStatus, Source
from domain.errors import NotFound
from domain.ids import is_id, new_id
from domain.webhook_endpoint import TEST_TYPE, Attempt, Delivery, DeliveryStatus, Endpoint

_SHOWN = [webhook_delivery.c[name] for name in Delivery.model_fields]
_TRIED = [webhook_attempt.c[name] for name in Attempt.model_fields]


@dataclass(frozen=True)
class Tried:
    """A delivery with its attempts, the first one first."""

    delivery: Delivery
    attempts: tuple[Attempt, ...]


async def page(
    connection: AsyncConnection,
    endpoint_id: str,
    *,
    status: DeliveryStatus | None = None,
    before: str | None = None,
    limit: int,
) -> list[Delivery]:
    """Of an endpoint, the newest first; `before`: the id of the one that a page ended with."""
    table = webhook_delivery.c
    position = (table.created_at, table.id)
    query = select(*_SHOWN).where(table.endpoint_id == endpoint_id)
    query = query.order_by(table.created_at.desc(), table.id.desc()).limit(limit)
    if status is not None:
        query = query.where(table.status == status)
    if before is not None:
        made_at = select(table.created_at).where(table.id == before).scalar_subquery()
        query = query.where(tuple_(*position) < tuple_(made_at, before))
    return [Delivery.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]


async def find(connection: AsyncConnection, delivery_id: str, tenant_id: str | None) -> Delivery:
    """`tenant_id` None: of any tenant. Raises NotFound `delivery_not_found`."""
    query = select(*_SHOWN).where(webhook_delivery.c.id == delivery_id)
    if tenant_id is not None:
        query = query.where(webhook_delivery.c.tenant_id == tenant_id)
    row = (await connection.execute(query)).mappings().one_or_none() if is_id("whd", delivery_id) else None
    if row is None:
        raise NotFound("There is no such delivery.", code="delivery_not_found")
    return Delivery.model_validate(dict(row))


async def tried(connection: AsyncConnection, delivery_id: str, tenant_id: str | None) -> Tried:
    """Raises NotFound `delivery_not_found`."""
    row = await find(connection, delivery_id, tenant_id)
    query = select(*_TRIED).where(webhook_attempt.c.delivery_id == row.id).order_by(webhook_attempt.c.n)
    attempts = (await connection.execute(query)).mappings()
    return Tried(row, tuple(Attempt.model_validate(dict(one)) for one in attempts))


async def add_test(connection: AsyncConnection, row: Endpoint, delivery_id: str) -> None:
    """A test event for an endpoint."""
    await connection.execute(
        webhook_delivery.insert().values(
            id=delivery_id,
            tenant_id=row.tenant_id,
            endpoint_id=row.id,
            event_id=new_id("evt"),
            type=TEST_TYPE,
            object_id=row.id,
            next_attempt_at=func.now(),
        )
    )


async def resend(connection: AsyncConnection, delivery_id: str, actor: str) -> None:
    """Have one sent again, with all attempts before it."""
    await connection.execute(
        update(webhook_delivery)
        .where(webhook_delivery.c.id == delivery_id)
        .values(
            status=DeliveryStatus.PENDING,
            attempts=0,
            next_attempt_at=func.now(),
            claimed_until=None,
            delivered_at=None,
        )
    )
    await _replayed(connection, [delivery_id], actor)


_REPLAY = text(f"""
    INSERT INTO webhook_delivery {DELIVERY_COLUMNS}
    SELECT {DELIVERY} FROM outbox o JOIN webhook_endpoint e ON e.id = :endpoint AND e.tenant_id = o.tenant_id
    WHERE o.tenant_id = :tenant AND o.at >= :since AND {WANTS}
    ON CONFLICT (endpoint_id, event_id) DO UPDATE
    SET status = 'PENDING', attempts = 0, next_attempt_at = now(), claimed_until = NULL
    WHERE webhook_delivery.status IN ('DEAD', 'SKIPPED')
    RETURNING id
""")


async def replay(connection: AsyncConnection, row: Endpoint, since: datetime, actor: str) -> int:
    """Have sent what has happened since then and was not delivered: what was given up, skipped, or never meant for the
    endpoint. Returns how many that is."""
    values = {"endpoint": row.id, "tenant": row.tenant_id, "since": since}
    ids = list((await connection.execute(_REPLAY, values)).scalars())
    await _replayed(connection, ids, actor)
    return len(ids)


async def _replayed(connection: AsyncConnection, ids: Sequence[str], actor: str) -> None:
    await dead_letter.end(connection, Source.WEBHOOK_DELIVERIES, ids, LetterStatus.REPLAYED, actor)
