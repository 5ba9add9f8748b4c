"""The seal of the ledger as an invariant (I13): what was sealed is as it was."""

from sqlalchemy.ext.asyncio import AsyncConnection

from db.audit.invariant import Answer, Finder, Invariant, Violation
from db.ledger.verify import Verified, verify
from domain.seal import Head

SEAL_CODE = "I13"


def seal_invariant(expected: Head | None = None) -> Invariant:
    """`expected`: a head of the chain that was written down elsewhere."""
    return Invariant(
        SEAL_CODE, "the seal of the ledger is whole: nothing in it was changed", "ledger_seal_row", _look(expected)
    )


def _look(expected: Head | None) -> Finder:
    async def look(connection: AsyncConnection, findings_max: int) -> Answer:
        found = await verify(connection, expected=expected, broken_max=findings_max)
        first = [Violation(broken.tenant_id, broken.object_id, broken.problem) for broken in found.broken]
        return Answer(found.violations, first, note(found))

    return look


def note(found: Verified) -> str:
    """The head of the chain, to be written down elsewhere, and how much waits for the next seal: what is not sealed is
    not promised, and no violation."""
    head = f"The head of the seal is {found.head}" if found.head else "Nothing is sealed"
    if not found.waiting:
        return f"{head}; nothing waits for the next one."
    since = f"{found.waiting_since:%Y-%m-%d %H:%M:%S} UTC"
    return f"{head}; {found.waiting} transactions wait for the next one, the oldest since {since}."
