"""Building blocks of the audit's queries: an invariant, the graces with their reasons, and the sums they share."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.status import TERMINAL, OrderRefundStatus, Status


class Violation(NamedTuple):
    """One row that violates an invariant."""

    tenant_id: str
    object_id: str
    problem: str


@dataclass(frozen=True)
class Answer:
    """The answer of an invariant: the number of rows that violate it, the first of them, and a remark."""

    violations: int
    first: Sequence[Violation]
    note: str = ""


Finder = Callable[[AsyncConnection, int], Awaitable[Answer]]
"""Looks at the database within the caller's transaction, and names so many violations at most."""


@dataclass(frozen=True)
class Invariant:
    """`ask`: a query that returns (tenant_id, object_id, problem) for each violation, or a function where no query can
    say it; `table` is what it looks through."""

    code: str
    title: str
    table: str
    ask: str | Finder


def sql_list(values: Iterable[str]) -> str:
    """`'a', 'b'`, for `IN (…)`."""
    return ", ".join(f"'{value}'" for value in values)


def sql_pairs(steps: Iterable[tuple[str, str]]) -> str:
    """`('a', 'b'), ('c', 'd')`."""
    return ", ".join(f"('{old}', '{new}')" for old, new in sorted(steps))


ENDED = sql_list(sorted(TERMINAL))
UNPAID = sql_list((Status.FAILED, Status.CANCELLED))
UNDOING = "'compensation', 'late_charge'"
"""Refunds whose money waits in suspense; of the others it is set aside in the sellers' wallets."""

# At its deadline a payment is voided at the PSP, which may not answer; the sweeper opens a task after five minutes.
DEADLINE_GRACE = "interval '6 minutes'"
# No step lasts this long: whatever has not moved on by then is stuck.
STEP_MAX = "interval '15 minutes'"
# A pending refund is looked at every hour at the latest.
REFUND_LOOK_MAX = "interval '3 hours'"
# Between a person's decision, which closes the task, and what the workflow makes of it.
DECISION_GRACE = "interval '15 minutes'"
# The PSP may say that a dispute is decided before it lists the money that this moves.
VERDICT_GRACE = "interval '15 minutes'"
# A merchant's terms are changed and a refund is asked for in the same moment: which came first cannot be told.
TERMS_GRACE = "interval '1 minute'"
# Funds are released once an hour or so; one that another transaction held just then waits for the next time.
RELEASE_MAX = "interval '1 day'"
WEBHOOK_MAX = "interval '5 minutes'"
# One about a refund or dispute waits until the PSP itself has answered; after twenty sweeps it is a person's.
WEBHOOK_AFTERMATH_MAX = "interval '30 minutes'"

# Between a new month (UTC) and the sweeper's moving the numbers on to it, which waits while somebody holds a lock.
MONTH_GRACE = "interval '1 day'"

# Of events, while the relay has a connection to their sink: it takes a second.
TODO_MAX = "interval '5 minutes'"

EVENTS_SINCE = "coalesce((SELECT begun_at + interval '1 hour' FROM month WHERE outbox_from), '-infinity')"
"""Since when there are all events: older months of the outbox may have been dropped. Within the hour is what was
written while the month began."""

_ABOUT_SOMETHING_ELSE = "'review', 'dispute_evidence_due', 'dispute_exceeds', 'refund_exceeds', 'refund_came_back'"
"""Such a task asks a question of its own: who answers it need not see that something is stuck beside it."""


def attended(owner: str) -> str:
    """Whether somebody has to look at what is stuck about a payment, or has just decided about it."""
    return (
        f"EXISTS (SELECT FROM operator_task k WHERE k.payment_id = {owner} AND k.kind NOT IN ({_ABOUT_SOMETHING_ELSE})"
        f" AND (k.closed_at IS NULL OR k.closed_at > now() - {DECISION_GRACE}))"
    )


def minded(object_id: str) -> str:
    """The same for what is no payment: whether somebody has to look at it, or has just decided about it."""
    return (
        f"EXISTS (SELECT FROM operator_task k WHERE k.object_id = {object_id}"
        f" AND (k.closed_at IS NULL OR k.closed_at > now() - {DECISION_GRACE}))"
    )


# What happened to a payment's money, from its postings alone: `captured` is with the sellers and us (of money that was
# held first it comes out of suspense), `held` in suspense, `refunded` back with the buyer. A refund that the PSP took
# back is a reversal and counts again as held. What follows a settled payment (refunds from the wallets, disputes) is
# told by the reserves, not here.
MONEY = """
    SELECT t.tenant_id, t.payment_id, p.currency,
           coalesce(sum(p.amount) FILTER (WHERE t.kind = 'capture'
                                            AND (p.account LIKE 'psp_clearing:%' OR p.account = 'suspense')), 0)
         + coalesce(sum(p.amount) FILTER (WHERE t.kind = 'capture_reversal' AND p.account = 'suspense'), 0) AS captured,
           coalesce(-sum(p.amount) FILTER (WHERE p.account = 'suspense'), 0) AS held,
           coalesce(-sum(p.amount) FILTER (WHERE t.kind IN ('suspense_refund', 'suspense_refund_reversal')
                                             AND p.account LIKE 'psp_clearing:%'), 0) AS refunded
    FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
    WHERE t.payment_id IS NOT NULL
    GROUP BY t.tenant_id, t.payment_id, p.currency
"""

# Refunds that are recorded and not yet made: their money waits in suspense.
OWED = f"""
    SELECT payment_id, currency, sum(amount) AS amount FROM refund
    WHERE status <> 'SUCCEEDED' AND origin IN ({UNDOING}) GROUP BY payment_id, currency
"""

# Reserves with what they are for: `origin` is a refund's, or 'dispute'. A reserve without a source has no origin.
RESERVED = """
    SELECT v.*, v.pending + v.available + v.receivable AS covered,
           coalesce(r.origin, CASE WHEN d.id IS NOT NULL THEN 'dispute' END) AS origin,
           coalesce(r.status, d.status) AS source_status, coalesce(r.payment_id, d.payment_id) AS source_payment_id,
           coalesce(r.currency, d.currency) AS source_currency
    FROM reserve v LEFT JOIN refund r ON r.id = v.source_id LEFT JOIN dispute d ON d.id = v.source_id
"""

# `domain.status.order_refund_status` in SQL, of the columns `captured_amount`, `taken` and `held`.
REFUND_STATUS = f"""
    CASE WHEN held > 0 THEN '{OrderRefundStatus.REFUNDING}'
         WHEN taken >= captured_amount AND captured_amount > 0 THEN '{OrderRefundStatus.REFUNDED}'
         WHEN taken > 0 THEN '{OrderRefundStatus.PARTIALLY_REFUNDED}' END
"""

# What is posted for each reserve, by what it does. `set_aside` is the first posting alone, `reserved` all of them.
RESERVES_POSTED = """
    SELECT v.id,
           coalesce(-sum(p.amount) FILTER (WHERE first AND bucket = 'reserved'), 0) AS set_aside,
           coalesce(sum(p.amount) FILTER (WHERE first AND bucket = 'pending'), 0) AS pending,
           coalesce(sum(p.amount) FILTER (WHERE first AND bucket = 'available'), 0) AS available,
           coalesce(sum(p.amount) FILTER (WHERE first AND p.account LIKE 'receivable:%'), 0) AS receivable,
           coalesce(-sum(p.amount) FILTER (WHERE bucket = 'reserved'), 0) AS reserved,
           coalesce(-sum(p.amount) FILTER (WHERE p.account LIKE 'psp_clearing:%'), 0) AS refunded,
           coalesce(sum(p.amount) FILTER (WHERE p.account = 'platform_fees'), 0) AS fee_returned,
           coalesce(-sum(p.amount) FILTER (WHERE p.account = 'disputes_held'), 0) AS lost,
           coalesce(-sum(p.amount) FILTER (WHERE p.account = 'psp_fees'), 0) AS fee_borne,
           count(*) FILTER (WHERE p.account LIKE '%:%' AND p.account NOT LIKE 'psp_clearing:%'
                                  AND split_part(p.account, ':', 2) <> v.seller_account) AS foreign_lines
    FROM reserve v
    JOIN ledger_transaction t ON t.source_id = v.id AND t.kind IN ('refund_reserve', 'refund_release', 'refund',
         'refund_reversal', 'dispute_reserve', 'dispute_release', 'dispute_loss', 'dispute_loss_reversal')
    JOIN ledger_posting p ON p.transaction_id = t.id AND p.currency = v.currency
    CROSS JOIN LATERAL (SELECT t.kind IN ('refund_reserve', 'dispute_reserve') AS first,
                               split_part(p.account, ':', 3) AS bucket) x
    GROUP BY v.id
"""
