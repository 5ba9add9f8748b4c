"""Dead letters: listing them, trying them again, discarding them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db import audit_log, dead_letter
from db.core.database import Connection, Database
from db.dead_letter import Wanted
from db.schema.base import PLATFORM_TENANT
from domain.dead_letter import Count, DeadLetter, LetterStatus
from domain.errors import Conflict, NotFound, Unprocessable
from domain.ids import new_id
from domain.limits import Note
from domain.model import Frozen
from services import access
from services.command import Caller, check, once
from services.dead_letter.sources import Payload, handler_of, require_open

if TYPE_CHECKING:
    from db.core.idempotency import Request
    from runtime.wiring import Runtime


@dataclass(frozen=True)
class Shown:
    """A letter with what it was to bring; `payload` None: that is not kept any more."""

    letter: DeadLetter
    payload: Payload | None


@dataclass(frozen=True)
class Ended:
    """A letter after a command, and whether its key had been used before."""

    letter: DeadLetter
    replayed: bool


class Replay(Frozen):
    """The result of a replay of many. `matching`: letters that were open and matched; `refused`: those that cannot be
    tried again now, and stay open; `left`: all that match and are open. `replay_id` None: it was only counted."""

    replay_id: str | None
    matching: int
    replayed: int
    refused: int
    left: int
    counts: tuple[Count, ...]


def _whose(caller: Caller) -> str | None:
    """The tenant whose letters are reached; None: a person reaches all."""
    return None if caller.tenant_id is None else access.whole_tenant(caller)


# --- reading ---


async def page(
    database: Database,
    caller: Caller,
    wanted: Wanted,
    *,
    tenant_id: str | None = None,
    before: str | None = None,
    limit: int,
) -> list[DeadLetter]:
    """The newest first. A person may say whose, with `tenant_id`."""
    whose = _whose(caller) or tenant_id
    return await database.read(lambda c: dead_letter.page(c, whose, wanted, before=before, limit=limit))


async def counts(
    database: Database, caller: Caller, wanted: Wanted | None = None, *, tenant_id: str | None = None
) -> list[Count]:
    """Of those that are open, by source and error class."""
    whose = _whose(caller) or tenant_id
    return await database.read(lambda c: dead_letter.counts(c, whose, wanted or Wanted()))


async def find(database: Database, caller: Caller, letter_id: str) -> DeadLetter:
    """Raises NotFound `dead_letter_not_found`."""
    return await database.read(lambda c: dead_letter.find(c, letter_id, _whose(caller)))


async def show(database: Database, caller: Caller, letter_id: str) -> Shown:
    """Raises NotFound `dead_letter_not_found`."""

    async def read(connection: Connection) -> Shown:
        letter = await dead_letter.find(connection, letter_id, _whose(caller))
        return Shown(letter, await handler_of(letter).payload(connection, letter))

    return await database.read(read)


# --- one ---


async def replay(runtime: Runtime, caller: Caller, letter_id: str, *, request: Request | None = None) -> Ended:
    """Have it tried again under the same id. What it does outside of the database is done again by a repetition under
    the same key.

    Raises NotFound `dead_letter_not_found`; Conflict `dead_letter_closed`, `event_gone`, `endpoint_disabled`;
    Unavailable.
    """
    database = runtime.database
    found = await find(database, caller, letter_id)
    done = await once(database, found.tenant_id, request, found.id, lambda c: _replay(c, caller, found.id))
    letter = await find(database, caller, letter_id)
    if letter.status is LetterStatus.REPLAYED:
        await handler_of(letter).afterwards(runtime, letter, caller.actor)
    return Ended(letter, done.replayed)


async def _replay(connection: Connection, caller: Caller, letter_id: str) -> None:
    letter = await dead_letter.find(connection, letter_id, _whose(caller), lock=True)
    require_open(letter)
    await handler_of(letter).replay(connection, letter, caller.actor)
    await _end(connection, caller, letter, LetterStatus.REPLAYED)


async def discard(
    database: Database, caller: Caller, letter_id: str, reason: str, *, request: Request | None = None
) -> Ended:
    """Leave it as it is, for a reason. Raises NotFound `dead_letter_not_found`; Conflict `dead_letter_closed`;
    Unprocessable `reason_required`, `field_invalid`, `text_invalid`, `card_data_forbidden`."""
    found = await find(database, caller, letter_id)
    check(Note, reason, "reason")
    if not reason.strip():
        raise Unprocessable("Nothing will be done about it: the reason has to say why.", code="reason_required")

    async def work(connection: Connection) -> None:
        letter = await dead_letter.find(connection, found.id, _whose(caller), lock=True)
        require_open(letter)
        await _end(connection, caller, letter, LetterStatus.DISCARDED, reason)

    done = await once(database, found.tenant_id, request, found.id, work)
    return Ended(await find(database, caller, letter_id), done.replayed)


_VERBS = {LetterStatus.REPLAYED: "replay", LetterStatus.DISCARDED: "discard"}


async def _end(
    connection: Connection, caller: Caller, letter: DeadLetter, status: LetterStatus, reason: str | None = None
) -> None:
    await dead_letter.end(connection, letter.source, [letter.ref_id], status, caller.actor, reason)
    await handler_of(letter).ended(connection, letter, caller.actor)
    detail = {"source": letter.source, "ref_id": letter.ref_id, "error_class": letter.error_class}
    detail |= {"reason": reason} if reason is not None else {}
    action = f"dead_letter.{_VERBS[status]}"
    await audit_log.record(connection, letter.tenant_id, caller.actor, action, letter.id, detail)


# --- many ---


async def replay_many(
    runtime: Runtime,
    caller: Caller,
    wanted: Wanted,
    *,
    tenant_id: str | None = None,
    limit: int,
    rate_per_s: float,
    dry_run: bool = False,
    request: Request | None = None,
) -> Replay:
    """Have those that match and are open tried again, the oldest first: `limit` of them at most, and so many a second.
    `dry_run`: only count them. Repeated under its key, it goes on with the same ones. Raises Unavailable."""
    database, whose = runtime.database, _whose(caller) or tenant_id
    found = await counts(database, caller, wanted, tenant_id=tenant_id)
    matching = sum(one.open for one in found)
    if dry_run:
        return Replay(replay_id=None, matching=matching, replayed=0, refused=0, left=matching, counts=tuple(found))

    async def take(connection: Connection) -> None:
        await dead_letter.take(connection, whose, wanted, replay_id, limit)
        detail: dict[str, Any] = {name: str(value) for name, value in vars(wanted).items() if value is not None}
        detail |= {"limit": limit, "rate_per_s": rate_per_s}
        await audit_log.record(
            connection, whose or PLATFORM_TENANT, caller.actor, "dead_letter.replay_many", replay_id, detail
        )

    replay_id = new_id("dlr")
    done = await once(database, whose or PLATFORM_TENANT, request, replay_id, take)
    taken = await database.read(lambda c: dead_letter.taken(c, done.object_id))
    replayed = await _replay_all(runtime, caller, taken, 1 / rate_per_s)
    left = await counts(database, caller, wanted, tenant_id=tenant_id)
    return Replay(
        replay_id=done.object_id,
        matching=matching,
        replayed=replayed,
        refused=len(taken) - replayed,
        left=sum(one.open for one in left),
        counts=tuple(left),
    )


async def _replay_all(runtime: Runtime, caller: Caller, letters: Sequence[DeadLetter], gap_s: float) -> int:
    """Returns the number that is replayed by now."""
    replayed = 0
    for number, letter in enumerate(letters):
        if letter.status is LetterStatus.OPEN:
            await asyncio.sleep(gap_s if number else 0)
            try:
                letter = (await replay(runtime, caller, letter.id)).letter  # noqa: PLW2901 - as it is now
            except (Conflict, NotFound):
                continue  # it cannot be tried now, and stays
        replayed += letter.status is LetterStatus.REPLAYED
    return replayed
