"""Balances at any moment, and what a seller was credited and debited between two of them.

A moment means everything that happened before it: `ledger_transaction.at`, the time of the business, not that of the
commit. So periods that follow each other fit together: one ends with the balance that the next begins with. What is
booked late for an earlier moment belongs to that moment.
"""

# ruff: noqa: S608 - what is put into the queries are constants of this file

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Date, DateTime, Text, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.database import Database
from db.core.snapshot import in_snapshot
from db.ledger import seal
from db.month import OF_TRANSACTION
from domain.ledger import PLATFORM_FEES, PSP_FEES, Bucket, wallet
from domain.statement import AccountBalance, Balances, Closing, Entry, Line, Opening, Total, Turnover

T = TypeVar("T")
Read = Callable[[Callable[[AsyncConnection], Awaitable[T]]], Awaitable[T]]
"""`Database.read`, for which each page is a statement of its own, or something that has one snapshot for all."""

_PAGE = 1000


# --- accounts ---


# What is sealed is summed by day and month already. Before a moment there are whole months, days of its own month, and
# transactions of its own day.
_NOW = "period = 'month'"
_THEN = """
    (period = 'month' AND starts_on < date_trunc('month', CAST(:day AS timestamp))
     OR period = 'day' AND starts_on >= date_trunc('month', CAST(:day AS timestamp)) AND starts_on < :day)
"""
_OF_THE_DAY = "t.seq <= :sealed AND t.at >= :midnight AND t.at < :at"
_UNSEALED = "t.seq > :sealed"


def _rest(at: datetime | None) -> str:
    """The sums by account of what is in no whole day or month."""
    part = f"""
        SELECT p.tenant_id, p.account, p.currency, p.amount
        FROM ledger_transaction t JOIN ledger_posting p ON {OF_TRANSACTION}
        WHERE (t.tenant_id = :tenant OR :tenant IS NULL) AND (p.account = :account OR :account IS NULL) AND
    """
    parts = [f"{part} {_UNSEALED}"] if at is None else [f"{part} {_UNSEALED} AND t.at < :at", f"{part} {_OF_THE_DAY}"]
    return f"""
        rest AS MATERIALIZED (
            SELECT tenant_id, account, currency, sum(amount) AS balance FROM ({" UNION ALL ".join(parts)}) AS lines
            GROUP BY tenant_id, account, currency
        )
    """


def _accounts(*, group: str, at: datetime | None) -> str:
    """Accounts with their balance."""
    return f"""
        WITH {_rest(at)}
        SELECT {group}a.name AS account, a.currency, a.kind,
               coalesce(sum(sums.balance), 0)::bigint + coalesce(sum(rest.balance), 0)::bigint AS balance
        FROM (
            SELECT * FROM ledger_account
            WHERE (tenant_id = :tenant OR :tenant IS NULL) AND (name = :account OR :account IS NULL)
              AND ((currency, name) > (:after_currency, :after) OR :after IS NULL)
            ORDER BY currency, name, tenant_id LIMIT :limit
        ) AS a CROSS JOIN LATERAL (
            SELECT sum(amount) AS balance FROM ledger_balance
            WHERE (tenant_id, account, currency) = (a.tenant_id, a.name, a.currency) AND {_THEN if at else _NOW}
        ) AS sums
        LEFT JOIN rest ON (rest.tenant_id, rest.account, rest.currency) = (a.tenant_id, a.name, a.currency)
        GROUP BY {group}a.name, a.currency, a.kind ORDER BY a.currency, a.name{", a.tenant_id" if group else ""}
    """


async def _bound(connection: AsyncConnection, at: datetime | None) -> dict[str, Any]:
    """Up to where it is sealed, and the day of the moment. Both are as of one snapshot with what is read by them, or
    something would be counted twice."""
    values: dict[str, Any] = {"sealed": await seal.end(connection)}
    if at is not None:
        midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        values |= {"at": at, "day": midnight.date(), "midnight": midnight}
    return values


def _text(query: str, at: datetime | None, *names: str) -> TextClause:
    moments = [bindparam(name, type_=DateTime(timezone=True)) for name in ("at", "midnight")] if at else []
    days = [bindparam("day", type_=Date)] if at else []
    sealed = bindparam("sealed", type_=BigInteger)
    return text(query).bindparams(sealed, *days, *moments, *(bindparam(name, type_=Text) for name in names))


async def balances(
    connection: AsyncConnection,
    *,
    tenant_id: str | None = None,
    account: str | None = None,
    at: datetime | None = None,
    after: tuple[str, str] | None = None,
    limit: int | None = None,
    by_tenant: bool = True,
) -> list[AccountBalance]:
    """Of accounts, by currency and name: all, or those of a tenant, or of one name. `after` (currency, name) and
    `limit` make pages of it. `by_tenant` false: the accounts of one name are one account. In a snapshot."""
    names = ("tenant", "account", "after_currency", "after")
    query = _text(_accounts(group="a.tenant_id, " if by_tenant else "", at=at), at, *names)
    values: dict[str, Any] = {
        "tenant": tenant_id,
        "account": account,
        "after_currency": after[0] if after else None,
        "after": after[1] if after else None,
        "limit": limit,
    }
    rows = await connection.execute(query, values | await _bound(connection, at))
    return [AccountBalance(**{"tenant_id": None, **row}) for row in rows.mappings()]


async def totals(connection: AsyncConnection, tenant_id: str, at: datetime | None = None) -> list[Total]:
    """Both sides of the trial balance of all accounts of a tenant, by currency. In a snapshot."""
    query = f"""
        WITH {_rest(at)}
        SELECT currency, coalesce(sum(balance) FILTER (WHERE balance > 0), 0)::bigint AS debit,
               coalesce(-sum(balance) FILTER (WHERE balance < 0), 0)::bigint AS credit
        FROM (
            SELECT account, currency, sum(balance) AS balance
            FROM (
                SELECT account, currency, amount AS balance FROM ledger_balance
                WHERE tenant_id = :tenant AND {_THEN if at else _NOW}
                UNION ALL
                SELECT account, currency, balance FROM rest
            ) AS parts
            GROUP BY account, currency
        ) AS accounts
        GROUP BY currency ORDER BY currency
    """
    values = {"tenant": tenant_id, "account": None} | await _bound(connection, at)
    rows = await connection.execute(_text(query, at, "tenant", "account"), values)
    return [Total(**row) for row in rows.mappings()]


# --- a seller's statement ---

_BUCKETS = {"pending": Bucket.PENDING, "available": Bucket.AVAILABLE, "reserved": Bucket.RESERVED}
_SUMS = ", ".join(
    [
        *(f"coalesce(-sum(p.amount) FILTER (WHERE p.account = :{name}), 0)::bigint AS {name}" for name in _BUCKETS),
        "coalesce(sum(p.amount) FILTER (WHERE p.account = :owed), 0)::bigint AS owed",
    ]
)
_NAMES = (*_BUCKETS, "owed")
_TIMES = tuple(bindparam(name, type_=DateTime(timezone=True)) for name in ("since", "until"))

_OPENING = text(f"""
    SELECT {_SUMS} FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id
    WHERE p.tenant_id = :tenant AND p.account = ANY(:accounts) AND p.currency = :currency AND t.at < :since
""").bindparams(_TIMES[0], bindparam("accounts", type_=ARRAY(Text)))

# A transaction has its place by its first posting to the wallet: two that are written at the same time have their
# postings mixed. The four ordered parts are merged as they are read, so a page costs what is on it. No transaction is
# about two sellers, so its fees are those of the one.
_PLACES = " UNION ALL ".join(
    f"SELECT seq, transaction_id FROM ledger_posting WHERE tenant_id = :tenant AND account = :{name}"
    " AND currency = :currency AND seq > :after"
    for name in _NAMES
)
_LINES = text(f"""
    SELECT place.seq, t.id AS transaction_id, t.at, t.kind, t.source_id, t.payment_id, t.order_id, o.payment_order_id,
           v.source_id AS set_aside_for, x.pending, x.available, x.reserved, x.owed, x.fee
    FROM ({_PLACES}) AS place
    JOIN ledger_transaction t ON t.id = place.transaction_id AND t.at >= :since AND t.at < :until
    CROSS JOIN LATERAL (
        SELECT min(p.seq) FILTER (WHERE p.account = ANY(:accounts)) AS first, {_SUMS},
               coalesce(-sum(p.amount) FILTER (WHERE p.account = ANY(:fees)), 0)::bigint AS fee
        FROM ledger_posting p
        WHERE {OF_TRANSACTION} AND p.tenant_id = :tenant AND p.currency = :currency
    ) AS x
    LEFT JOIN payment_order o ON o.id = t.order_id
    LEFT JOIN reserve v ON v.id = t.source_id
    WHERE x.first = place.seq ORDER BY place.seq LIMIT :limit
""").bindparams(*_TIMES, *(bindparam(name, type_=ARRAY(Text)) for name in ("accounts", "fees")))


@dataclass(frozen=True)
class Period:
    """The subject of a statement: `since` belongs to it and `until` does not."""

    tenant_id: str
    seller_account: str
    currency: str
    since: datetime
    until: datetime

    def _values(self) -> dict[str, Any]:
        accounts = {name: wallet(self.seller_account, bucket) for name, bucket in _BUCKETS.items()}
        accounts["owed"] = wallet(self.seller_account, Bucket.RECEIVABLE)
        names = {"tenant": self.tenant_id, "currency": self.currency, "accounts": list(accounts.values())}
        return {**accounts, **names, "since": self.since}


async def statement(read: Read[Any], period: Period) -> AsyncIterator[Entry]:
    """The opening balance, each movement in the order in which it was booked, and the closing balance, which is their
    sum. Read in pages, however long the period is. Raises Unavailable, at any of them."""
    balance: Balances = await read(lambda c: _opening(c, period))
    yield Opening(period.since, balance)
    after, turnover = 0, Turnover()
    while True:
        rows = await read(lambda c, a=after: _lines(c, period, a))  # type: ignore[misc]
        for row in rows:
            line = _line(row, balance)
            balance, turnover = line.balance, turnover + line.turnover
            yield line
        if len(rows) < _PAGE:
            break
        after = rows[-1]["seq"]
    yield Closing(period.until, balance, turnover)


async def _opening(connection: AsyncConnection, period: Period) -> Balances:
    row = (await connection.execute(_OPENING, period._values())).mappings().one()
    return Balances(**row)


async def _lines(connection: AsyncConnection, period: Period, after: int) -> list[dict[str, Any]]:
    fees = [PLATFORM_FEES, PSP_FEES]
    values = period._values() | {"until": period.until, "after": after, "limit": _PAGE, "fees": fees}
    return [dict(row) for row in (await connection.execute(_LINES, values)).mappings()]


_OWN_RECORD = ("pt_", "re_", "dp_")


def _line(row: dict[str, Any], before: Balances) -> Line:
    change = Balances(**{name: row[name] for name in _NAMES})
    own = row["source_id"] if row["source_id"].startswith(_OWN_RECORD) else None
    return Line(
        at=row["at"],
        transaction_id=row["transaction_id"],
        kind=row["kind"],
        payment_id=row["payment_id"],
        order_id=row["order_id"],
        payment_order_id=row["payment_order_id"],
        reference=row["set_aside_for"] or own,
        change=change,
        balance=before + change,
        fee=row["fee"],
    )


async def whole_statement(database: Database, period: Period, each: Callable[[Entry], None]) -> None:
    """Hand over each entry of a statement that is read as of one moment."""

    async def work(connection: AsyncConnection) -> None:
        async def read(part: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
            return await part(connection)

        async for entry in statement(read, period):
            each(entry)

    await in_snapshot(database, work)


async def currencies(connection: AsyncConnection, tenant_id: str, seller_account: str) -> list[str]:
    """In which the seller's wallet was ever posted to."""
    rows = await connection.execute(
        text("SELECT currency FROM wallet WHERE tenant_id = :t AND seller_account = :s ORDER BY currency"),
        {"t": tenant_id, "s": seller_account},
    )
    return list(rows.scalars())
