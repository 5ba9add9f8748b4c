"""The events `ledger.sealed`: the transactions of a block, for those who keep books of their own.

An event for each posting would cost every payment a row more. The seal reads each transaction once, in order and after
it is committed, and writes what it has read in parts of up to a hundred, away from the payments. A part is an object of
its own, with one event.
"""

# ruff: noqa: S608 - what is put into the statement are constants of this file

import json
from datetime import datetime

from sqlalchemy import BigInteger, DateTime, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.month import OF_TRANSACTION
from domain.money import units

_PART = 100
"""Transactions of one event: some 40 kB, where brokers take a megabyte."""

_ADD = text(f"""
    WITH units AS MATERIALIZED (SELECT CAST(:units AS jsonb) AS by_currency), booked AS (
        SELECT t.tenant_id, t.seq, (row_number() OVER (PARTITION BY t.tenant_id ORDER BY t.seq) - 1) / {_PART} AS part,
               jsonb_build_object(
                   'id', t.id, 'at', to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                   'kind', t.kind, 'source_id', t.source_id, 'payment_id', t.payment_id, 'order_id', t.order_id,
                   'corrects', t.corrects, 'postings', x.postings
               ) AS entry
        FROM ledger_transaction t
        CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_agg(
                jsonb_build_object(
                    'account', p.account, 'currency', p.currency,
                    'amount', (p.amount * ((SELECT by_currency FROM units) ->> p.currency)::numeric)::text
                ) ORDER BY p.seq
            ), '[]') AS postings
            FROM ledger_posting p WHERE {OF_TRANSACTION}
        ) AS x
        WHERE t.seq > :after AND t.seq <= :last
    ), parts AS (
        SELECT tenant_id, jsonb_agg(entry ORDER BY seq) AS entries,
               format('lb_%s_%s', CAST(:no AS bigint), row_number() OVER (ORDER BY tenant_id, part)) AS id
        FROM booked GROUP BY tenant_id, part
    )
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT 'evt_' || id, tenant_id, 'ledger.sealed', 1, id,
           jsonb_build_object('id', id, 'block', CAST(:no AS bigint), 'transactions', entries), :at
    FROM parts ORDER BY id
""").bindparams(
    *(bindparam(name, type_=BigInteger) for name in ("no", "after", "last")),
    bindparam("at", type_=DateTime(timezone=True)),
)


async def add(connection: AsyncConnection, no: int, after: int, last: int, at: datetime) -> None:
    """Write the events of block `no`, which has the transactions above the number `after`, up to `last`."""
    await connection.execute(_ADD, {"no": no, "after": after, "last": last, "at": at, "units": json.dumps(units())})
