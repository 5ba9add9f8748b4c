"""Forgetting a buyer: the key is destroyed and what tells of the person goes; payments, books and decisions stay."""

# ruff: noqa: S608 - what is put into the queries are the constants of this file

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.keyring import Keyring
from db.people.person import digests
from db.schema.payment import payment
from db.schema.person import person, person_email
from domain.ids import new_id
from domain.status import DISPUTE_ENDED, TERMINAL, RefundStatus

FORGOTTEN = "forgotten"
"""The word in the place of what people wrote, and the beginning of the name in the place of the buyer's id."""


@dataclass(frozen=True)
class _Erasure:
    """One change of a table's rows of a buyer, which replaces `columns` or deletes the row; `where` leaves out what is
    gone already."""

    what: str
    table: str
    columns: str
    change: str
    where: str


_PAYMENTS = "(SELECT id FROM payment WHERE tenant_id = :tenant AND buyer_id = :buyer)"
_PERSONS = "(SELECT id FROM person WHERE tenant_id = :tenant AND buyer_id = :buyer)"
_OF_PAYMENT = f"payment_id IN {_PAYMENTS}"

_ERASURES = (
    _Erasure(
        "evidence",
        "dispute_evidence",
        "fields",
        "UPDATE dispute_evidence SET fields = ''",
        f"octet_length(fields) > 0 AND dispute_id IN (SELECT id FROM dispute WHERE {_OF_PAYMENT})",
    ),
    _Erasure(
        "refund reasons", "refund", "reason", "UPDATE refund SET reason = NULL", f"reason IS NOT NULL AND {_OF_PAYMENT}"
    ),
    _Erasure(
        "risk decisions",
        "risk_decision",
        "review_note facts",
        "UPDATE risk_decision SET review_note = NULL, facts = facts - 'buyer_country' - 'card'",
        f"(review_note IS NOT NULL OR facts ?| array['buyer_country', 'card']) AND {_OF_PAYMENT}",
    ),
    _Erasure(
        "notes on tasks",
        "operator_task",
        "resolution",
        f"UPDATE operator_task SET resolution = '{FORGOTTEN}'",
        f"resolution <> '{FORGOTTEN}' AND closed_by <> 'workflow' AND {_OF_PAYMENT}",
    ),
    _Erasure(
        "webhook payloads",
        "webhook_inbox",
        "payload",
        "UPDATE webhook_inbox SET payload = '{}'",
        f"payload <> '{{}}' AND {_OF_PAYMENT}",
    ),
    _Erasure(
        "e-mail addresses", "person_email", "digest email", "DELETE FROM person_email", f"person_id IN {_PERSONS}"
    ),
    # The last: the others find their rows by the buyer's id.
    _Erasure(
        "payments",
        "payment",
        "buyer_id buyer_email buyer_phone token metadata return_url card_fingerprint buyer_country next_action"
        " sealed_action",
        "UPDATE payment SET buyer_id = :alias, buyer_email = NULL, buyer_phone = NULL, token = '', metadata = '{}',"
        " return_url = '', card_fingerprint = NULL, buyer_country = NULL, next_action = NULL,"
        " sealed_action = NULL",
        "tenant_id = :tenant AND buyer_id = :buyer",
    ),
)

ERASED = frozenset(
    {f"{one.table}.{column}" for one in _ERASURES for column in one.columns.split()} | {"person.buyer_id", "person.key"}
)
"""`table.column` of all that `erase` replaces."""

_NOTED = f"""
    SELECT id FROM payment WHERE tenant_id = :tenant AND buyer_id = :buyer
    UNION ALL SELECT id FROM refund WHERE {_OF_PAYMENT}
    UNION ALL SELECT id FROM dispute WHERE {_OF_PAYMENT}
    UNION ALL SELECT id FROM operator_task WHERE {_OF_PAYMENT}
"""
"""The objects whose rows of the audit log may have a note about the person."""


def _list(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_UNDER_WAY = {
    "payments": f"SELECT count(*) FROM payment WHERE tenant_id = :tenant AND buyer_id = :buyer"
    f" AND status NOT IN ({_list(sorted(TERMINAL))})",
    "refunds": f"SELECT count(*) FROM refund WHERE {_OF_PAYMENT}"
    f" AND status NOT IN ({_list((RefundStatus.SUCCEEDED, RefundStatus.FAILED))})",
    "disputes": f"SELECT count(*) FROM dispute WHERE {_OF_PAYMENT} AND status NOT IN ({_list(sorted(DISPUTE_ENDED))})",
}


async def buyers_of(connection: AsyncConnection, keyring: Keyring, tenant_id: str, name: str) -> list[str]:
    """The ids of the buyers that a tenant calls so, or who have used this e-mail address."""
    if "@" in name:
        of_address = (
            select(person.c.buyer_id)
            .join(person_email, person_email.c.person_id == person.c.id)
            .where(person_email.c.tenant_id == tenant_id)
            .where(person_email.c.digest.in_(digests(keyring, tenant_id, name)))
        )
        return sorted(set(await connection.scalars(of_address)))
    mine = (payment.c.tenant_id == tenant_id, payment.c.buyer_id == name)
    known = (person.c.tenant_id == tenant_id, person.c.buyer_id == name)
    found = select(payment.c.id).where(*mine).union_all(select(person.c.id).where(*known)).limit(1)
    return [name] if await connection.scalar(found) is not None else []


async def under_way(connection: AsyncConnection, tenant_id: str, buyer_id: str) -> Mapping[str, int]:
    """Count payments, refunds and disputes of a buyer that have not ended; empty where all have."""
    who = {"tenant": tenant_id, "buyer": buyer_id}
    found = {noun: int(await connection.scalar(text(sql), who) or 0) for noun, sql in _UNDER_WAY.items()}
    return {noun: count for noun, count in found.items() if count}


async def would_go(connection: AsyncConnection, tenant_id: str, buyer_id: str) -> Mapping[str, int]:
    """Rows that `erase` changes, by what is in them."""
    who = {"tenant": tenant_id, "buyer": buyer_id}
    return {
        one.what: int(await connection.scalar(text(f"SELECT count(*) FROM {one.table} WHERE {one.where}"), who) or 0)
        for one in _ERASURES
    }


async def hold(connection: AsyncConnection, tenant_id: str, buyer_id: str) -> None:
    """Let nobody use the buyer's key, nor write to the buyer's payments, until the transaction ends."""
    mine = (person.c.tenant_id == tenant_id, person.c.buyer_id == buyer_id)
    await connection.execute(select(person.c.id).where(*mine).with_for_update())
    paid = (payment.c.tenant_id == tenant_id, payment.c.buyer_id == buyer_id)
    await connection.execute(select(payment.c.id).where(*paid).order_by(payment.c.id).with_for_update())


async def erase(connection: AsyncConnection, tenant_id: str, buyer_id: str) -> tuple[str, Mapping[str, int]]:
    """Destroy the key and replace what must go, under `hold`: (the name in the place of the buyer's id, rows that were
    changed). All of it commits together, so what was interrupted has changed nothing and is done again."""
    alias = buyer_id if buyer_id.startswith(f"{FORGOTTEN}_") else new_id(FORGOTTEN)
    who = {"tenant": tenant_id, "buyer": buyer_id}
    objects = list(await connection.scalars(text(_NOTED), who))
    notes = await connection.scalar(text("SELECT forget_notes(:objects)"), {"objects": objects})
    changed = {"notes in the audit log": int(notes or 0)}
    for one in _ERASURES:
        values = who | ({"alias": alias} if ":alias" in one.change else {})
        changed[one.what] = (await connection.execute(text(f"{one.change} WHERE {one.where}"), values)).rowcount
    await connection.execute(
        update(person)
        .where(person.c.tenant_id == tenant_id, person.c.buyer_id == buyer_id)
        .values(buyer_id=alias, key=None, forgotten_at=text("now()"))
    )
    return alias, changed
