"""Settlement files and bank statements that were uploaded: kept byte by byte, so that any worker can read them.

The bytes name people and may have card numbers in them, so they are encrypted, each chunk bound to its file and number.
In clear are the name (card data in it is refused), the size and the digest.
"""

import hashlib
from collections.abc import AsyncIterator

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log
from db.core.database import Database
from db.core.keyring import Keyring, not_under
from db.reconciliation.record import SettlementFile
from db.schema.reconciliation import settlement_file, settlement_file_chunk
from domain.ids import new_id
from domain.reconciliation.reconciliation import Subject

CHUNK_BYTES = 1_000_000
_TIMEOUT_S = 30.0


class _Known(Exception):
    """These bytes are here already; `digest` is theirs. What was stored of them again is rolled back."""

    def __init__(self, digest: bytes) -> None:
        super().__init__()
        self.digest = digest


async def store(
    database: Database,
    keyring: Keyring,
    tenant_id: str,
    kind: Subject,
    name: str,
    actor: str,
    content: AsyncIterator[bytes],
) -> tuple[str, bool]:
    """Keep a file as it comes in, in memory never more than a chunk of it, with an entry in the audit log.

    Returns its id, and whether it is new: the same bytes are the same file, whatever their name. Raises Unavailable.
    """

    async def work(connection: AsyncConnection) -> str:
        return await _store(connection, keyring, tenant_id, kind, name, actor, content)

    try:
        return await database.run_long(work, timeout_s=_TIMEOUT_S), True
    except _Known as known:
        digest = known.digest
    existing = await database.read(lambda c: _by_digest(c, tenant_id, kind, digest))
    assert existing is not None, "it was there a moment ago, and nothing is deleted"
    return existing, False


async def _store(
    connection: AsyncConnection,
    keyring: Keyring,
    tenant_id: str,
    kind: Subject,
    name: str,
    actor: str,
    content: AsyncIterator[bytes],
) -> str:
    file_id = new_id("sf")
    await connection.execute(
        insert(settlement_file).values(id=file_id, tenant_id=tenant_id, kind=kind.value, name=name, actor=actor)
    )
    digest, size = hashlib.sha256(), 0
    no = 0
    async for chunk in _even(content):
        digest.update(chunk)
        size += len(chunk)
        sealed = keyring.encrypt_bytes(chunk, bound_to=_bound_to(file_id, no))
        values = {"file_id": file_id, "no": no, "data": sealed, "encrypted": True}
        await connection.execute(insert(settlement_file_chunk).values(**values))
        no += 1
    if await _by_digest(connection, tenant_id, kind, digest.digest()) is not None:
        raise _Known(digest.digest())
    try:
        await connection.execute(
            update(settlement_file).where(settlement_file.c.id == file_id).values(sha256=digest.digest(), size=size)
        )
    except IntegrityError:  # it came in twice at once
        raise _Known(digest.digest()) from None
    detail = {"kind": kind.value, "name": name, "sha256": digest.hexdigest(), "size": size}
    await audit_log.record(connection, tenant_id, actor, "settlement_file.upload", file_id, detail)
    return file_id


def _bound_to(file_id: str, no: int) -> str:
    return f"{file_id}:{no}"


async def _even(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut the same bytes into chunks of CHUNK_BYTES, whatever the network made of them."""
    held = bytearray()
    async for part in content:
        held += part
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)


async def _by_digest(connection: AsyncConnection, tenant_id: str, kind: Subject, digest: bytes) -> str | None:
    found: str | None = await connection.scalar(
        select(settlement_file.c.id).where(
            settlement_file.c.tenant_id == tenant_id,
            settlement_file.c.kind == kind.value,
            settlement_file.c.sha256 == digest,
        )
    )
    return found


async def chunk(connection: AsyncConnection, keyring: Keyring, file_id: str, no: int) -> bytes | None:
    """The n-th part of it, from 0; None past the end. Raises Undecryptable."""
    row = settlement_file_chunk.c
    found = await connection.execute(select(row.data, row.encrypted).where(row.file_id == file_id, row.no == no))
    stored = found.one_or_none()
    if stored is None or not stored.encrypted:
        return None if stored is None else bytes(stored.data)
    return keyring.decrypt_bytes(stored.data, bound_to=_bound_to(file_id, no))


async def encrypt_again(connection: AsyncConnection, keyring: Keyring, after: str) -> list[str]:
    """Encrypt a few chunks that are in clear, or under an older key of the ring, in the order of their places; those of
    the places, from behind `after`, fewer than a batch at the end. Raises Undecryptable."""
    row = settlement_file_chunk.c
    place = func.concat(row.file_id, ":", row.no)
    stale = or_(row.encrypted.is_(False), not_under(row.data, keyring.current))
    query = select(row.file_id, row.no).where(stale, place > after).order_by(place).limit(_BATCH)
    found = (await connection.execute(query.with_for_update(skip_locked=True))).all()
    for file_id, no in found:
        own = (row.file_id == file_id, row.no == no)
        plain = await chunk(connection, keyring, file_id, no)
        assert plain is not None, "found and locked above"
        sealed = keyring.encrypt_bytes(plain, bound_to=_bound_to(file_id, no))
        await connection.execute(update(settlement_file_chunk).where(*own).values(data=sealed, encrypted=True))
    return [_bound_to(file_id, no) for file_id, no in found]


_BATCH = 10
"""Chunks that are encrypted again in one transaction."""


async def find(connection: AsyncConnection, tenant_id: str | None, file_id: str) -> SettlementFile | None:
    """The file, if it is of this tenant (None: of any), or None."""
    query = select(settlement_file).where(settlement_file.c.id == file_id)
    if tenant_id is not None:
        query = query.where(settlement_file.c.tenant_id == tenant_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else SettlementFile(**row)
