"""Deliveries that are due, and the outcome of each attempt.

A worker claims deliveries for longer than an attempt takes, commits, sends, and writes the outcome. Whoever has died
in between has written none, and its claims end by themselves. Of an endpoint's deliveries four are under way at once.
One waits while an earlier event of its object does, but no longer than ten minutes for one that has failed. An endpoint
that has failed five times in a row is held: it gets a probe a minute, in the strict order of each object, until one
succeeds; then all that waits is due at once.
"""

# ruff: noqa: S608 - what is put into the statements are constants of the code

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, dead_letter
from db.core import outbox
from db.core.database import Database
from db.core.statement import Statement
from db.dead_letter import NewLetter
from db.webhook_endpoint.body import BODY, WHEN
from db.webhook_endpoint.endpoint import skip_pending
from domain.dead_letter import Source
from domain.event_data import EndpointData
from domain.events import Event
from domain.ids import new_id
from domain.webhook_endpoint import (
    EARLIER_WAIT,
    FAILING_MAX,
    FAILURES_HOLD,
    IN_FLIGHT_MAX,
    PROBE_EVERY,
    Answer,
    DeliveryStatus,
    EndpointStatus,
    next_attempt_in,
)

CLAIM = timedelta(seconds=30)
SYSTEM = "paysaga"
"""The actor of what the rules do by themselves."""


class Outcome(StrEnum):
    """Of an attempt, for the metrics."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """It is tried again."""
    DEAD = "dead"
    SKIPPED = "skipped"
    """The endpoint is disabled, perhaps by this attempt."""
    LAPSED = "lapsed"
    """Somebody else had it meanwhile."""


@dataclass(frozen=True)
class Claimed:
    """A delivery that this process has until `claimed_until`, with what it needs to send it. `body`: None where the
    event is no longer kept."""

    id: str
    tenant_id: str
    endpoint_id: str
    event_id: str
    object_id: str
    attempts: int
    claimed_until: datetime
    url: str
    secret: bytes
    old_secret: bytes | None
    body: str | None


def _seconds(span: timedelta) -> str:
    return f"interval '{span.total_seconds():g} s'"


_FREE = "(d.claimed_until IS NULL OR d.claimed_until <= now())"
_BODY = f"""
    CASE WHEN c.seq IS NULL THEN jsonb_build_object(
        'id', c.event_id, 'type', c.type, 'version', 1, 'timestamp', {WHEN.format(at="c.created_at")},
        'data', jsonb_build_object('endpoint_id', c.endpoint_id)
    )::text WHEN o.seq IS NOT NULL THEN {BODY} END
"""

_READY = f"""
    e.status = 'ENABLED' AND (e.held_until IS NULL OR e.held_until <= now()) AND EXISTS (
        SELECT FROM webhook_delivery d
        WHERE d.endpoint_id = e.id AND d.status = 'PENDING' AND d.next_attempt_at <= now() AND {_FREE}
    )
"""
"""Endpoints that may be sent something now."""

_CLAIM = text(f"""
    WITH ready AS (
        SELECT e.id, e.failures >= {FAILURES_HOLD} AS held, e.recovered_at FROM webhook_endpoint e
        WHERE {_READY}
        ORDER BY e.failures, random() LIMIT :limit
        FOR NO KEY UPDATE OF e SKIP LOCKED
    ), due AS (
        SELECT one.id, e.id AS endpoint_id, e.held FROM ready e CROSS JOIN LATERAL (
            SELECT d.id FROM webhook_delivery d
            WHERE d.endpoint_id = e.id AND d.status = 'PENDING' AND d.next_attempt_at <= now() AND {_FREE}
            AND NOT EXISTS (
                SELECT FROM webhook_delivery p
                WHERE p.endpoint_id = d.endpoint_id AND p.object_id = d.object_id AND p.status = 'PENDING'
                AND p.seq < d.seq AND (
                    e.held OR p.next_attempt_at <= now() OR p.claimed_until > now()
                    OR greatest(d.created_at, e.recovered_at) > now() - {_seconds(EARLIER_WAIT)}
                )
            )
            ORDER BY d.next_attempt_at, d.seq
            LIMIT greatest(0, CASE WHEN e.held THEN 1 ELSE {IN_FLIGHT_MAX} END - (
                SELECT count(*) FROM webhook_delivery f
                WHERE f.endpoint_id = e.id AND f.status = 'PENDING' AND f.claimed_until > now()
            ))
        ) AS one
        LIMIT :limit
    ), probed AS (
        UPDATE webhook_endpoint e SET held_until = now() + {_seconds(PROBE_EVERY)}
        WHERE e.id IN (SELECT endpoint_id FROM due WHERE held)
    ), claimed AS (
        UPDATE webhook_delivery d SET claimed_until = now() + {_seconds(CLAIM)} FROM due
        WHERE d.id = due.id AND d.status = 'PENDING' AND {_FREE}
        RETURNING d.*
    )
    SELECT c.id, c.tenant_id, c.endpoint_id, c.event_id, c.object_id, c.attempts, c.claimed_until, e.url, e.secret,
        CASE WHEN e.old_secret_until > now() THEN e.old_secret END AS old_secret, {_BODY} AS body
    FROM claimed c JOIN webhook_endpoint e ON e.id = c.endpoint_id LEFT JOIN outbox o ON o.seq = c.seq
    ORDER BY c.seq
""")


_DUE = Statement(f"""
    SELECT EXISTS (SELECT FROM webhook_delivery WHERE status = 'PENDING' AND next_attempt_at <= now())
        AND EXISTS (SELECT FROM webhook_endpoint e WHERE {_READY}) AS is_due
""")
"""The second half is for what waits for an endpoint that is held: there is some to the end of its outage."""


async def is_due(database: Database) -> bool:
    """Whether there may be something to claim: asked twice a second by every worker, while a claim costs ten times as
    much. Raises Unavailable."""
    row = await database.one(_DUE)
    return row is not None and bool(row["is_due"])


async def claim(connection: AsyncConnection, limit: int) -> list[Claimed]:
    """Up to `limit` deliveries that nobody else has."""
    rows = (await connection.execute(_CLAIM, {"limit": limit})).mappings()
    return [Claimed(**row) for row in rows]


# --- the outcome ---

_SUCCEEDED = text(f"""
    UPDATE webhook_endpoint SET failures = 0, failing_since = NULL, held_until = NULL,
        recovered_at = CASE WHEN failures >= {FAILURES_HOLD} THEN now() ELSE recovered_at END
    WHERE id = :endpoint AND failures > 0 RETURNING recovered_at = now() AS recovered
""")
_ALL_DUE = text("""
    UPDATE webhook_delivery SET next_attempt_at = now()
    WHERE endpoint_id = :endpoint AND status = 'PENDING' AND next_attempt_at > now()
""")
_FAILED = text(f"""
    UPDATE webhook_endpoint SET failures = failures + 1, failing_since = coalesce(failing_since, now()),
        held_until = CASE WHEN failures + 1 >= {FAILURES_HOLD} THEN now() + {_seconds(PROBE_EVERY)} END
    WHERE id = :endpoint
    RETURNING status = 'ENABLED' AS enabled, failing_since <= now() - {_seconds(FAILING_MAX)} AS too_long
""")
_DISABLE = text("UPDATE webhook_endpoint SET status = 'DISABLED', disabled_because = :why WHERE id = :endpoint")
_ENDED = text("""
    UPDATE webhook_delivery SET status = :status, attempts = attempts + :tried, claimed_until = NULL,
        next_attempt_at = now() + :wait, delivered_at = CASE WHEN :status = 'DELIVERED' THEN now() END
    WHERE id = :id AND status = 'PENDING' AND claimed_until = :claimed_until
""")
_ATTEMPT = text("""
    INSERT INTO webhook_attempt (delivery_id, n, tenant_id, at, address, status_code, latency_ms, error, response)
    SELECT :id, coalesce(max(n), 0) + 1, :tenant, now(), :address, :status_code, :latency_ms, :error, :response
    FROM webhook_attempt WHERE delivery_id = :id
""")


class Lapsed(Exception):
    """The claim had ended before the outcome was written."""


async def record(connection: AsyncConnection, one: Claimed, answer: Answer) -> Outcome:
    """Write an attempt and what follows from it. Raises Lapsed, which is to undo all of it."""
    if answer.delivered:
        await _succeeded(connection, one)
        outcome, status, wait = Outcome.DELIVERED, DeliveryStatus.DELIVERED, timedelta(0)
    else:
        enabled = await _failed(connection, one, answer)
        left = next_attempt_in(one.attempts + 1, answer.retry_after_s)
        wait = left or timedelta(0)
        if not enabled:
            outcome, status = Outcome.SKIPPED, DeliveryStatus.SKIPPED
        elif left is None:
            outcome, status = Outcome.DEAD, DeliveryStatus.DEAD
        else:
            outcome, status = Outcome.FAILED, DeliveryStatus.PENDING
    await _end(connection, one, status, wait, tried=1)
    tried: Mapping[str, Any] = {
        "id": one.id,
        "tenant": one.tenant_id,
        "address": answer.address,
        "status_code": answer.status_code,
        "latency_ms": answer.latency_ms,
        "error": answer.error,
        "response": answer.response,
    }
    await connection.execute(_ATTEMPT, tried)
    if outcome is Outcome.DEAD:
        error_class = "no_answer" if answer.status_code is None else f"http_{answer.status_code}"
        await _bury(connection, one, error_class, answer.error or "", one.attempts + 1)
    return outcome


async def give_up(connection: AsyncConnection, one: Claimed) -> Outcome:
    """The event is no longer kept: it cannot be sent."""
    await _end(connection, one, DeliveryStatus.DEAD, timedelta(0), tried=0)
    await _bury(connection, one, "event_gone", "the event is older than the outbox keeps them", one.attempts)
    return Outcome.DEAD


async def _succeeded(connection: AsyncConnection, one: Claimed) -> None:
    if await connection.scalar(_SUCCEEDED, {"endpoint": one.endpoint_id}):
        await connection.execute(_ALL_DUE, {"endpoint": one.endpoint_id})


async def _failed(connection: AsyncConnection, one: Claimed, answer: Answer) -> bool:
    """Whether the endpoint is still enabled."""
    row = (await connection.execute(_FAILED, {"endpoint": one.endpoint_id})).one()
    if not row.enabled or not (answer.gone or row.too_long):
        return bool(row.enabled)
    why = "gone" if answer.gone else "failing"
    await connection.execute(_DISABLE, {"endpoint": one.endpoint_id, "why": why})
    await skip_pending(connection, one.endpoint_id)
    detail = {"because": why, "delivery": one.id}
    await audit_log.record(connection, one.tenant_id, SYSTEM, "webhook_endpoint.disable", one.endpoint_id, detail)
    event = Event(
        id=new_id("evt"),
        type="webhook_endpoint.disabled",
        tenant_id=one.tenant_id,
        object_id=one.endpoint_id,
        at=datetime.now(UTC),
        data=EndpointData(id=one.endpoint_id, status=EndpointStatus.DISABLED, because=why).model_dump(mode="json"),
    )
    await outbox.add(connection, [event])
    return False


async def _end(
    connection: AsyncConnection, one: Claimed, status: DeliveryStatus, wait: timedelta, *, tried: int
) -> None:
    values = {"id": one.id, "status": status.value, "tried": tried, "wait": wait, "claimed_until": one.claimed_until}
    if (await connection.execute(_ENDED, values)).rowcount == 0:
        raise Lapsed


async def _bury(connection: AsyncConnection, one: Claimed, error_class: str, error: str, attempts: int) -> None:
    about = (one.tenant_id, Source.WEBHOOK_DELIVERIES, one.id, one.object_id)
    await dead_letter.add(connection, NewLetter(*about, error_class, error, attempts))
