"""People: a buyer of a tenant, whose e-mail addresses and evidence are stored under a key of their own."""

from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.keyring import Keyring, not_under
from db.schema.person import person, person_email
from domain.ids import new_id

PREFIX = "prs"
UNDER_PERSON = f"{PREFIX}_".encode()
"""A value that begins so is under a person's key, else under one of the ring."""

_LOOKUP = "e-mail address"


@dataclass(frozen=True)
class PersonKey:
    """The key of a person, wrapped as it is stored."""

    person_id: str
    wrapped: bytes

    def seal(self, keyring: Keyring, plain: str, *, bound_to: str) -> bytes:
        return keyring.encrypt_of(self.person_id, self.wrapped, plain, bound_to=bound_to)


async def key_of(connection: AsyncConnection, keyring: Keyring, tenant_id: str, buyer_id: str) -> PersonKey:
    """The key of a buyer, made at first. It is not destroyed before the caller's transaction ends."""
    while True:
        found = await connection.execute(
            select(person.c.id, person.c.key)
            .where(person.c.tenant_id == tenant_id, person.c.buyer_id == buyer_id)
            .with_for_update(read=True, key_share=True)
        )
        row = found.one_or_none()
        if row is not None and row.key is not None:
            return PersonKey(row.id, row.key)
        if row is None:
            person_id = new_id(PREFIX)
            new = {"id": person_id, "tenant_id": tenant_id, "buyer_id": buyer_id}
            await connection.execute(
                upsert(person).values(**new, key=keyring.new_person_key(person_id)).on_conflict_do_nothing()
            )
        else:  # forgotten before: what is written of them since has a key of its own
            await connection.execute(
                update(person)
                .where(person.c.id == row.id, person.c.key.is_(None))
                .values(key=keyring.new_person_key(row.id))
            )


def digests(keyring: Keyring, tenant_id: str, email: str) -> list[bytes]:
    """The digests under which an address of a tenant's buyer may be stored, the current key's first."""
    return keyring.digests(_LOOKUP, f"{tenant_id}\n{email.strip().casefold()}")


async def seal_email(
    connection: AsyncConnection, keyring: Keyring, tenant_id: str, buyer_id: str, email: str, *, bound_to: str
) -> bytes:
    """The address encrypted under the buyer's key, and the buyer to be found by it."""
    key = await key_of(connection, keyring, tenant_id, buyer_id)
    known = digests(keyring, tenant_id, email)
    of_person = (person_email.c.tenant_id == tenant_id, person_email.c.person_id == key.person_id)
    if await connection.scalar(select(func.count()).where(*of_person, person_email.c.digest.in_(known))) == 0:
        sealed = sealed_address(keyring, key, email)
        await connection.execute(
            upsert(person_email)
            .values(tenant_id=tenant_id, digest=known[0], person_id=key.person_id, email=sealed)
            .on_conflict_do_nothing()
        )
    return key.seal(keyring, email, bound_to=bound_to)


def sealed_address(keyring: Keyring, key: PersonKey, email: str) -> bytes:
    """The address as it is kept beside the person."""
    return key.seal(keyring, email, bound_to=_email_binding(key.person_id))


def _email_binding(person_id: str) -> str:
    return f"{person_id}:address"


async def digest_again(connection: AsyncConnection, keyring: Keyring, after: str, limit: int) -> list[str]:
    """Digest addresses under the current key that are digested under another, in the order of their people: whose."""
    stale = (
        select(person_email, person.c.key)
        .join(person, person.c.id == person_email.c.person_id)
        .where(not_under(person_email.c.digest, keyring.current), person_email.c.person_id > after)
        .order_by(person_email.c.person_id)
        .limit(limit)
        .with_for_update(of=person_email, skip_locked=True)
    )
    rows = (await connection.execute(stale)).all()
    for row in rows:
        email = keyring.decrypt(row.email, bound_to=_email_binding(row.person_id), person_key=row.key)
        same = (person_email.c.tenant_id == row.tenant_id, person_email.c.person_id == row.person_id)
        new = digests(keyring, row.tenant_id, email)[0]
        await connection.execute(
            upsert(person_email)
            .values(tenant_id=row.tenant_id, digest=new, person_id=row.person_id, email=row.email)
            .on_conflict_do_nothing()
        )
        await connection.execute(person_email.delete().where(*same, person_email.c.digest == row.digest))
    return [row.person_id for row in rows]
