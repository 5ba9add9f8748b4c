"""Months as an invariant (P15): each has its partitions before it comes, and what belongs together is in one."""

# ruff: noqa: S608 - what is put into the query are constants of the code

from db.audit.invariant import MONTH_GRACE, Invariant
from db.month import SIZE
from db.schema.base import PLATFORM_TENANT

MONTHS = (
    Invariant(
        "P15",
        "months have begun in time, and the next have their partitions",
        "month",
        f"""
        SELECT '{PLATFORM_TENANT}' AS tenant_id, format('%s_%s', parent, month) AS object_id,
               'the partition is missing' AS problem
        FROM month_missing(now(), 1)
        UNION ALL
        SELECT '{PLATFORM_TENANT}', month_of(now())::text, 'the month has not begun: rows go on into the one before'
        WHERE date_trunc('month', now(), 'UTC') < now() - {MONTH_GRACE}
          AND month_of(now()) > (SELECT max(month) FROM month)
        UNION ALL
        SELECT p.tenant_id, p.transaction_id, format('posting %s is not of the month of its transaction', p.seq)
        FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id
        WHERE p.seq / {SIZE} <> t.seq / {SIZE}
        """,
    ),
)
