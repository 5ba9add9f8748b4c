"""The seal of the ledger: blocks of hashes in a chain, so that a change of what is sealed shows (invariant I13).

**What is covered.** Every column of a transaction and of its postings but `ledger_transaction.xact`, which is the
business of one PostgreSQL cluster: a restore may change it. A row's bytes are its fields in the order of
`_TRANSACTION` and `_POSTING`, each as `length:text` with the length in characters, or `-` for null, after the tag `t1`
or `p1`, in UTF-8; numbers are decimal, times are microseconds since 1970 in UTC. Then, with ‖ for concatenation:

    row          = SHA-256(bytes)                                   of a transaction's own row, of each posting
    transaction  = SHA-256(row ‖ row of each posting, by seq)
    block        = SHA-256(previous block ‖ no, 8 bytes, big-endian ‖ transactions, by seq)

The block before the first is 32 zero bytes. `ledger_seal_row.digests` keeps the first 8 bytes of each row's hash,
which say which row of a block was changed; the block's own hash covers all 32.

**What it proves.** That nothing of what is sealed was changed, as long as the chain itself was not. Who owns the
database can write the whole chain anew: so its head (`NO:HASH`) is printed by `paysaga ledger seal` and `paysaga
audit`, to be kept where that person has no access, and `--head` of `paysaga audit` and `paysaga ledger verify` checks
that the chain still leads through it. What is not sealed yet is not promised at all.

**In which order.** Strictly by `seq`, though sequences commit out of order: what is below a visible `seq` and not
visible itself belongs to a database transaction that still runs, or never will be there. Such a writer holds its lock
on the table until it has ended, so it is enough to wait for those who hold it now, a few milliseconds as a rule; new
ones are not held up. What is sealed is therefore all there is up to the last sealed `seq`: the next run begins
behind it and reads no history, a transaction that turns up below it is a forgery, and no transaction id is compared,
which start again when a database is restored into another cluster.

The hashes are computed by PostgreSQL and only those of blocks leave it: a million transactions with three postings
each are verified in half a minute on one core, two thirds of the time that it takes to read and hash the rows here,
and nothing but a page of blocks is in memory.
"""

# ruff: noqa: S608 - what is put into the queries are constants of this file

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, LargeBinary, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.base import PLATFORM_TENANT
from domain.seal import GENESIS, Head

BLOCK_MAX = 1000
"""Transactions of a block."""

_LOCK = 0x7061_7973_6561_6C01
"""Two who seal at once would fork the chain: PostgreSQL's advisory lock of this number lets one in."""
_WRITERS_PATIENCE_S = 1.0
_LOOK_S = 0.01
_DIGEST = 8


def _field(column: str, *, is_text: bool = True) -> str:
    value = column if is_text else f"({column})::text"
    return f"coalesce(length({value}) || ':' || {value}, '-')"


def _hash(tag: str, *fields: str) -> str:
    return f"sha256(convert_to('{tag}' || {' || '.join(fields)}, 'UTF8'))"


_TRANSACTION = _hash(
    "t1",
    _field("t.id"),
    _field("t.seq", is_text=False),
    _field("t.tenant_id"),
    _field("t.kind"),
    _field("t.source_id"),
    _field("t.payment_id"),
    _field("t.order_id"),
    _field("t.corrects"),
    _field("(extract(epoch FROM t.at) * 1000000)::bigint", is_text=False),
)
_POSTING = _hash(
    "p1",
    _field("p.seq", is_text=False),
    _field("p.tenant_id"),
    _field("p.account"),
    _field("p.currency"),
    _field("p.amount", is_text=False),
)

_POSTINGS = f"""
    SELECT string_agg(hash, ''::bytea ORDER BY seq) AS hashes,
           string_agg(substr(hash, 1, {_DIGEST}), ''::bytea ORDER BY seq) AS digests
    FROM (SELECT p.seq, {_POSTING} AS hash FROM ledger_posting p WHERE p.transaction_id = t.id) AS lines
"""
_WHOLE = "sha256(own || coalesce(hashes, ''::bytea))"
_DIGESTS = f"substr(own, 1, {_DIGEST}) || coalesce(x.digests, ''::bytea)"


@dataclass(frozen=True)
class Sealed:
    """What one call sealed. `more`: there may be more to seal. `held_up`: see `domain.seal.SealReport`."""

    transactions: int = 0
    blocks: int = 0
    head: Head | None = None
    more: bool = False
    held_up: int = 0


# --- sealing ---

_UP_TO = text("""
    SELECT max(seq) FROM (SELECT seq FROM ledger_transaction WHERE seq > :after ORDER BY seq LIMIT :limit) AS next
""")

# A prepared transaction has no process of its own. One that still waits for the lock has no number of a row yet.
_WRITERS = text("""
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'ledger_transaction'::regclass AND mode = 'RowExclusiveLock' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND pid IS DISTINCT FROM pg_backend_pid()
""")

_BLOCK = text(f"""
    WITH batch AS (
        SELECT t.id, t.seq, {_WHOLE} AS whole, {_DIGESTS} AS digests
        FROM (SELECT * FROM ledger_transaction WHERE seq > :after AND seq <= :upto ORDER BY seq LIMIT :size) AS t
        CROSS JOIN LATERAL (SELECT {_TRANSACTION} AS own) AS o
        CROSS JOIN LATERAL ({_POSTINGS}) AS x
    ), content AS (
        SELECT count(*) AS transactions, max(seq) AS last, string_agg(whole, ''::bytea ORDER BY seq) AS hashes
        FROM batch
    ), block AS (
        INSERT INTO ledger_seal (no, transactions, previous, hash, at)
        SELECT :no, transactions, :previous, sha256(:previous || int8send(:no) || hashes), :at
        FROM content WHERE transactions > 0
        RETURNING hash
    ), kept AS (
        INSERT INTO ledger_seal_row (transaction_id, seal_no, seq, digests) SELECT id, :no, seq, digests FROM batch
    )
    SELECT block.hash, content.transactions, content.last FROM block CROSS JOIN content
""").bindparams(
    bindparam("no", type_=BigInteger),
    bindparam("previous", type_=LargeBinary),
    bindparam("at", type_=DateTime(timezone=True)),
)


async def seal(connection: AsyncConnection, at: datetime, limit: int) -> Sealed:
    """Seal up to `limit` of the committed transactions that are not sealed yet, oldest number first.

    `at` is the time that the blocks bear. Raises LockTimeout while somebody else seals.
    """
    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    last, after = await _end(connection)
    upto = await connection.scalar(_UP_TO, {"after": after, "limit": limit})
    if upto is None:
        return Sealed(head=last)
    held_up = await _await_writers(connection)
    if held_up:
        return Sealed(head=last, held_up=held_up)
    transactions = blocks = 0
    while True:
        values = {
            "after": after,
            "upto": upto,
            "size": BLOCK_MAX,
            "no": last.no + 1 if last else 1,
            "previous": bytes.fromhex(last.hash) if last else GENESIS,
            "at": at,
        }
        made = (await connection.execute(_BLOCK, values)).one_or_none()
        if made is None:
            return Sealed(transactions, blocks, last, more=transactions >= limit)
        last, after = Head(no=values["no"], hash=made.hash.hex()), made.last
        transactions, blocks = transactions + made.transactions, blocks + 1


async def head(connection: AsyncConnection) -> Head | None:
    """The last block, or None while nothing is sealed."""
    return (await _end(connection))[0]


async def waiting(connection: AsyncConnection) -> int:
    """How many transactions are not sealed yet."""
    _, seq = await _end(connection)
    return int((await connection.execute(_WAITING, {"seq": seq})).one().transactions)


async def _end(connection: AsyncConnection) -> tuple[Head | None, int]:
    """The last block and the number of the last transaction in it: everything up to there is sealed."""
    row = (
        await connection.execute(
            text("""
                SELECT no, hash, (SELECT max(seq) FROM ledger_seal_row WHERE seal_no = no) AS seq
                FROM ledger_seal ORDER BY no DESC LIMIT 1
            """)
        )
    ).one_or_none()
    return (None, 0) if row is None else (Head(no=row.no, hash=row.hash.hex()), row.seq or 0)


async def _await_writers(connection: AsyncConnection) -> int:
    """Wait for those who are posting at this moment; how many of them have not ended within our patience."""
    waited_for = set((await connection.execute(_WRITERS)).scalars())
    deadline = time.monotonic() + _WRITERS_PATIENCE_S
    while waited_for and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_S)
        waited_for &= set((await connection.execute(_WRITERS)).scalars())
    return len(waited_for)


# --- verifying ---

_BLOCKS_AT_ONCE = 25
"""Of one query; a page of the ledger's rows is all that is read at a time."""

_PAGE = text(f"""
    SELECT min(no) AS first, max(no) AS last
    FROM (SELECT no FROM ledger_seal WHERE no > :after ORDER BY no LIMIT {_BLOCKS_AT_ONCE}) AS page
""")

_COMPARE = text(f"""
    WITH rows AS (
        SELECT r.seal_no, r.seq, {_WHOLE} AS whole, r.seq = t.seq AND r.digests = {_DIGESTS} AS intact
        FROM ledger_seal_row r
        LEFT JOIN ledger_transaction t ON t.id = r.transaction_id
        CROSS JOIN LATERAL (SELECT CASE WHEN t.id IS NOT NULL THEN {_TRANSACTION} END AS own) AS o
        CROSS JOIN LATERAL ({_POSTINGS}) AS x
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
           substr(CASE WHEN t.id IS NOT NULL THEN {_TRANSACTION} END, 1, {_DIGEST}) AS own
    FROM ledger_seal_row r LEFT JOIN ledger_transaction t ON t.id = r.transaction_id
    WHERE r.seal_no = :no ORDER BY r.seq
""")

_LINES_OF = text(f"""
    SELECT p.transaction_id, p.seq, p.account, p.currency, p.amount, substr({_POSTING}, 1, {_DIGEST}) AS digest
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

_WAITING = text("SELECT count(*) AS transactions, min(at) AS oldest FROM ledger_transaction WHERE seq > :seq")


@dataclass(frozen=True)
class Broken:
    """One thing that is not as it was sealed: a transaction by its id, or a block as `block NO`."""

    tenant_id: str
    object_id: str
    problem: str


@dataclass
class Verified:
    """What the chain says of the ledger. `broken` are the first of all `violations`; `waiting` transactions are not
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
    await search.rest(expected)
    return search.found


class _Search:
    """What is broken, as far as one has looked."""

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
        """Which rows of it were changed. `known`: why it differs is said already."""
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
        digests = [row.sealed[i : i + _DIGEST] for i in range(0, len(row.sealed), _DIGEST)]
        what = f"{row.kind} of {row.source_id}"
        if row.own != digests[0] or row.seq != row.sealed_seq:
            self._note(row.id, f"{what}: its own row was changed after it was sealed", row.tenant_id)
        for change in _changes(digests[1:], lines):
            self._note(row.id, f"{what}: {change}", row.tenant_id)

    async def rest(self, expected: Head | None) -> None:
        """What no block leads to: what is missing, what was slipped in, what waits; and the head to be met."""
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
        waiting = (await self._connection.execute(_WAITING, {"seq": seq})).one()
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
    """What became of a transaction's postings since they were sealed; `lines` as they are now, both by seq."""
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
