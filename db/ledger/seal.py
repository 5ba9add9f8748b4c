"""The seal of the ledger: blocks of hashes in a chain, so that a change of what is sealed shows (invariant I13).

**What is covered.** Every column of a transaction and of its postings but `ledger_transaction.xact`, which is the
business of one PostgreSQL cluster: a restore may change it. A row's bytes are its fields in the order of
`TRANSACTION` and `POSTING`, each as `length:text` with the length in characters, or `-` for null, after the tag `t1`
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

**Who hears of it.** Each block is told with its transactions, as events `ledger.sealed` (`sealed_event.py`), for those
who keep books of their own.
"""

# ruff: noqa: S608 - what is put into the queries are constants of this file

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, DateTime, LargeBinary, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger import sealed_event
from db.month import OF_TRANSACTION
from domain.seal import GENESIS, Head

BLOCK_MAX = 1000
"""Transactions of a block."""

_LOCK = 0x7061_7973_6561_6C01
"""Two who seal at once would fork the chain: PostgreSQL's advisory lock of this number lets one in."""
_WRITERS_PATIENCE_S = 1.0
_LOOK_S = 0.01
DIGEST = 8
"""Bytes of a row's hash that are kept."""


def _field(column: str, *, is_text: bool = True) -> str:
    value = column if is_text else f"({column})::text"
    return f"coalesce(length({value}) || ':' || {value}, '-')"


def _hash(tag: str, *fields: str) -> str:
    return f"sha256(convert_to('{tag}' || {' || '.join(fields)}, 'UTF8'))"


TRANSACTION = _hash(
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
POSTING = _hash(
    "p1",
    _field("p.seq", is_text=False),
    _field("p.tenant_id"),
    _field("p.account"),
    _field("p.currency"),
    _field("p.amount", is_text=False),
)


def postings(condition: str) -> str:
    """A query for the hashes of the postings `p` that the condition says are those of `t`."""
    return f"""
    SELECT string_agg(hash, ''::bytea ORDER BY seq) AS hashes,
           string_agg(substr(hash, 1, {DIGEST}), ''::bytea ORDER BY seq) AS digests
    FROM (SELECT p.seq, {POSTING} AS hash FROM ledger_posting p WHERE {condition}) AS lines
    """


WHOLE = "sha256(own || coalesce(hashes, ''::bytea))"
DIGESTS = f"substr(own, 1, {DIGEST}) || coalesce(x.digests, ''::bytea)"


@dataclass(frozen=True)
class Sealed:
    """The result of one call. `more`: there may be more to seal. `held_up`: see `domain.seal.SealReport`."""

    transactions: int = 0
    blocks: int = 0
    head: Head | None = None
    more: bool = False
    held_up: int = 0


# --- sealing ---

WAITING = text("SELECT count(*) AS transactions, min(at) AS oldest FROM ledger_transaction WHERE seq > :seq")

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
        SELECT t.id, t.seq, t.at, {WHOLE} AS whole, {DIGESTS} AS digests
        FROM (SELECT * FROM ledger_transaction WHERE seq > :after AND seq <= :upto ORDER BY seq LIMIT :size) AS t
        CROSS JOIN LATERAL (SELECT {TRANSACTION} AS own) AS o
        CROSS JOIN LATERAL ({postings(OF_TRANSACTION)}) AS x
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
    ), sums AS (
        INSERT INTO ledger_balance AS known (tenant_id, account, currency, period, starts_on, amount)
        SELECT p.tenant_id, p.account, p.currency, length.period,
               date_trunc(length.period, t.at AT TIME ZONE 'UTC')::date, sum(p.amount)
        FROM batch t JOIN ledger_posting p ON {OF_TRANSACTION}
        CROSS JOIN (VALUES ('day'), ('month')) AS length (period)
        GROUP BY 1, 2, 3, 4, 5
        ON CONFLICT (tenant_id, account, currency, period, starts_on)
            DO UPDATE SET amount = known.amount + excluded.amount
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
        last = Head(no=values["no"], hash=made.hash.hex())
        await sealed_event.add(connection, last.no, after, made.last, at)
        after = made.last
        transactions, blocks = transactions + made.transactions, blocks + 1


async def head(connection: AsyncConnection) -> Head | None:
    """The last block, or None while nothing is sealed."""
    return (await _end(connection))[0]


async def waiting(connection: AsyncConnection) -> int:
    """The number of transactions that are not sealed yet."""
    _, seq = await _end(connection)
    return int((await connection.execute(WAITING, {"seq": seq})).one().transactions)


async def end(connection: AsyncConnection) -> int:
    """The number of the last transaction that is sealed; 0: none is."""
    return (await _end(connection))[1]


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
