"""Notifications that are due, and the outcome of each attempt.

A worker claims one for longer than an attempt takes, commits, sends, and writes the outcome. The claim also writes that
an attempt has begun; only an outcome that says that nothing was sent takes that back. So whoever claims what a killed
worker had knows that it may have been sent.
"""

# ruff: noqa: S608 - what is put into the statements are constants of the code

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import dead_letter
from db.core.database import Database
from db.core.statement import Statement
from db.dead_letter import NewLetter
from db.notification import suppression
from domain.dead_letter import Source
from domain.notification import (
    LOOK_AFTER,
    REPEATABLE,
    Answer,
    ChannelName,
    NotificationStatus,
    SuppressionReason,
    Verdict,
    next_attempt_in,
)

_CLAIM_S = 120
"""Longer than all that an attempt waits for, together."""


@dataclass(frozen=True)
class Claimed:
    """A notification that this process has until `claimed_until`. `begun_before`: when an earlier attempt began of
    which nobody knows whether it sent it; None: there is none."""

    id: str
    tenant_id: str
    seq: int
    type: str
    object_id: str
    recipient: str
    channel: ChannelName
    template: str
    locale: str
    content_sid: str | None
    attempts: int
    begun_before: datetime | None
    claimed_until: datetime


_FREE = "status = 'PENDING' AND next_attempt_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())"
_DUE = Statement(f"SELECT EXISTS (SELECT FROM notification WHERE {_FREE} AND channel = ANY(:channels::text[])) AS due")
_CLAIM = text(f"""
    WITH due AS (
        SELECT id, begun_at FROM notification WHERE {_FREE} AND channel = ANY(:channels)
        ORDER BY next_attempt_at, seq LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE notification n
    SET claimed_until = now() + interval '{_CLAIM_S} s', begun_at = coalesce(n.begun_at, now())
    FROM due WHERE n.id = due.id
    RETURNING n.id, n.tenant_id, n.seq, n.type, n.object_id, n.recipient, n.channel, n.template, n.locale,
        n.content_sid, n.attempts, due.begun_at AS begun_before, n.claimed_until
""")
_WRITE = text("""
    UPDATE notification SET status = :status, attempts = attempts + 1, claimed_until = NULL,
        begun_at = CASE WHEN :sent_nothing THEN CAST(:begun_before AS timestamptz) ELSE begun_at END,
        next_attempt_at = now() + :wait, code = :code, provider_id = coalesce(:provider_id, provider_id),
        suppression_id = :suppression_id, ended_at = CASE WHEN :status <> 'PENDING' THEN now() END
    WHERE id = :id AND status = 'PENDING' AND claimed_until = :claimed_until
""")


class Lapsed(Exception):
    """The claim had ended before the outcome was written."""


async def is_due(database: Database, channels: list[str]) -> bool:
    """Whether there may be something to claim. Raises Unavailable."""
    row = await database.one(_DUE, channels=channels)
    return row is not None and bool(row["due"])


async def claim(connection: AsyncConnection, channels: list[str], limit: int) -> list[Claimed]:
    """Up to `limit` of these channels that nobody else has."""
    rows = (await connection.execute(_CLAIM, {"channels": channels, "limit": limit})).mappings()
    return [Claimed(**{**row, "channel": ChannelName(row["channel"])}) for row in rows]


async def suppressed(connection: AsyncConnection, one: Claimed, code: str, suppression_id: str | None) -> None:
    """Nothing may be sent to the address, or there is none any more. Raises Lapsed."""
    status = NotificationStatus.SUPPRESSED
    await _write(connection, one, status, Answer(Verdict.DECLINED, code), suppression_id=suppression_id)


async def record(connection: AsyncConnection, one: Claimed, answer: Answer, digest: bytes | None) -> NotificationStatus:
    """Write an attempt and what follows from it. `digest`: of the address, under which it is suppressed. Raises
    Lapsed, which is to undo all of it."""
    status, wait = _after(one, answer)
    if answer.suppress is not None and digest is not None:
        await suppression.add(connection, one.tenant_id, one.channel, digest, answer.suppress, answer.code)
        if answer.suppress is SuppressionReason.UNSUBSCRIBED:
            status = NotificationStatus.SUPPRESSED
    await _write(connection, one, status, answer, wait=wait)
    if status in (NotificationStatus.FAILED, NotificationStatus.UNKNOWN):
        await _bury(connection, one, status, answer)
    return status


def _after(one: Claimed, answer: Answer) -> tuple[NotificationStatus, timedelta]:
    """The status after an attempt, and the wait until the next one where that is PENDING."""
    if answer.verdict is Verdict.SENT:
        return NotificationStatus.SENT, timedelta(0)
    if answer.verdict is Verdict.DECLINED:
        return NotificationStatus.FAILED, timedelta(0)
    unknown = answer.verdict is Verdict.UNKNOWN or one.begun_before is not None
    if answer.verdict is Verdict.UNKNOWN and one.channel not in REPEATABLE:
        looked = one.begun_before is not None
        return (NotificationStatus.UNKNOWN, timedelta(0)) if looked else (NotificationStatus.PENDING, LOOK_AFTER)
    wait = next_attempt_in(one.attempts + 1)
    if wait is None:
        return NotificationStatus.UNKNOWN if unknown else NotificationStatus.FAILED, timedelta(0)
    return NotificationStatus.PENDING, wait


async def _write(
    connection: AsyncConnection,
    one: Claimed,
    status: NotificationStatus,
    answer: Answer,
    *,
    wait: timedelta = timedelta(0),
    suppression_id: str | None = None,
) -> None:
    values: dict[str, Any] = {
        "id": one.id,
        "status": status.value,
        "sent_nothing": answer.verdict in (Verdict.DECLINED, Verdict.FAILED),
        "begun_before": one.begun_before,
        "wait": wait,
        "code": answer.code,
        "provider_id": answer.provider_id,
        "suppression_id": suppression_id,
        "claimed_until": one.claimed_until,
    }
    if (await connection.execute(_WRITE, values)).rowcount == 0:
        raise Lapsed


async def _bury(connection: AsyncConnection, one: Claimed, status: NotificationStatus, answer: Answer) -> None:
    error = "it may have been sent, and nothing tells" if status is NotificationStatus.UNKNOWN else "it was not sent"
    told = f"{one.channel} of {one.type}: {error}"
    about = (one.tenant_id, Source.NOTIFICATIONS, one.id, one.object_id)
    letter = NewLetter(*about, answer.code or status.value.lower(), told, one.attempts + 1)
    await dead_letter.add(connection, letter)
