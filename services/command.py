"""The frame of every command: who gives it, checking its texts, and doing it once under the client's key."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from db.core import deadline, idempotency
from db.core.database import Connection, Database, LockTimeout
from db.core.idempotency import Request
from domain.card_data import require_text
from domain.errors import Unprocessable

T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """Whoever gives a command: an API key, a token, or a person who has logged in, which reach their tenant's objects
    alone, or a person at a terminal, who reaches every tenant's (`tenant_id` is None).

    `actor` is the name in rows and in the audit log: the key's id, or the person's name. `seller_account`: of the one
    seller whose objects it reaches; what that means for each noun is in `services.access`. `payment_id`: of the one
    payment that a checkout page reaches.
    """

    actor: str
    tenant_id: str | None = None
    payment_id: str | None = None
    seller_account: str | None = None


@dataclass(frozen=True)
class Done(Generic[T]):
    """`object_id`: of the first request under the key; `result` is None where a replayed request did nothing."""

    object_id: str
    replayed: bool
    result: T | None


def check(kind: Any, value: T, name: str) -> T:
    """The value if it is of the type `kind` (a type of `domain.limits`) and has no card data in it; `name` says which
    field is wrong. Raises Unprocessable `field_invalid` (or the type's own code), `text_invalid`,
    `card_data_forbidden`: over HTTP the request's shape says the same in the same words.
    """
    for text in _texts(value):
        require_text(text)
    try:
        _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise invalid(error, name) from error
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def invalid(error: ValidationError, name: str = "") -> Unprocessable:
    """The first thing that is wrong, as the API words it: `note: String should have at most 2000 characters`."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in (name, *first["loc"]) if part != "")
    code = "field_unknown" if first["type"] == "extra_forbidden" else "field_invalid"
    return Unprocessable(f"{place}: {first['msg']}", code=str(first.get("ctx", {}).get("code", code)))


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for text in value.values() if isinstance(text, str)] if isinstance(value, Mapping) else []


async def once(
    database: Database,
    tenant_id: str,
    request: Request | None,
    object_id: str,
    work: Callable[[Connection], Awaitable[T]],
    *,
    repeat: bool = False,
    patient: bool = False,
) -> Done[T]:
    """Do `work` in the transaction that stores the key; without a `request` (a terminal has no keys) just do it.

    `repeat`: a replayed request does the work again, as what may be done twice. `patient`: the work may take up to a
    minute, since it grows with what a seller has done. Raises Conflict
    `idempotency_in_progress`, Unprocessable `idempotency_key_reused`, and what `work` raises; a refusal stores nothing.
    """

    async def transaction(connection: Connection) -> Done[T]:
        if request is None:
            return Done(object_id, False, await work(connection))
        await deadline.begin()
        claim = await idempotency.claim(connection, tenant_id, request.key, request.hash, object_id)
        result = await work(connection) if repeat or not claim.replayed else None
        return Done(claim.object_id, claim.replayed, result)

    try:
        return await (database.run_patiently if patient else database.run)(transaction)
    except LockTimeout as error:
        raise error if request is None else idempotency.in_progress(error) from error
