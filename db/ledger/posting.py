"""Posting to the ledger. PostgreSQL itself refuses what does not balance, and every change of what is posted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.month import of_transaction, span
from db.schema.ledger import ledger_account, ledger_posting, ledger_transaction
from domain.ids import new_id
from domain.ledger import Kind, Posting, Transaction, account_kind


async def post(
    connection: AsyncConnection, tenant_id: str, transactions: Sequence[Transaction], at: datetime
) -> list[Transaction]:
    """Book each transaction once per (kind, source_id). Returns those that were new."""
    wanted = [transaction for transaction in transactions if transaction.postings]
    if not wanted:
        return []
    ids = {(t.kind.value, t.source_id): new_id("lt") for t in wanted}
    inserted = await connection.execute(
        upsert(ledger_transaction)
        .on_conflict_do_nothing(index_elements=["kind", "source_id"])
        .returning(ledger_transaction.c.kind, ledger_transaction.c.source_id),
        [
            {
                "id": ids[t.kind.value, t.source_id],
                "tenant_id": tenant_id,
                "kind": t.kind.value,
                "source_id": t.source_id,
                "payment_id": t.payment_id,
                "order_id": t.payment_order_id,
                "corrects": t.corrects,
                "at": at,
            }
            for t in wanted
        ],
    )
    new = {(row.kind, row.source_id) for row in inserted}
    booked = [t for t in wanted if (t.kind.value, t.source_id) in new]
    await _open_accounts(connection, tenant_id, [p for t in booked for p in t.postings])
    lines = [
        {
            "tenant_id": tenant_id,
            "transaction_id": ids[t.kind.value, t.source_id],
            "account": p.account,
            "currency": p.currency,
            "amount": p.amount,
        }
        for t in booked
        for p in t.postings
    ]
    if lines:
        await connection.execute(insert(ledger_posting), lines)
    return booked


async def _open_accounts(connection: AsyncConnection, tenant_id: str, postings: Sequence[Posting]) -> None:
    """Accounts come into being with their first posting; in sorted order, so that two of us cannot deadlock."""
    accounts = sorted({(p.account, p.currency) for p in postings})
    if accounts:
        await connection.execute(
            upsert(ledger_account).on_conflict_do_nothing(),
            [
                {"tenant_id": tenant_id, "name": name, "currency": currency, "kind": account_kind(name).value}
                for name, currency in accounts
            ],
        )


async def transaction_id(connection: AsyncConnection, kind: Kind, source_id: str) -> str | None:
    """The id of what is booked under (kind, source), so that its correction can name it."""
    return await connection.scalar(
        select(ledger_transaction.c.id).where(
            ledger_transaction.c.kind == kind.value, ledger_transaction.c.source_id == source_id
        )
    )


async def postings_of(connection: AsyncConnection, kind: Kind, source_id: str) -> list[Posting]:
    """The postings that are booked under (kind, source); empty if nothing is."""
    rows = await connection.execute(
        select(ledger_posting.c.account, ledger_posting.c.currency, ledger_posting.c.amount)
        .join(ledger_transaction, of_transaction(ledger_posting, ledger_transaction))
        .where(ledger_transaction.c.kind == kind.value, ledger_transaction.c.source_id == source_id)
        .order_by(ledger_posting.c.seq)
    )
    return [Posting(account=row.account, currency=row.currency, amount=row.amount) for row in rows]


@dataclass(frozen=True)
class BookedTransaction:
    """A transaction as it stands in the books. `order_id` is our id of the order; `corrects` that of another
    transaction, which this one takes back."""

    id: str
    tenant_id: str
    seq: int
    kind: str
    source_id: str
    payment_id: str | None
    order_id: str | None
    corrects: str | None
    at: datetime
    postings: tuple[Posting, ...]


@dataclass(frozen=True)
class Wanted:
    """A selection of transactions; what is None does not matter. `since` included and `until` not. `lines_of`: only
    transactions with a line on one of these accounts, and of them only those lines."""

    payment_id: str | None = None
    order_id: str | None = None
    account: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    lines_of: frozenset[str] | None = None


def _matching(tenant_id: str | None, wanted: Wanted) -> Select[Any]:
    t = ledger_transaction
    query = select(t)
    if tenant_id is not None:
        query = query.where(t.c.tenant_id == tenant_id)
    if wanted.payment_id is not None:
        query = query.where(t.c.payment_id == wanted.payment_id)
    if wanted.order_id is not None:
        query = query.where(t.c.order_id == wanted.order_id)
    for accounts in ([wanted.account] if wanted.account is not None else None, wanted.lines_of):
        if accounts is not None:
            on_one = select(ledger_posting.c.transaction_id).where(ledger_posting.c.account.in_(accounts))
            if tenant_id is not None:
                on_one = on_one.where(ledger_posting.c.tenant_id == tenant_id)
            query = query.where(t.c.id.in_(on_one))
    if wanted.since is not None:
        query = query.where(t.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(t.c.at < wanted.until)
    return query


async def page(
    connection: AsyncConnection, tenant_id: str | None, wanted: Wanted, *, before: int | None = None, limit: int
) -> list[BookedTransaction]:
    """Transactions of a tenant (None: of all) with their postings, newest first; `before` is the `seq` that a page
    ended with."""
    query = _matching(tenant_id, wanted).order_by(ledger_transaction.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(ledger_transaction.c.seq < before)
    rows = (await connection.execute(query)).mappings().all()
    if not rows:
        return []
    first, end = span([row["seq"] for row in rows])
    lines = await connection.execute(
        select(ledger_posting)
        .where(
            ledger_posting.c.transaction_id.in_([row["id"] for row in rows]),
            ledger_posting.c.seq >= first,
            ledger_posting.c.seq < end,
        )
        .order_by(ledger_posting.c.seq)
    )
    postings: dict[str, list[Posting]] = {row["id"]: [] for row in rows}
    for line in lines:
        if wanted.lines_of is not None and line.account not in wanted.lines_of:
            continue
        posting = Posting(account=line.account, currency=line.currency, amount=line.amount)
        postings[line.transaction_id].append(posting)
    names = BookedTransaction.__dataclass_fields__.keys() - {"postings"}
    return [
        BookedTransaction(**{name: row[name] for name in names}, postings=tuple(postings[row["id"]])) for row in rows
    ]
