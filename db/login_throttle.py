"""Tries to log in, counted where every process sees them, in a table that cannot grow: a row is a bucket of a hash."""

import hashlib
import hmac

from sqlalchemy import BigInteger, Interval, case, cast, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.operator import login_throttle as table
from domain.login import Guessing

_BUCKETS = 65_536


def bucket_of(key: bytes, text: str) -> int:
    """A bucket that nobody can choose without the key."""
    return int.from_bytes(hmac.digest(key, text.encode(), hashlib.sha256)[:4]) % _BUCKETS


async def attempt(
    connection: AsyncConnection, kind: str, bucket: int, limit: Guessing, *, waits: bool = True
) -> float | None:
    """Count a try before it is made, so that many at once are as many. Returns None if it may be made, else the seconds
    until the next one may; with `waits` False it always may."""
    now, c = func.clock_timestamp(), table.c
    forgotten = func.floor(func.extract("epoch", now - c.tried_at) / limit.forget_s)
    tries = cast(func.greatest(c.tries - forgotten, 0) + 1, BigInteger)
    wait_s = case(
        (tries > limit.free, func.least(limit.wait_max_s, func.power(2.0, func.least(tries - limit.free, 20)))), else_=0
    )
    counted = await connection.scalar(
        upsert(table)
        .values(kind=kind, bucket=bucket, tries=1)
        .on_conflict_do_update(
            index_elements=["kind", "bucket"],
            set_={"tries": tries, "tried_at": now, "open_at": now + wait_s * literal("1 second").cast(Interval)},
            where=c.open_at <= now if waits else None,
        )
        .returning(c.tries)
    )
    if counted is not None:
        return None
    left = func.extract("epoch", c.open_at - now)
    return float(await connection.scalar(select(left).where(c.kind == kind, c.bucket == bucket)) or 0.0)


async def succeeded(connection: AsyncConnection, address: int, name: int) -> None:
    """Forget this try of an address, and all of a name."""
    for kind, bucket, tries in (("address", address, func.greatest(table.c.tries - 1, 0)), ("name", name, 0)):
        await connection.execute(
            update(table)
            .where(table.c.kind == kind, table.c.bucket == bucket)
            .values(tries=tries, open_at=func.clock_timestamp())
        )
