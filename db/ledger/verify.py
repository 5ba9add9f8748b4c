"""Verifying the seal: the chain computed anew from what the ledger says now, block by block (see `db.ledger.seal`)."""

# ruff: noqa: S608 - what is put into the queries are constants of these files

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger.seal import DIGEST, DIGESTS, POSTING, TRANSACTION, WAITING, WHOLE, postings
from db.schema.base import PLATFORM_TENANT
from domain.seal import GENESIS, Head

_BLOCKS_AT_ONCE = 25
"""Of one query; a page of the ledger's rows is all that is read at a time."""

_PAGE = text(f"""
    SELECT min(no) AS first, max(no) AS last
    FROM (SELECT no FROM ledger_seal WHERE no > :after ORDER BY no LIMIT {_BLOCKS_AT_ONCE}) AS page
""")

# A posting of another month than its transaction's would be a forgery, so they are looked for in all of them.
_COMPARE = text(f"""
    WITH rows AS (
        SELECT r.seal_no, r.seq, {WHOLE} AS whole, r.seq = t.seq AND r.digests = {DIGESTS} AS intact
        FROM ledger_seal_row r
        LEFT JOIN ledger_transaction t ON t.id = r.transaction_id
        CROSS JOIN LATERAL (SELECT CASE WHEN t.id IS NOT NULL THEN {TRANSACTION} END AS own) AS o
        CROSS JOIN LATERAL ({postings("p.transaction_id = t.id")}) AS x
        WHERE r.seal_no BETWEEN :first AND :last
    ), blocks AS (
        SELECT seal_no, count(*) AS found, bool_and(coalesce(intact, false)) AS intact,
               coalesce(string_agg(whole, ''::bytea ORDER BY seq), ''::bytea) AS hashes
        FROM rows GROUP BY seal_no
    )
    SELECT s.no, s.transactions, s.previous, s.hash, coalesce(b.found, 0) AS found, coalesce(b.intact, true) AS intact,
           sha256(s.previous || int8send(s.no) || coalesce(b.hashes, ''::bytea)) AS computed
    FROM ledger_seal s LEFT JOIN blocks b ON b.seal_no = s.no WHERE s.no BETWEEN :first AND :last ORDER BY s.no
""")

_ROWS_OF = text(f"""
    SELECT r.transaction_id, r.seq AS sealed_seq, r.digests AS sealed, t.id, t.seq, t.tenant_id, t.kind, t.source_id,
           substr(CASE WHEN t.id IS NOT NULL THEN {TRANSACTION} END, 1, {DIGEST}) AS own
    FROM ledger_seal_row r LEFT JOIN ledger_transaction t ON t.id = r.transaction_id
    WHERE r.seal_no = :no ORDER BY r.seq
""")

_LINES_OF = text(f"""
    SELECT p.transaction_id, p.seq, p.account, p.currency, p.amount, substr({POSTING}, 1, {DIGEST}) AS digest
    FROM ledger_posting p JOIN ledger_seal_row r ON r.transaction_id = p.transaction_id
    WHERE r.seal_no = :no ORDER BY p.seq
""")

# Numbers that are missing between two blocks, and those that only the rows of their transactions still name.
_GAPS = text("""
    SELECT first, last, (SELECT count(*) FROM ledger_seal_row WHERE seal_no BETWEEN first AND last) AS transactions
    FROM (
        SELECT lag(no, 1, 0::bigint) OVER (ORDER BY no) + 1 AS first, no - 1 AS last FROM ledger_seal
        UNION ALL
        SELECT blocks.last + 1, rows.last
        FROM (SELECT coalesce(max(no), 0) AS last FROM ledger_seal) AS blocks,
             (SELECT coalesce(max(seal_no), 0) AS last FROM ledger_seal_row) AS rows
    ) AS gaps
    WHERE first <= last ORDER BY first
""")

_LEFT_OUT = text("""
    SELECT t.id, t.tenant_id, t.kind, t.source_id, count(*) OVER () AS total
    FROM ledger_transaction t
    WHERE t.seq <= :seq AND NOT EXISTS (SELECT FROM ledger_seal_row r WHERE r.transaction_id = t.id)
    ORDER BY t.seq LIMIT :limit
""")


@dataclass(frozen=True)
class Broken:
    """One thing that is not as it was sealed: a transaction by its id, or a block as `block NO`."""

    tenant_id: str
    object_id: str
    problem: str


@dataclass
class Verified:
    """The result of a verification. `broken` are the first of all `violations`; `waiting` transactions are not
    sealed yet, the oldest of them since `waiting_since`."""

    blocks: int = 0
    transactions: int = 0
    head: Head | None = None
    violations: int = 0
    broken: list[Broken] = field(default_factory=list)
    waiting: int = 0
    waiting_since: datetime | None = None


Progress = Callable[[int, int], None]
"""(blocks that were looked at, blocks that there are)."""


async def verify(
    connection: AsyncConnection,
    *,
    expected: Head | None = None,
    broken_max: int = 100,
    progress: Progress | None = None,
) -> Verified:
    """Compute the chain again from what the ledger says now, in the caller's snapshot; a page of blocks at a time.

    `expected`: a head that was written down elsewhere, through which the chain has to lead. Of what is broken,
    `broken_max` are named and all are counted.
    """
    search = _Search(connection, broken_max)
    blocks = await connection.scalar(text("SELECT count(*) FROM ledger_seal")) or 0
    before = Head(no=0, hash=GENESIS.hex())
    while True:
        page = (await connection.execute(_PAGE, {"after": before.no})).mappings().one()
        if page["first"] is None:
            break
        for row in (await connection.execute(_COMPARE, dict(page))).all():
            before = await search.block(row, before)
        if progress is not None:
            progress(search.found.blocks, blocks)
    search.found.head = before if before.no else None
    await search.outside_blocks(expected)
    return search.found


class _Search:
    """One verification: `found` is what is broken, as far as it has looked."""

    def __init__(self, connection: AsyncConnection, broken_max: int) -> None:
        self._connection = connection
        self._broken_max = broken_max
        self.found = Verified()

    def _note(self, object_id: str, problem: str, tenant_id: str | None = None) -> None:
        self.found.violations += 1
        if len(self.found.broken) < self._broken_max:
            self.found.broken.append(Broken(tenant_id or PLATFORM_TENANT, object_id, problem))

    async def block(self, row: Any, before: Head) -> Head:
        """Compare a block with the ledger and with the one before it."""
        name = f"block {row.no}"
        self.found.blocks += 1
        self.found.transactions += row.found
        if row.no == before.no + 1 and row.previous.hex() != before.hash:
            self._note(name, f"does not follow from block {before.no}: the chain was broken or written anew here")
        if row.found != row.transactions:
            self._note(name, f"sealed {row.transactions} transactions, and says of {row.found} which they are")
        if row.computed == row.hash and not row.intact:
            self._note(name, "has other digests of its transactions than it was sealed with")
        elif row.computed != row.hash:
            await self._look_into(row, known=row.found != row.transactions)
        return Head(no=row.no, hash=row.hash.hex())

    async def _look_into(self, block: Any, *, known: bool) -> None:
        """Note which rows of a block were changed. `known`: why it differs is said already."""
        seen = self.found.violations
        lines: dict[str, list[Any]] = {}
        for line in (await self._connection.execute(_LINES_OF, {"no": block.no})).all():
            lines.setdefault(line.transaction_id, []).append(line)
        for row in (await self._connection.execute(_ROWS_OF, {"no": block.no})).all():
            self._transaction(row, lines.get(row.transaction_id, []), block.no)
        if self.found.violations == seen and not known:
            self._note(f"block {block.no}", "was changed: its hash is not that of its transactions")

    def _transaction(self, row: Any, lines: list[Any], block_no: int) -> None:
        if row.id is None:
            self._note(row.transaction_id, f"was sealed in block {block_no}, and is gone")
            return
        digests = [row.sealed[i : i + DIGEST] for i in range(0, len(row.sealed), DIGEST)]
        what = f"{row.kind} of {row.source_id}"
        if row.own != digests[0] or row.seq != row.sealed_seq:
            self._note(row.id, f"{what}: its own row was changed after it was sealed", row.tenant_id)
        for change in _changes(digests[1:], lines):
            self._note(row.id, f"{what}: {change}", row.tenant_id)

    async def outside_blocks(self, expected: Head | None) -> None:
        """Note what no block leads to: what is missing, what was slipped in, what waits; and the head to be met."""
        for row in (await self._connection.execute(_GAPS)).all():
            name = f"block {row.first}" if row.first == row.last else f"blocks {row.first} to {row.last}"
            self._note(name, f"gone from the chain; {row.transactions} transactions were sealed there")
        seq = await self._connection.scalar(text("SELECT coalesce(max(seq), 0) FROM ledger_seal_row"))
        left_out = await self._connection.execute(_LEFT_OUT, {"seq": seq, "limit": self._broken_max})
        total = 0
        for row in left_out.all():
            total = row.total
            problem = f"{row.kind} of {row.source_id} is in no block, though later ones are sealed"
            self._note(row.id, f"{problem}: slipped in, or its seal is gone", row.tenant_id)
        self.found.violations += max(0, total - self._broken_max)
        waiting = (await self._connection.execute(WAITING, {"seq": seq})).one()
        self.found.waiting, self.found.waiting_since = waiting.transactions, waiting.oldest
        if expected is not None:
            await self._meet(expected)

    async def _meet(self, expected: Head) -> None:
        found = await self._connection.scalar(text("SELECT hash FROM ledger_seal WHERE no = :no"), {"no": expected.no})
        if found is None:
            self._note(f"block {expected.no}", "was the head of the chain when it was written down, and is not there")
        elif found.hex() != expected.hash:
            problem = f"was {expected.hash} when it was written down, and is {found.hex()}: the chain was written anew"
            self._note(f"block {expected.no}", problem)


def _changes(sealed: list[bytes], lines: list[Any]) -> list[str]:
    """Differences of a transaction's postings from what was sealed; `lines` as they are now, both by seq."""
    if len(sealed) == len(lines):
        pairs = zip(sealed, lines, strict=True)
        return [f"{_line(line)} now, and was changed after it was sealed" for old, line in pairs if old != line.digest]
    added = [line for line in lines if line.digest not in sealed]
    kept = {line.digest for line in lines}
    removed = [place for place, digest in enumerate(sealed, 1) if digest not in kept]
    return [
        *(f"{_line(line)}, and was added or changed after it was sealed" for line in added),
        *(f"posting {place} of {len(sealed)} that were sealed is gone" for place in removed),
    ]


def _line(line: Any) -> str:
    return f"posting {line.seq} to {line.account} is {line.amount} {line.currency}"
