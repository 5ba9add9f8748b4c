"""The frame of every command: who gives it, and doing it once under the client's key."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from db.core import idempotency
from db.core.database import Connection, Database, LockTimeout
from db.core.idempotency import Request

T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """Whoever gives a command: an API key, which reaches its tenant's objects alone, or a person at a terminal, who
    reaches every tenant's (`tenant_id` is None).

    `actor` is the name in rows and in the audit log: the key's id, or the person's name.
    """

    actor: str
    tenant_id: str | None = None


@dataclass(frozen=True)
class Done(Generic[T]):
    """`object_id`: of the first request under the key; `result` is None where a replayed request did nothing."""

    object_id: str
    replayed: bool
    result: T | None


async def once(
    database: Database,
    tenant_id: str,
    request: Request | None,
    object_id: str,
    work: Callable[[Connection], Awaitable[T]],
    *,
    repeat: bool = False,
) -> Done[T]:
    """Do `work` in the transaction that stores the key; without a `request` (a terminal has no keys) just do it.

    `repeat`: a replayed request does the work again, as what may be done twice. Raises Conflict
    `idempotency_in_progress`, Unprocessable `idempotency_key_reused`, and what `work` raises; a refusal stores nothing.
    """

    async def transaction(connection: Connection) -> Done[T]:
        if request is None:
            return Done(object_id, False, await work(connection))
        claim = await idempotency.claim(connection, tenant_id, request.key, request.hash, object_id)
        result = await work(connection) if repeat or not claim.replayed else None
        return Done(claim.object_id, claim.replayed, result)

    try:
        return await database.run(transaction)
    except LockTimeout as error:
        raise error if request is None else idempotency.in_progress(error) from error
