"""Encrypting again what is stored under an older key of the ring, in small batches, while everything else runs."""

# ruff: noqa: S608 - what is put into the queries are names of the schema

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Select, Table, and_, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.keyring import Keyring, not_under
from db.people.person import UNDER_PERSON, digest_again, key_of, seal_email
from db.reconciliation import file
from db.schema.dispute import dispute, dispute_evidence
from db.schema.notification import notification_contact
from db.schema.operator import operator
from db.schema.payment import payment
from db.schema.person import person, person_email
from db.schema.reconciliation import settlement_file_chunk
from db.schema.webhook_endpoint import webhook_endpoint

BATCH = 50


@dataclass(frozen=True)
class RingColumn:
    """A column of `table` whose values are under a key of the ring, bound to the row's `identity` between `prefix` and
    `suffix`."""

    table: Table
    column: Column[Any]
    suffix: str
    identity: str = "id"
    prefix: str = ""


RING_COLUMNS = (
    RingColumn(payment, payment.c.token, "token"),
    RingColumn(payment, payment.c.sealed_action, "action"),
    RingColumn(person, person.c.key, "key"),
    RingColumn(operator, operator.c.totp_secret, "totp", identity="name", prefix="operator:"),
    RingColumn(webhook_endpoint, webhook_endpoint.c.secret, "secret"),
    RingColumn(webhook_endpoint, webhook_endpoint.c.old_secret, "old_secret"),
    RingColumn(notification_contact, notification_contact.c.email, "email"),
    RingColumn(notification_contact, notification_contact.c.phone, "phone"),
)
_ADDRESSES, _EVIDENCE = payment.c.buyer_email, dispute_evidence.c.fields
_ONCE_UNDER_RING = (_ADDRESSES, _EVIDENCE)
"""Values of an earlier release are under the ring's keys until they are encrypted again."""
PERSON_COLUMNS = (*_ONCE_UNDER_RING, payment.c.buyer_phone)
"""Under the keys of people."""
DIGESTS = (person_email.c.digest,)
FILES = settlement_file_chunk.c.data
"""Under the ring, bound to the file and the number of the chunk; of an earlier release in clear."""

Batch = Callable[[AsyncConnection, Keyring, str], Awaitable[list[str]]]
"""Encrypts a batch of rows again that come after an id: their ids, fewer than BATCH at the end. Rows that somebody
writes to just then are left out: they are for another time."""


def name_of(column: Column[Any]) -> str:
    return f"{column.table.name}.{column.name}"


MOVED = tuple(name_of(column) for column in _ONCE_UNDER_RING)


def batches() -> Mapping[str, Batch]:
    """`table.column` → what encrypts it again."""

    async def digest(connection: AsyncConnection, keyring: Keyring, after: str) -> list[str]:
        return await digest_again(connection, keyring, after, BATCH)

    return {
        name_of(_ADDRESSES): _move_addresses,
        name_of(_EVIDENCE): _move_evidence,
        **{name_of(one.column): _renewal(one) for one in RING_COLUMNS},
        name_of(DIGESTS[0]): digest,
        name_of(FILES): file.encrypt_again,
    }


def _renewal(one: RingColumn) -> Batch:
    identity = one.table.c[one.identity]

    async def renew(connection: AsyncConnection, keyring: Keyring, after: str) -> list[str]:
        stale = select(identity.label("id"), one.column.label("sealed"))
        rows = await _locked(connection, stale.where(not_under(one.column, keyring.current)), identity, after)
        for row in rows:
            bound_to = f"{one.prefix}{row.id}:{one.suffix}"
            sealed = keyring.encrypt(keyring.decrypt(row.sealed, bound_to=bound_to), bound_to=bound_to)
            await connection.execute(update(one.table).where(identity == row.id).values({one.column: sealed}))
        return [row.id for row in rows]

    return renew


async def _locked(connection: AsyncConnection, query: Select[Any], identity: Column[Any], after: str) -> list[Row[Any]]:
    ordered = query.where(identity > after).order_by(identity).limit(BATCH)
    locked = ordered.with_for_update(of=identity.table, key_share=True, skip_locked=True)
    return list((await connection.execute(locked)).all())


def _under_ring(column: Column[Any]) -> ColumnElement[bool]:
    return and_(func.octet_length(column) > 0, func.substr(column, 1, len(UNDER_PERSON)) != UNDER_PERSON)


async def _move_addresses(connection: AsyncConnection, keyring: Keyring, after: str) -> list[str]:
    columns = (payment.c.id, payment.c.tenant_id, payment.c.buyer_id, _ADDRESSES)
    rows = await _locked(connection, select(*columns).where(_under_ring(_ADDRESSES)), payment.c.id, after)
    for row in rows:
        bound_to = f"{row.id}:email"
        email = keyring.decrypt(row.buyer_email, bound_to=bound_to)
        sealed = await seal_email(connection, keyring, row.tenant_id, row.buyer_id, email, bound_to=bound_to)
        await connection.execute(update(payment).where(payment.c.id == row.id).values(buyer_email=sealed))
    return [row.id for row in rows]


async def _move_evidence(connection: AsyncConnection, keyring: Keyring, after: str) -> list[str]:
    columns = (dispute_evidence.c.id, _EVIDENCE, payment.c.tenant_id, payment.c.buyer_id)
    joined = dispute_evidence.join(dispute).join(payment, payment.c.id == dispute.c.payment_id)
    query = select(*columns).select_from(joined).where(_under_ring(_EVIDENCE))
    rows = await _locked(connection, query, dispute_evidence.c.id, after)
    for row in rows:
        bound_to = f"{row.id}:fields"
        key = await key_of(connection, keyring, row.tenant_id, row.buyer_id)
        sealed = key.seal(keyring, keyring.decrypt(row.fields, bound_to=bound_to), bound_to=bound_to)
        own = dispute_evidence.c.id == row.id
        await connection.execute(update(dispute_evidence).where(own).values(fields=sealed))
    return [row.id for row in rows]


# --- what there is ---


def _counted(column: Column[Any]) -> str:
    """A query that counts the values of a column by the id of their key, but for those under the keys of people, and
    those in clear."""
    of, name = column.table.name, column.name
    encrypted = " AND encrypted" if column is FILES else ""
    return (
        f"SELECT '{of}.{name}' AS name, split_part(encode(substr({name}, 1, 64), 'escape'), ':', 1) AS key,"
        f" count(*) AS rows FROM {of} WHERE octet_length({name}) > 0{encrypted}"
        f" AND substr({name}, 1, {len(UNDER_PERSON)}) <> convert_to('{UNDER_PERSON.decode()}', 'UTF8') GROUP BY 2"
    )


IN_USE = " UNION ALL ".join(
    _counted(column) for column in (*(one.column for one in RING_COLUMNS), *_ONCE_UNDER_RING, *DIGESTS, FILES)
)
"""A query: the column, a key id of the ring, and the number of values under it."""


async def in_use(connection: AsyncConnection) -> Mapping[str, Mapping[str, int]]:
    """`table.column` → key id of the ring → number of values under it. Values under the keys of people are left out,
    whose own keys are among them."""
    found: dict[str, dict[str, int]] = {name: {} for name in batches()}
    for name, key, count in await connection.execute(text(IN_USE)):
        found[name][key] = int(count)
    return found
