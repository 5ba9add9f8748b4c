"""Suppressions: addresses that get nothing more over a channel. They are stored as digests under the ring."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.keyring import Keyring
from db.schema.notification import suppression
from domain.errors import NotFound
from domain.ids import is_id, new_id
from domain.notification import ChannelName, Suppression, SuppressionReason

_LOOKUP = "notification address"
_SHOWN = [suppression.c[name] for name in Suppression.model_fields]


def digests(keyring: Keyring, tenant_id: str, channel: str, address: str) -> list[bytes]:
    """The digests under which an address may be suppressed, the current key's first."""
    return keyring.digests(_LOOKUP, f"{tenant_id}\n{channel}\n{address.strip().casefold()}")


async def of_address(connection: AsyncConnection, tenant_id: str, channel: str, known: Sequence[bytes]) -> str | None:
    """The id of what suppresses an address, by its digests."""
    found: str | None = await connection.scalar(
        select(suppression.c.id).where(
            suppression.c.tenant_id == tenant_id,
            suppression.c.channel == channel,
            suppression.c.digest.in_(known),
            suppression.c.lifted_at.is_(None),
        )
    )
    return found


async def add(
    connection: AsyncConnection,
    tenant_id: str,
    channel: ChannelName,
    digest: bytes,
    reason: SuppressionReason,
    code: str | None,
) -> None:
    """Suppress an address; one that is suppressed already stays so."""
    values = {"id": new_id("sup"), "tenant_id": tenant_id, "channel": channel, "digest": digest}
    await connection.execute(upsert(suppression).values(**values, reason=reason, code=code).on_conflict_do_nothing())


async def page(
    connection: AsyncConnection, tenant_id: str | None, *, before: str | None, limit: int
) -> list[Suppression]:
    """The newest first; `before`: the id of the one that a page ended with."""
    query = select(*_SHOWN).where(suppression.c.lifted_at.is_(None)).order_by(suppression.c.id.desc()).limit(limit)
    if tenant_id is not None:
        query = query.where(suppression.c.tenant_id == tenant_id)
    if before is not None:
        query = query.where(suppression.c.id < before)
    return [Suppression.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]


async def find(connection: AsyncConnection, suppression_id: str, tenant_id: str | None) -> Suppression:
    """One that holds or was lifted; `tenant_id` None: of any tenant. Raises NotFound `suppression_not_found`."""
    query = select(*_SHOWN).where(suppression.c.id == suppression_id)
    if tenant_id is not None:
        query = query.where(suppression.c.tenant_id == tenant_id)
    row = (await connection.execute(query)).mappings().one_or_none() if is_id("sup", suppression_id) else None
    if row is None:
        raise _not_found()
    return Suppression.model_validate(dict(row))


def _not_found() -> NotFound:
    return NotFound("There is no such suppression.", code="suppression_not_found")


async def lift(connection: AsyncConnection, suppression_id: str, tenant_id: str | None) -> Suppression:
    """Let the address be written to again. Raises NotFound `suppression_not_found`."""
    own = [suppression.c.id == suppression_id, suppression.c.lifted_at.is_(None)]
    if tenant_id is not None:
        own.append(suppression.c.tenant_id == tenant_id)
    lifted = await connection.execute(update(suppression).where(*own).values(lifted_at=func.now()).returning(*_SHOWN))
    row = lifted.mappings().one_or_none()
    if row is None:
        raise _not_found()
    return Suppression.model_validate(dict(row))
