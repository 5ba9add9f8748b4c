"""People as an invariant (P14): what was to be forgotten is gone; and a remark on the keys that are in use."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.audit.invariant import Answer, Invariant, Violation
from db.people.person import UNDER_PERSON
from db.people.reseal import MOVED, in_use

_LEFT = f"""
    SELECT p.tenant_id, p.id AS object_id, 'is of somebody forgotten, and still has what tells of them' AS problem
    FROM payment p JOIN person w ON w.tenant_id = p.tenant_id AND w.buyer_id = p.buyer_id
    WHERE w.forgotten_at IS NOT NULL AND p.created_at < w.forgotten_at
      AND (p.buyer_email IS NOT NULL OR p.buyer_phone IS NOT NULL OR octet_length(p.token) > 0 OR p.metadata <> '{{}}'
           OR p.return_url <> '' OR p.card_fingerprint IS NOT NULL OR p.buyer_country IS NOT NULL)
    UNION ALL
    SELECT a.tenant_id, a.person_id, 'is forgotten, and can still be found by an e-mail address'
    FROM person_email a JOIN person w ON w.id = a.person_id WHERE w.key IS NULL
    UNION ALL
    SELECT p.tenant_id, p.id, 'has an e-mail address under a key that is not there'
    FROM payment p LEFT JOIN person w ON w.tenant_id = p.tenant_id AND w.buyer_id = p.buyer_id
    WHERE substr(p.buyer_email, 1, {len(UNDER_PERSON)}) = convert_to('{UNDER_PERSON.decode()}', 'UTF8')
      AND w.key IS NULL
    UNION ALL
    SELECT e.tenant_id, e.id, 'is evidence under a key that is not there'
    FROM dispute_evidence e JOIN dispute d ON d.id = e.dispute_id JOIN payment p ON p.id = d.payment_id
    LEFT JOIN person w ON w.tenant_id = p.tenant_id AND w.buyer_id = p.buyer_id
    WHERE substr(e.fields, 1, {len(UNDER_PERSON)}) = convert_to('{UNDER_PERSON.decode()}', 'UTF8') AND w.key IS NULL
"""


async def _look(connection: AsyncConnection, findings_max: int) -> Answer:
    limited = f"SELECT *, count(*) OVER () AS total FROM ({_LEFT}) AS left_over ORDER BY 1, 2 LIMIT {findings_max:d}"
    found = (await connection.execute(text(limited))).all()
    first = [Violation(row.tenant_id, row.object_id, row.problem) for row in found]
    return Answer(found[0].total if found else 0, first, await _note(connection))


async def _note(connection: AsyncConnection) -> str:
    """The encryption keys that have to stay in the ring, and what an earlier release left to be moved."""
    used = await in_use(connection)
    counts: dict[str, int] = {}
    for keys in used.values():
        for key, count in keys.items():
            counts[key] = counts.get(key, 0) + count
    said = ", ".join(f"{key} ({count})" for key, count in sorted(counts.items())) or "none"
    waiting = sum(sum(used[name].values()) for name in MOVED)
    more = (
        f"; {waiting} values are not under the key of a person yet: `paysaga keys rotate` moves them" if waiting else ""
    )
    return f"Encryption keys in use: {said}{more}."


PEOPLE = (Invariant("P14", "who is forgotten is: nothing that tells of the person is left", "person", _look),)
