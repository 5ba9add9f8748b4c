"""The money invariants, each as one query that returns what violates it: no rows is a clean audit.

All of them are read in one snapshot (repeatable read, read only), so that a running system audits clean: what belongs
together is committed together. What takes its time is given it: the graces are below, each with its reason.
The seal of the ledger (I13), payouts (I15) and reconciliation have no tables yet.
"""

# ruff: noqa: S608 - what is put into the queries are the constants of this file and of `domain`

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.database import Database
from db.tables import ledger_account, ledger_posting, payment
from domain.status import TERMINAL, TRANSITIONS, Status, combined

FINDINGS_MAX = 100
"""Rows that are read per invariant; all are counted."""


@dataclass(frozen=True)
class Finding:
    """One row that violates an invariant."""

    code: str
    tenant_id: str
    object_id: str
    problem: str

    def __str__(self) -> str:
        return f"{self.code} {self.object_id} ({self.tenant_id}): {self.problem}"


@dataclass(frozen=True)
class Invariant:
    """`sql` returns (tenant_id, object_id, problem) for each violation; `table` is what it looks through."""

    code: str
    title: str
    table: str
    sql: str


@dataclass(frozen=True)
class Checked:
    """What an invariant's query said: how many rows it looked through, how many violate it, the first of those."""

    code: str
    title: str
    rows: int
    violations: int
    findings: list[Finding] = field(default_factory=list)


# --- words shared by the queries ---


def _words(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_ENDED = _words(sorted(TERMINAL))
_UNPAID = _words((Status.FAILED, Status.CANCELLED))

# At its deadline a payment is voided at the PSP, which may not answer; the sweeper opens a task after five minutes.
_DEADLINE_GRACE = "interval '6 minutes'"
# No step lasts this long: whatever has not moved on by then is stuck.
_STEP_MAX = "interval '15 minutes'"
# A pending refund is looked at every hour at the latest.
_REFUND_LOOK_MAX = "interval '3 hours'"
# Between a person's decision, which closes the task, and what the workflow makes of it.
_DECISION_GRACE = "interval '15 minutes'"
_WEBHOOK_MAX = "interval '5 minutes'"


def _attended(owner: str) -> str:
    """Whether somebody has to look at a payment, or has just decided about it."""
    return (
        f"EXISTS (SELECT FROM operator_task k WHERE k.payment_id = {owner}"
        f" AND (k.closed_at IS NULL OR k.closed_at > now() - {_DECISION_GRACE}))"
    )


def _pairs() -> str:
    return ", ".join(f"('{old}', '{new}')" for old in Status for new in sorted(TRANSITIONS[old]))


def _ranks() -> str:
    """`domain.status.combined` as a table: of a payment's orders the one with the lowest rank gives the status."""

    def precedence(one: Status, other: Status) -> int:
        return -1 if combined([one, other]) is one else 1

    ranked = sorted(Status, key=cmp_to_key(precedence))
    return ", ".join(f"('{status}', {rank})" for rank, status in enumerate(ranked))


# What happened to a payment's money, from its postings alone: `captured` is with the sellers and us, `held` in
# suspense, `refunded` back with the buyer. A refund that the PSP took back is a reversal and counts again as held.
_MONEY = """
    SELECT t.tenant_id, t.payment_id, p.currency,
           coalesce(sum(p.amount) FILTER (WHERE t.kind = 'capture' AND p.account LIKE 'psp_clearing:%'), 0)
         + coalesce(sum(p.amount) FILTER (WHERE t.kind = 'capture_reversal' AND p.account = 'suspense'), 0) AS captured,
           coalesce(-sum(p.amount) FILTER (WHERE p.account = 'suspense'), 0) AS held,
           coalesce(-sum(p.amount) FILTER (WHERE t.kind IN ('suspense_refund', 'suspense_refund_reversal')
                                             AND p.account LIKE 'psp_clearing:%'), 0) AS refunded
    FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
    WHERE t.payment_id IS NOT NULL
    GROUP BY t.tenant_id, t.payment_id, p.currency
"""

# Refunds that are recorded and not yet made: their money waits in suspense.
_OWED = """
    SELECT payment_id, currency, sum(amount) AS amount FROM refund WHERE status <> 'SUCCEEDED'
    GROUP BY payment_id, currency
"""


# --- the books ---

_BOOKS = (
    Invariant(
        "I1",
        "the postings of a transaction sum to zero",
        "ledger_transaction",
        """
        SELECT t.tenant_id, t.id AS object_id,
               format('%s of %s sums to %s %s', t.kind, t.source_id, sum(p.amount), p.currency) AS problem
        FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
        GROUP BY t.id, p.currency HAVING sum(p.amount) <> 0
        """,
    ),
    Invariant(
        "I2",
        "the whole ledger sums to zero",
        "ledger_posting",
        """
        SELECT tenant_id, currency AS object_id,
               format('all postings in %s sum to %s', currency, sum(amount)) AS problem
        FROM ledger_posting GROUP BY tenant_id, currency HAVING sum(amount) <> 0
        """,
    ),
    Invariant(
        "I3",
        "a wallet is the sum of its postings",
        "wallet",
        """
        WITH posted AS (
            SELECT tenant_id, split_part(account, ':', 2) AS seller, currency, split_part(account, ':', 3) AS bucket,
                   -sum(amount) AS total
            FROM ledger_posting WHERE account LIKE 'wallet:%' GROUP BY 1, 2, 3, 4
        ), shown AS (
            SELECT tenant_id, seller_account AS seller, currency, bucket, total
            FROM wallet CROSS JOIN LATERAL
                 (VALUES ('pending', pending), ('available', available), ('reserved', reserved)) AS b(bucket, total)
        )
        SELECT tenant_id, format('wallet:%s:%s', seller, bucket) AS object_id,
               format('its postings sum to %s %s and its balance is %s',
                      coalesce(posted.total, 0), currency, coalesce(shown.total::text, 'missing')) AS problem
        FROM posted FULL JOIN shown USING (tenant_id, seller, currency, bucket)
        WHERE shown.total IS NULL OR shown.total <> coalesce(posted.total, 0)
        """,
    ),
    Invariant(
        "I10",
        "one transaction per kind and source",
        "ledger_transaction",
        """
        SELECT min(tenant_id) AS tenant_id, source_id AS object_id,
               format('%s is booked %s times: %s', kind, count(*), string_agg(id, ', ' ORDER BY seq)) AS problem
        FROM ledger_transaction GROUP BY kind, source_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I11",
        "two postings or more, none zero, on an account of the currency",
        "ledger_posting",
        """
        SELECT t.tenant_id, t.id AS object_id,
               format('%s of %s has %s posting(s)', t.kind, t.source_id, count(p.seq)) AS problem
        FROM ledger_transaction t LEFT JOIN ledger_posting p ON p.transaction_id = t.id
        GROUP BY t.id HAVING count(p.seq) < 2
        UNION ALL
        SELECT tenant_id, transaction_id, format('posting %s to %s is zero', seq, account)
        FROM ledger_posting WHERE amount = 0
        UNION ALL
        SELECT p.tenant_id, p.transaction_id,
               format('posting %s is to %s in %s, which is no account', p.seq, p.account, p.currency)
        FROM ledger_posting p
        LEFT JOIN ledger_account a ON (a.tenant_id, a.name, a.currency) = (p.tenant_id, p.account, p.currency)
        WHERE a.name IS NULL
        UNION ALL
        SELECT p.tenant_id, p.transaction_id, format('posting %s has no transaction of its tenant', p.seq)
        FROM ledger_posting p LEFT JOIN ledger_transaction t ON t.id = p.transaction_id AND t.tenant_id = p.tenant_id
        WHERE t.id IS NULL
        """,
    ),
    Invariant(
        "I12",
        "no balance of a wallet is negative",
        "wallet",
        """
        SELECT tenant_id, format('wallet:%s:%s', seller_account, bucket) AS object_id,
               format('the balance is %s %s', total, currency) AS problem
        FROM wallet CROSS JOIN LATERAL
             (VALUES ('pending', pending), ('available', available), ('reserved', reserved)) AS b(bucket, total)
        WHERE total < 0
        """,
    ),
)

# --- charges and refunds ---

_CHARGES = (
    Invariant(
        "I4",
        "at most one charge of a payment that was not refunded",
        "charge",
        """
        WITH kept AS (
            SELECT c.tenant_id, c.payment_id, c.id
            FROM charge c
            LEFT JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS amount FROM refund r
                               WHERE r.charge_id = c.id AND r.status = 'SUCCEEDED') back ON true
            WHERE (c.outcome = 'SUCCEEDED' OR c.received_amount > 0)
              AND coalesce(c.received_amount, c.amount) > back.amount
        )
        SELECT min(tenant_id) AS tenant_id, payment_id AS object_id,
               format('the buyer was charged %s times: %s', count(*), string_agg(id, ', ' ORDER BY id)) AS problem
        FROM kept GROUP BY payment_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I5",
        "what was received is captured, refunded or held with a task",
        "charge",
        f"""
        WITH received AS (
            SELECT tenant_id, payment_id, received_currency AS currency, sum(received_amount) AS amount
            FROM charge WHERE received_amount IS NOT NULL GROUP BY 1, 2, 3
        ), sums AS (
            SELECT tenant_id, payment_id, currency, coalesce(r.amount, 0) AS received,
                   coalesce(m.captured, 0) AS captured, coalesce(m.held, 0) AS held, coalesce(m.refunded, 0) AS refunded
            FROM received r FULL JOIN ({_MONEY}) m USING (tenant_id, payment_id, currency)
        ), due AS (
            SELECT s.*, p.status IN ({_ENDED}) OR p.deadline_at < now() - {_DEADLINE_GRACE}
                        OR (p.status = '{Status.EXECUTING}' AND p.updated_at < now() - {_STEP_MAX}) AS is_due
            FROM sums s JOIN payment p ON p.id = s.payment_id
        )
        SELECT tenant_id, payment_id AS object_id,
               format('received %s %s, but captured %s, refunded %s and holds %s',
                      received, currency, captured, refunded, held) AS problem
        FROM due
        WHERE (is_due AND captured + refunded + held <> received) OR captured + refunded + held > received
           OR least(captured, refunded, held) < 0
        UNION ALL
        SELECT d.tenant_id, d.payment_id,
               format('holds %s %s in suspense, of which refunds cover %s, and no task is open for it',
                      d.held, d.currency, coalesce(o.amount, 0))
        FROM due d LEFT JOIN ({_OWED}) o USING (payment_id, currency)
        WHERE d.is_due AND d.held <> coalesce(o.amount, 0) AND NOT {_attended("d.payment_id")}
        UNION ALL
        SELECT c.tenant_id, c.payment_id, format('the PSP took the money of %s and it is not booked', c.id)
        FROM charge c JOIN payment p ON p.id = c.payment_id
        WHERE c.outcome = 'SUCCEEDED' AND NOT c.booked
          AND (p.status IN ({_ENDED}) OR p.updated_at < now() - {_STEP_MAX})
        """,
    ),
    Invariant(
        "I6",
        "captured is what the orders ask for, and what is posted",
        "payment_order",
        """
        WITH posted AS (
            SELECT t.order_id, p.currency,
                   coalesce(sum(p.amount) FILTER (WHERE t.kind = 'capture' AND p.account LIKE 'psp_clearing:%'), 0)
                       AS gross,
                   coalesce(-sum(p.amount) FILTER (WHERE t.kind = 'capture_reversal' AND p.account = 'suspense'), 0)
                       AS reversed,
                   coalesce(-sum(p.amount) FILTER (WHERE p.account = 'platform_fees'), 0) AS fee
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE t.order_id IS NOT NULL AND t.kind IN ('capture', 'capture_reversal')
            GROUP BY t.order_id, p.currency
        ), orders AS (
            SELECT o.*, coalesce(x.gross, 0) AS gross, coalesce(x.gross - x.reversed, 0) AS captured,
                   coalesce(x.fee, 0) AS fee
            FROM payment_order o LEFT JOIN posted x ON x.order_id = o.id AND x.currency = o.currency
        )
        SELECT tenant_id, id AS object_id,
               format('%s %s is asked for and %s was captured', amount, currency, gross) AS problem
        FROM orders WHERE gross > amount OR captured < 0
        UNION ALL
        SELECT tenant_id, id,
               format('%s with ledger_updated %s, but the ledger says %s of %s %s', status, ledger_updated, captured,
                      amount, currency)
        FROM orders WHERE captured <> CASE WHEN ledger_updated THEN amount ELSE 0 END
        UNION ALL
        SELECT tenant_id, id, format('the platform fee is %s %s and %s is posted', platform_fee, currency, fee)
        FROM orders WHERE fee <> CASE WHEN captured = 0 THEN 0 ELSE platform_fee END
        UNION ALL
        SELECT o.tenant_id, o.id, format('is in %s and posted in %s', o.currency, x.currency)
        FROM posted x JOIN payment_order o ON o.id = x.order_id WHERE x.currency <> o.currency
        UNION ALL
        SELECT p.tenant_id, p.id, format('is %s %s and its orders sum to %s', p.amount, p.currency, sum(o.amount))
        FROM payment p LEFT JOIN payment_order o ON o.payment_id = p.id AND o.currency = p.currency
        GROUP BY p.id HAVING p.amount <> coalesce(sum(o.amount), 0)
        UNION ALL
        SELECT c.tenant_id, c.id,
               format('asks the PSP for %s %s instead of %s %s', c.amount, c.currency, p.amount, p.currency)
        FROM charge c JOIN payment p ON p.id = c.payment_id WHERE (c.amount, c.currency) <> (p.amount, p.currency)
        """,
    ),
    Invariant(
        "I7",
        "refunds are at most what was received, and booked once made",
        "refund",
        """
        SELECT c.tenant_id, c.id AS object_id,
               format('received %s, notes refunds of %s, and they sum to %s',
                      coalesce(c.received_amount, 0), c.refund_amount, coalesce(sum(r.amount), 0)) AS problem
        FROM charge c LEFT JOIN refund r ON r.charge_id = c.id
        GROUP BY c.id
        HAVING coalesce(sum(r.amount), 0) > coalesce(c.received_amount, 0)
            OR coalesce(sum(r.amount), 0) <> c.refund_amount
        UNION ALL
        SELECT r.tenant_id, r.id, format('%s of %s %s, but %s is booked', r.status, r.amount, r.currency, booked.amount)
        FROM refund r
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(p.amount), 0) AS amount
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE split_part(t.source_id, ':', 1) = r.id AND t.kind IN ('suspense_refund', 'suspense_refund_reversal')
              AND p.account = 'suspense' AND p.currency = r.currency
        ) booked ON true
        WHERE booked.amount <> CASE WHEN r.status = 'SUCCEEDED' THEN r.amount ELSE 0 END
        UNION ALL
        SELECT r.tenant_id, r.id, format('is in %s and the charge in %s', r.currency, c.received_currency)
        FROM refund r JOIN charge c ON c.id = r.charge_id WHERE r.currency IS DISTINCT FROM c.received_currency
        UNION ALL
        -- Its money is back with the PSP while our books say that the buyer has it.
        SELECT r.tenant_id, r.id, format('is SUCCEEDED, but the PSP said later that it failed (%s)', w.event_id)
        FROM refund r JOIN webhook_inbox w ON w.payment_id = r.payment_id AND w.reference = r.reference
        WHERE r.status = 'SUCCEEDED' AND w.type = 'refund.failed'
          AND NOT EXISTS (SELECT FROM operator_task k
                          WHERE k.payment_id = r.payment_id AND k.opened_at >= w.received_at)
        """,
    ),
)

# --- the life of a payment ---

_LIFE = (
    Invariant(
        "I8",
        "nothing is stuck without a task for a person",
        "payment",
        f"""
        SELECT tenant_id, id AS object_id, format('%s, past its deadline of %s', status, deadline_at) AS problem
        FROM payment p
        WHERE status NOT IN ({_ENDED}) AND deadline_at < now() - {_DEADLINE_GRACE} AND NOT {_attended("p.id")}
        UNION ALL
        SELECT tenant_id, id, format('EXECUTING since %s', updated_at)
        FROM payment p
        WHERE status = '{Status.EXECUTING}' AND updated_at < now() - {_STEP_MAX} AND NOT {_attended("p.id")}
        UNION ALL
        SELECT tenant_id, id, format('NEEDS_ATTENTION since %s, and no task is open', updated_at)
        FROM payment p WHERE status = '{Status.NEEDS_ATTENTION}' AND NOT {_attended("p.id")}
        UNION ALL
        SELECT tenant_id, payment_id, format('refund %s is %s since %s', id, status, updated_at)
        FROM refund r
        WHERE NOT {_attended("r.payment_id")}
          AND (status IN ('FAILED', 'NEEDS_ATTENTION')
               OR (status = 'REQUESTED' AND updated_at < now() - {_STEP_MAX})
               OR (status = 'PENDING' AND updated_at < now() - {_REFUND_LOOK_MAX}))
        """,
    ),
    Invariant(
        "I9",
        "an unpaid order nets to zero, but for the PSP's fee",
        "payment_order",
        f"""
        SELECT o.tenant_id, o.id AS object_id,
               format('%s, and %s is left with %s %s', o.status, p.account, sum(p.amount), p.currency) AS problem
        FROM payment_order o JOIN ledger_transaction t ON t.order_id = o.id
        JOIN ledger_posting p ON p.transaction_id = t.id
        WHERE o.status IN ({_UNPAID})
          -- a refund that came back, or is being made: its money is looked at per payment below
          AND NOT EXISTS (SELECT FROM refund r WHERE r.order_id = o.id AND r.status <> 'SUCCEEDED')
        GROUP BY o.id, p.account, p.currency HAVING sum(p.amount) <> 0
        UNION ALL
        SELECT y.tenant_id, y.id, format('%s, and suspense holds %s %s', y.status, m.held, m.currency)
        FROM payment y JOIN ({_MONEY}) m ON m.payment_id = y.id
        LEFT JOIN ({_OWED}) w ON w.payment_id = y.id AND w.currency = m.currency
        WHERE y.status IN ({_ENDED}) AND m.held <> coalesce(w.amount, 0)
        UNION ALL
        SELECT s.tenant_id, s.id, format('%s, and %s is left with %s %s', s.status, s.account, s.total, s.currency)
        FROM (
            SELECT y.tenant_id, y.id, y.status, p.account, p.currency, sum(p.amount) AS total,
                   -- of this sum, what the PSP keeps, and what a late charge's refund is about to take away
                   coalesce(sum(p.amount) FILTER (WHERE t.kind = 'psp_fee'), 0)
                 + CASE WHEN p.account LIKE 'psp_clearing:%' THEN coalesce(max(w.amount), 0)
                        WHEN p.account = 'suspense' THEN -coalesce(max(w.amount), 0) ELSE 0 END AS expected
            FROM payment y JOIN ledger_transaction t ON t.payment_id = y.id
            JOIN ledger_posting p ON p.transaction_id = t.id
            LEFT JOIN ({_OWED}) w ON w.payment_id = y.id AND w.currency = p.currency
            WHERE y.status IN ({_UNPAID})
            GROUP BY y.id, p.account, p.currency
        ) s WHERE s.total <> s.expected
        UNION ALL
        SELECT c.tenant_id, c.payment_id,
               format('the PSP kept %s %s and %s is booked', c.fee->>'amount', c.fee->>'currency', f.amount)
        FROM charge c CROSS JOIN LATERAL (
            SELECT coalesce(sum(p.amount), 0) AS amount FROM ledger_transaction t
            JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = 'psp_fees'
            WHERE t.kind = 'psp_fee' AND t.source_id = c.psp || ':' || (c.fee->>'reference')
              AND p.currency = c.fee->>'currency'
        ) f
        WHERE c.booked AND c.fee IS NOT NULL AND f.amount <> (c.fee->>'amount')::bigint
        """,
    ),
    Invariant(
        "I14",
        "each status follows from the one before, the last is shown",
        "payment_order_transition",
        f"""
        WITH chain AS (
            SELECT x.*, lag(to_status) OVER (PARTITION BY order_id ORDER BY seq) AS before,
                   lead(seq) OVER (PARTITION BY order_id ORDER BY seq) IS NULL AS is_last
            FROM payment_order_transition x
        )
        SELECT tenant_id, order_id AS object_id,
               format('step %s leaves %s, but the one before had come to %s', seq, from_status, before) AS problem
        FROM chain WHERE from_status IS DISTINCT FROM before
        UNION ALL
        SELECT tenant_id, order_id,
               format('step %s goes from %s to %s, which is not allowed', seq, from_status, to_status)
        FROM chain
        WHERE CASE WHEN from_status IS NULL THEN to_status NOT IN ('{Status.NOT_STARTED}', '{Status.EXECUTING}')
                   ELSE (from_status, to_status) NOT IN ({_pairs()}) END
        UNION ALL
        SELECT o.tenant_id, o.id,
               format('is %s, and its last step came to %s', o.status, coalesce(c.to_status, 'nothing'))
        FROM payment_order o LEFT JOIN chain c ON c.order_id = o.id AND c.is_last
        WHERE o.status IS DISTINCT FROM c.to_status
        UNION ALL
        SELECT p.tenant_id, p.id, format('is %s, and its orders amount to %s', p.status, coalesce(x.status, 'nothing'))
        FROM payment p LEFT JOIN LATERAL (
            SELECT o.status FROM payment_order o JOIN (VALUES {_ranks()}) AS ranks(status, rank) USING (status)
            WHERE o.payment_id = p.id ORDER BY rank LIMIT 1
        ) x ON true
        WHERE p.status IS DISTINCT FROM x.status
        """,
    ),
    Invariant(
        "I16",
        "every webhook is processed in time, and once",
        "webhook_inbox",
        f"""
        SELECT tenant_id, id AS object_id, format('%s %s waits since %s', type, event_id, received_at) AS problem
        FROM webhook_inbox WHERE status = 'RECEIVED' AND received_at < now() - {_WEBHOOK_MAX}
        UNION ALL
        SELECT tenant_id, id, format('%s %s was given up, and no task was opened', type, event_id)
        FROM webhook_inbox w
        WHERE status = 'DEAD'
          AND NOT EXISTS (SELECT FROM operator_task k WHERE k.kind = 'webhook_dead'
                          AND k.payment_id IS NOT DISTINCT FROM w.payment_id)
        UNION ALL
        SELECT min(tenant_id), string_agg(id, ', ' ORDER BY id),
               format('%s %s is stored %s times', psp, event_id, count(*))
        FROM webhook_inbox GROUP BY psp, event_id HAVING count(*) > 1
        """,
    ),
)

# --- what is shown to the outside ---

_SHOWN = (
    Invariant(
        "P1",
        "wallet and ledger flags say what the status says",
        "payment_order",
        f"""
        SELECT tenant_id, id AS object_id,
               format('%s with wallet_updated %s and ledger_updated %s', status, wallet_updated, ledger_updated)
                   AS problem
        FROM payment_order
        WHERE wallet_updated <> ledger_updated OR (status = '{Status.SUCCESS}' AND NOT wallet_updated)
           OR (status IN ({_UNPAID}) AND wallet_updated)
        """,
    ),
    Invariant(
        "P2",
        "a payment is done when all of its orders are paid",
        "payment",
        f"""
        SELECT p.tenant_id, p.id AS object_id,
               format('is_payment_done is %s, and %s of %s orders are paid', p.is_payment_done,
                      count(o.id) FILTER (WHERE o.status = '{Status.SUCCESS}'), count(o.id)) AS problem
        FROM payment p LEFT JOIN payment_order o ON o.payment_id = p.id
        GROUP BY p.id HAVING p.is_payment_done IS DISTINCT FROM coalesce(bool_and(o.status = '{Status.SUCCESS}'), false)
        """,
    ),
    Invariant(
        "P3",
        "each step of an order has its event",
        "outbox",
        """
        WITH steps AS (
            SELECT tenant_id, order_id AS id,
                   'payment_order.' || CASE WHEN from_status IS NULL THEN 'created' ELSE lower(to_status) END AS type,
                   count(*) AS n
            FROM payment_order_transition GROUP BY 1, 2, 3
        ), events AS (
            SELECT tenant_id, object_id AS id, type, count(*) AS n FROM outbox
            WHERE type LIKE 'payment\\_order.%' GROUP BY 1, 2, 3
        )
        SELECT tenant_id, id AS object_id,
               format('%s step(s) and %s event(s) %s', coalesce(steps.n, 0), coalesce(events.n, 0), type) AS problem
        FROM steps FULL JOIN events USING (tenant_id, id, type)
        WHERE coalesce(steps.n, 0) <> coalesce(events.n, 0)
        """,
    ),
)

INVARIANTS: tuple[Invariant, ...] = tuple(
    sorted((*_BOOKS, *_CHARGES, *_LIFE, *_SHOWN), key=lambda invariant: (invariant.code[0], int(invariant.code[1:])))
)


async def run_audit(database: Database, invariants: Sequence[Invariant] = INVARIANTS) -> list[Checked]:
    """Ask each invariant, all in one snapshot. A statement is bounded by the database's own timeout."""

    async def work(connection: AsyncConnection) -> list[Checked]:
        # The first statement of the transaction, or PostgreSQL refuses it.
        await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        rows = {table: await _count(connection, table) for table in {invariant.table for invariant in invariants}}
        return [await _check(connection, invariant, rows[invariant.table]) for invariant in invariants]

    return await database.run(work)


async def audit_database(database: Database) -> list[Finding]:
    """Every violation (at most FINDINGS_MAX of each invariant); an empty list is a clean audit."""
    return [finding for checked in await run_audit(database) for finding in checked.findings]


async def _count(connection: AsyncConnection, table: str) -> int:
    return int((await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar_one())


async def _check(connection: AsyncConnection, invariant: Invariant, rows: int) -> Checked:
    limited = (
        f"SELECT tenant_id, object_id, problem, count(*) OVER () AS total FROM ({invariant.sql}) AS violations"
        f" ORDER BY tenant_id, object_id LIMIT {FINDINGS_MAX}"
    )
    found = (await connection.exec_driver_sql(limited)).all()
    findings = [Finding(invariant.code, row.tenant_id, row.object_id, row.problem) for row in found]
    return Checked(invariant.code, invariant.title, rows, found[0].total if found else 0, findings)


# --- beside the invariants ---


async def trial_balance(connection: AsyncConnection, tenant_id: str | None = None) -> list[dict[str, Any]]:
    """Every account with its balance, per currency (debit positive); their sum is zero."""
    query = (
        select(
            ledger_account.c.name,
            ledger_account.c.currency,
            ledger_account.c.kind,
            func.coalesce(func.sum(ledger_posting.c.amount), 0).label("balance"),
        )
        .outerjoin(
            ledger_posting,
            (ledger_posting.c.tenant_id == ledger_account.c.tenant_id)
            & (ledger_posting.c.account == ledger_account.c.name)
            & (ledger_posting.c.currency == ledger_account.c.currency),
        )
        .group_by(ledger_account.c.name, ledger_account.c.currency, ledger_account.c.kind)
        .order_by(ledger_account.c.currency, ledger_account.c.name)
    )
    if tenant_id is not None:
        query = query.where(ledger_account.c.tenant_id == tenant_id)
    return [dict(row) | {"balance": int(row["balance"])} for row in (await connection.execute(query)).mappings()]


async def open_payments(connection: AsyncConnection, older_than_s: float) -> list[dict[str, Any]]:
    """Payments that are open and to which nothing has happened for a while: each should have a workflow."""
    rows = await connection.execute(
        select(payment.c.id, payment.c.tenant_id, payment.c.status)
        .where(payment.c.status.not_in(sorted(TERMINAL)), payment.c.updated_at < _ago(older_than_s))
        .order_by(payment.c.id)
    )
    return [dict(row) for row in rows.mappings()]


async def ended_among(
    connection: AsyncConnection, payment_ids: Sequence[str], older_than_s: float
) -> list[dict[str, Any]]:
    """Those of the payments that ended a while ago: none should have a workflow."""
    rows = await connection.execute(
        select(payment.c.id, payment.c.tenant_id, payment.c.status)
        .where(
            payment.c.id.in_(payment_ids),
            payment.c.status.in_(sorted(TERMINAL)),
            payment.c.updated_at < _ago(older_than_s),
        )
        .order_by(payment.c.id)
    )
    return [dict(row) for row in rows.mappings()]


def _ago(seconds: float) -> Any:
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
