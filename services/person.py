"""People: forgetting a buyer."""

from collections.abc import Mapping
from dataclasses import dataclass

from db import audit_log
from db.core.database import Connection, Database
from db.core.keyring import Keyring
from db.people import forget as people
from domain.errors import Conflict, NotFound
from services.command import Caller

_TIMEOUT_S = 300.0
"""Of one statement: a buyer may have many payments."""


@dataclass(frozen=True)
class Forgotten:
    """A buyer, and the rows that were changed, or would be, by what is in them. `name`: in the place of the buyer's id
    from now on; None: it was a dry run."""

    buyer_id: str
    name: str | None
    rows: Mapping[str, int]


async def look(database: Database, keyring: Keyring, tenant_id: str, person: str) -> list[Forgotten]:
    """The buyers of a tenant that are called so, by their id or an e-mail address, and what `forget` would change.

    Raises NotFound `person_not_found`; Conflict `person_busy`.
    """

    async def work(connection: Connection) -> list[Forgotten]:
        found = []
        for buyer_id in await _found(connection, keyring, tenant_id, person):
            await _require_ended(connection, tenant_id, buyer_id)
            found.append(Forgotten(buyer_id, None, await people.would_go(connection, tenant_id, buyer_id)))
        return found

    return await database.run_long(work, timeout_s=_TIMEOUT_S)


async def forget(database: Database, keyring: Keyring, caller: Caller, tenant_id: str, person: str) -> list[Forgotten]:
    """Destroy the key of the buyers that a tenant calls so, by their id or an e-mail address, and replace what tells of
    them; the audit log says so, without saying who it was. In one transaction: interrupted, it has changed nothing.

    Raises NotFound `person_not_found`, also for one who is forgotten; Conflict `person_busy` while something of the
    person's is under way.
    """

    async def work(connection: Connection) -> list[Forgotten]:
        done = []
        for buyer_id in await _found(connection, keyring, tenant_id, person):
            await people.hold(connection, tenant_id, buyer_id)
            await _require_ended(connection, tenant_id, buyer_id)
            name, rows = await people.erase(connection, tenant_id, buyer_id)
            await audit_log.record(connection, tenant_id, caller.actor, "person.forget", name, dict(rows))
            done.append(Forgotten(buyer_id, name, rows))
        return done

    return await database.run_long(work, timeout_s=_TIMEOUT_S)


async def _found(connection: Connection, keyring: Keyring, tenant_id: str, person: str) -> list[str]:
    found = await people.buyers_of(connection, keyring, tenant_id, person) if person.isprintable() else []
    if not found:
        detail = f"{tenant_id} has no such buyer. A person is named by the shop's id of the buyer or an e-mail address."
        if "@" in person:
            detail += " One that an earlier release stored is found once `paysaga keys rotate` was run."
        raise NotFound(detail, code="person_not_found")
    return found


async def _require_ended(connection: Connection, tenant_id: str, buyer_id: str) -> None:
    busy = await people.under_way(connection, tenant_id, buyer_id)
    if busy:
        what = ", ".join(f"{count} {noun}" for noun, count in busy.items())
        detail = f"Something of this person's is under way ({what}): forget them once it has ended."
        raise Conflict(detail, code="person_busy")
