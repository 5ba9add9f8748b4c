"""Dead letters: written where something is given up, listed, and ended by a replay or by whoever discards them."""

# ruff: noqa: S608 - what is put into the statements are constants of the code

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.messages import dead_letter
from domain.dead_letter import Count, DeadLetter, LetterStatus, Source
from domain.errors import NotFound
from domain.ids import is_id, new_id

ADD = "INSERT INTO dead_letter (id, tenant_id, source, ref_id, object_id, error_class, error, attempts)"
AGAIN = """
    ON CONFLICT (source, ref_id) WHERE status = 'OPEN'
    DO UPDATE SET error_class = excluded.error_class, error = excluded.error, last_at = now(),
"""
"""Of what is open already: one letter, with the last error. How attempts are counted differs, and follows."""
ADDED_UP = "attempts = dead_letter.attempts + excluded.attempts"

_ADD = text(f"""
    {ADD} VALUES (:id, :tenant_id, :source, :ref_id, :object_id, :error_class, :error, :attempts)
    {AGAIN} {ADDED_UP}
""")
# Looked at again and again: its attempts are counted elsewhere, and what was ended since the trouble began stays so,
# unless the trouble goes on after a replay.
_TELL = text(f"""
    {ADD} SELECT :id, :tenant_id, :source, :ref_id, :object_id, :error_class, :error, CAST(:attempts AS integer)
    WHERE NOT EXISTS (
        SELECT FROM dead_letter d
        WHERE d.source = :source AND d.ref_id = :ref_id AND d.ended_at >= CAST(:since AS timestamptz)
        AND (d.status = 'DISCARDED' OR NOT CAST(:goes_on AS boolean))
    )
    {AGAIN} attempts = excluded.attempts
""")
_SHOWN = [dead_letter.c[name] for name in DeadLetter.model_fields]


@dataclass(frozen=True)
class NewLetter:
    """A letter to write; `attempts`: how often it was tried since it was last given up."""

    tenant_id: str
    source: Source
    ref_id: str
    object_id: str | None
    error_class: str
    error: str
    attempts: int


@dataclass(frozen=True)
class Wanted:
    """The filters of the list; what is None matches everything. `since` included and `until` not, of the last error."""

    source: Source | None = None
    error_class: str | None = None
    status: LetterStatus | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


# --- writing ---


async def add(connection: AsyncConnection, new: NewLetter) -> None:
    """In the transaction that gives it up."""
    await connection.execute(_ADD, {"id": new_id("dl"), **vars(new)})


async def tell(connection: AsyncConnection, new: NewLetter, since: datetime, *, goes_on: bool) -> None:
    """The same of something that is found to be in trouble since then, or (`goes_on`) still: not again once somebody
    has discarded it, nor, where it does not go on, after a replay. `attempts` is the number in all."""
    await connection.execute(_TELL, {"id": new_id("dl"), **vars(new), "since": since, "goes_on": goes_on})


async def end(
    connection: AsyncConnection,
    source: Source,
    ref_ids: Sequence[str] | Select[Any],
    status: LetterStatus,
    actor: str,
    reason: str | None = None,
) -> None:
    """End those of a source that are open."""
    letter = dead_letter.c
    await connection.execute(
        update(dead_letter)
        .where(letter.source == source, letter.ref_id.in_(ref_ids), letter.status == LetterStatus.OPEN)
        .values(status=status, actor=actor, reason=reason, ended_at=func.now())
    )


# --- reading ---


def _matching(query: Select[Any], tenant_id: str | None, wanted: Wanted) -> Select[Any]:
    """`tenant_id` None: of any tenant."""
    letter = dead_letter.c
    same = {"tenant_id": tenant_id} | {
        name: getattr(wanted, name) for name in ("source", "error_class", "status", "object_id")
    }
    query = query.where(*(letter[name] == value for name, value in same.items() if value is not None))
    if wanted.since is not None:
        query = query.where(letter.last_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(letter.last_at < wanted.until)
    return query


async def page(
    connection: AsyncConnection, tenant_id: str | None, wanted: Wanted, *, before: str | None = None, limit: int
) -> list[DeadLetter]:
    """The newest first; `before`: the id of the one that a page ended with."""
    query = _matching(select(*_SHOWN), tenant_id, wanted).order_by(dead_letter.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(dead_letter.c.id < before)
    return [DeadLetter.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]


async def find(connection: AsyncConnection, letter_id: str, tenant_id: str | None, *, lock: bool = False) -> DeadLetter:
    """`tenant_id` None: of any tenant. Raises NotFound `dead_letter_not_found`."""
    query = _matching(select(*_SHOWN), tenant_id, Wanted()).where(dead_letter.c.id == letter_id)
    query = query.with_for_update() if lock else query
    row = (await connection.execute(query)).mappings().one_or_none() if is_id("dl", letter_id) else None
    if row is None:
        raise NotFound("There is no such dead letter.", code="dead_letter_not_found")
    return DeadLetter.model_validate(dict(row))


async def counts(connection: AsyncConnection, tenant_id: str | None, wanted: Wanted = Wanted()) -> list[Count]:
    """Of those that are open, by source and error class."""
    letter = dead_letter.c
    query = select(
        letter.source, letter.error_class, func.count().label("open"), func.min(letter.first_at).label("oldest_at")
    )
    query = _matching(query, tenant_id, wanted).where(letter.status == LetterStatus.OPEN)
    query = query.group_by(letter.source, letter.error_class).order_by(letter.source, letter.error_class)
    return [Count.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]


async def open_of(connection: AsyncConnection, source: Source) -> list[DeadLetter]:
    """All of a source that are open."""
    query = _matching(select(*_SHOWN), None, Wanted(source=source, status=LetterStatus.OPEN))
    return [DeadLetter.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]


# --- many at once ---


async def take(connection: AsyncConnection, tenant_id: str | None, wanted: Wanted, replay_id: str, limit: int) -> None:
    """Set the first ones that match and are open aside for a replay, the oldest first."""
    letter = dead_letter.c
    first = _matching(select(letter.id), tenant_id, wanted).where(letter.status == LetterStatus.OPEN)
    first = first.order_by(letter.id).limit(limit)
    await connection.execute(update(dead_letter).where(letter.id.in_(first)).values(replay_id=replay_id))


async def taken(connection: AsyncConnection, replay_id: str) -> list[DeadLetter]:
    """Those of a replay, the oldest first: open ones are still to be replayed."""
    query = select(*_SHOWN).where(dead_letter.c.replay_id == replay_id).order_by(dead_letter.c.id)
    return [DeadLetter.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]
