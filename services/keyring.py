"""The keys of the ring: encrypting again what is stored under older ones."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from db.core.database import Connection, Database
from db.core.keyring import Keyring, Undecryptable
from db.people import reseal
from domain.errors import Conflict

_PASSES_MAX = 10
_PAUSE_S = 0.5
_COUNT_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Rotated:
    """`done`: `table.column` → values that were encrypted again; `in_use`: as `in_use` says afterwards."""

    current: str
    done: Mapping[str, int]
    in_use: Mapping[str, Mapping[str, int]]

    @property
    def left(self) -> Mapping[str, int]:
        """Key id → values that are still under it, of keys that are not the current one."""
        return {key: count for key, count in by_key(self.in_use).items() if key != self.current}


async def rotate(database: Database, keyring: Keyring) -> Rotated:
    """Encrypt everything again that is stored under an older key of the ring, and move what is known of people under
    keys of theirs. Batches in transactions of their own: stopped, it goes on where it was, and payments run meanwhile.
    Rows that somebody writes to are left for another pass.

    Raises Conflict `key_missing` where a key is in use that the ring does not have.
    """
    done: Counter[str] = Counter()
    for number in range(_PASSES_MAX):
        if number:
            await asyncio.sleep(_PAUSE_S)
        for name, batch in reseal.batches().items():
            done[name] += await _through(database, keyring, batch)
        used = await in_use(database)
        if by_key(used).keys() <= {keyring.current} and not any(used[name] for name in reseal.MOVED):
            break
    return Rotated(keyring.current, done, used)


async def _through(database: Database, keyring: Keyring, batch: reseal.Batch) -> int:
    """The number of rows of all batches of one pass."""
    done, after = 0, ""
    while True:

        async def work(connection: Connection, after: str = after) -> list[str]:
            return await batch(connection, keyring, after)

        try:
            rows = await database.run_patiently(work)
        except Undecryptable as error:
            detail = f"A stored value cannot be read: {error}. Put the key back at the end of PAYSAGA_ENCRYPTION_KEYS."
            raise Conflict(detail, code="key_missing") from error
        if not rows:
            return done
        done, after = done + len(rows), rows[-1]


async def in_use(database: Database) -> Mapping[str, Mapping[str, int]]:
    """`table.column` → key id of the ring → number of values under it."""
    return await database.run_long(reseal.in_use, timeout_s=_COUNT_TIMEOUT_S)


def by_key(used: Mapping[str, Mapping[str, int]]) -> Mapping[str, int]:
    """Key id of the ring → number of values under it, of all columns."""
    counts: Counter[str] = Counter()
    for keys in used.values():
        counts.update(keys)
    return counts
