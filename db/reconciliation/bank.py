"""Matching a bank statement: what the PSP paid to our bank, as we booked it, against the entries of our account.

An entry is matched by the PSP's name of the payout among its references, else by the PSP's name of the movement, else
by amount, currency and time. In a run that applies that is also the confirmation: the item of a match says on which
statement it was, and the entry stays the payout's in every later run. A dry run confirms nothing.

A statement is of one account, and only payouts in its entries' currencies are expected on it. An account has entries
that are nothing of the PSP's: what neither names the PSP or a payout of it, nor is like one, is told and no more.
"""

# ruff: noqa: S608 - put together from constants of this module

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.reconciliation import finding as reconciliation_finding
from db.reconciliation.finding import Tally
from db.reconciliation.sql.facts import table
from domain.ledger import BANK
from domain.reconciliation.pair import Terms
from domain.reconciliation.reconciliation import Subject

GUESS_DAYS = 10
"""The most days between a payout and its entry where only the amount says that they belong together."""

PAYOUT_NAME = "^(po|txn)_"
"""The PSP's names of payouts and their movements: one that is not booked here is on a statement all the same."""

LOOK_BACK_DAYS = 60
"""A payout that no statement has confirmed is looked for in each, for so long before the statement's window."""

_BARE = "regexp_replace({reference}, '#[0-9a-f]{{12}}', '')"
"""An entry's reference without the digest of what it says: the bank's own."""

_MATCH: list[str] = [
    *table("bank_entry", "SELECT * FROM reconciliation_line WHERE run_id = :run"),
    # An entry that earlier runs knew by the bank's reference alone keeps that name.
    f"""
    UPDATE bank_entry e SET reference = i.line_reference
    FROM reconciliation_item i JOIN reconciliation_run r ON r.id = i.run_id
    WHERE r.psp = :psp AND r.subject = 'bank' AND r.id <> :run AND i.line_reference <> e.reference
      AND i.line_reference = {_BARE.format(reference="e.reference")} AND i.there_amount = e.amount
      AND i.there_currency = e.currency
      AND date_trunc('day', i.occurred_at, 'UTC') = date_trunc('day', e.occurred_at, 'UTC')
    """,
    # Entries of this statement, and those of earlier ones that nothing here belonged to.
    *table(
        "bank_line",
        """
        SELECT *, 1 AS origin, occurred_at >= :window_from AND occurred_at < :window_to AS judged
        FROM bank_entry
        UNION ALL
        SELECT x.*, 2, true
        FROM discrepancy d JOIN reconciliation_line x ON x.run_id = d.line_run_id AND x.line_no = d.line_no
        WHERE d.status = 'OPEN' AND d.psp = :psp AND d.subject = 'bank' AND d.class <> 'duplicate'
          AND NOT EXISTS (SELECT FROM bank_entry l WHERE l.reference = x.reference)
        UNION ALL
        -- What was like nothing then may be what was booked since.
        (SELECT DISTINCT ON (x.reference) x.*, 3, false
         FROM reconciliation_run r JOIN reconciliation_item i ON i.run_id = r.id AND i.class = 'unrelated'
         JOIN reconciliation_line x ON x.run_id = i.run_id AND x.line_no = i.line_no
         WHERE r.psp = :psp AND r.subject = 'bank' AND r.id <> :run AND r.at >= :since
           AND NOT EXISTS (SELECT FROM bank_entry l WHERE l.reference = x.reference)
         ORDER BY x.reference, x.run_id)
        """,
    ),
    *table(
        "bank_numbered",
        "SELECT *, row_number() OVER (PARTITION BY reference ORDER BY origin, line_no) AS copy FROM bank_line",
    ),
    *table(
        "bank_fact",
        """
        SELECT b.*, i.line_reference AS confirmed_by, i.how AS confirmed_how,
               i.line_reference IS NULL AND b.at < :window_to
               AND (b.currency IN (SELECT currency FROM bank_line WHERE origin = 1)
                    OR NOT EXISTS (SELECT FROM bank_line WHERE origin = 1)) AS must
        FROM (SELECT CASE t.kind WHEN 'bank_payout' THEN 'payout' ELSE 'payout_reversal' END AS kind,
                     substr(t.source_id, length(:psp) + 2) AS key, t.tenant_id, p.amount, p.currency, t.at
              FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = :account
              WHERE t.kind IN ('bank_payout', 'bank_payout_reversal') AND starts_with(t.source_id, :psp || ':')
                AND t.at >= :since) b
        LEFT JOIN LATERAL (
            SELECT i.line_reference, i.how FROM reconciliation_item i JOIN reconciliation_run r ON r.id = i.run_id
            WHERE i.object_id = b.key AND i.kind = b.kind AND i.class = 'matched' AND r.subject = 'bank'
              AND r.psp = :psp AND r.apply AND r.id <> :run
            ORDER BY i.seq LIMIT 1) i ON true
        """,
    ),
    # Under which names a payout may be on a statement: its own, and those of its movements at the PSP.
    *table(
        "bank_name",
        """
        SELECT f.kind, f.key, f.key AS name FROM bank_fact f
        UNION
        SELECT f.kind, f.key, d.line_reference FROM bank_fact f
        JOIN discrepancy d ON d.psp = :psp AND d.subject = 'psp' AND d.fingerprint = f.kind || ':' || f.key
        WHERE d.line_reference IS NOT NULL
        """,
    ),
    *table(
        "bank_named",
        """
        SELECT *, row_number() OVER (PARTITION BY kind, key ORDER BY same DESC, occurred_at, line_no) AS n
        FROM (SELECT DISTINCT ON (l.run_id, l.line_no) l.run_id, l.line_no, l.reference, l.amount, l.currency,
                     l.occurred_at, n.kind, n.key, n.how, coalesce(f.confirmed_by = l.reference, false) AS same,
                     f.confirmed_by
              FROM bank_numbered l
              JOIN (SELECT b.run_id, b.line_no, n.kind, n.key, 'psp_id' AS how
                    FROM bank_numbered b JOIN bank_name n ON n.name = ANY (b.names)
                    UNION ALL
                    -- An entry that confirmed a payout stays its match, whatever brought them together.
                    SELECT b.run_id, b.line_no, f.kind, f.key, f.confirmed_how
                    FROM bank_numbered b JOIN bank_fact f ON f.confirmed_by = b.reference) n
                   ON n.run_id = l.run_id AND n.line_no = l.line_no
              JOIN bank_fact f ON f.kind = n.kind AND f.key = n.key AND sign(f.amount) = sign(l.amount)
              WHERE l.copy = 1
              ORDER BY l.run_id, l.line_no, same DESC, abs(f.amount - l.amount), n.key, n.how DESC) named
        """,
    ),
    *table(
        "bank_guess",
        """
        SELECT l.run_id, l.line_no, f.kind, f.key,
               count(*) OVER (PARTITION BY l.run_id, l.line_no) AS facts,
               count(*) OVER (PARTITION BY f.kind, f.key) AS lines
        FROM bank_numbered l
        JOIN bank_fact f ON f.amount = l.amount AND f.currency = l.currency AND f.must
         AND abs(extract(epoch FROM f.at - l.occurred_at)) <= :guess_s
        WHERE l.copy = 1
          AND NOT EXISTS (SELECT FROM bank_named n WHERE n.run_id = l.run_id AND n.line_no = l.line_no)
          AND NOT EXISTS (SELECT FROM bank_named n WHERE n.kind = f.kind AND n.key = f.key)
        """,
    ),
    *table(
        "bank_pair",
        """
        SELECT row_number() OVER () AS pair_no, coalesce(f.kind, m.kind, 'bank') AS kind,
               coalesce(f.key, m.key, l.reference) AS key, f.tenant_id, coalesce(f.key, m.key) AS object_id,
               coalesce(l.judged, false) AS judged, coalesce(f.must, false) AS must, l.origin, l.run_id, l.line_no,
               l.reference, l.amount AS there_amount, 0::bigint AS fee, l.currency AS there_currency, l.occurred_at,
               m.how, f.amount AS ledger_amount, f.currency AS ledger_currency, f.at AS ledger_at,
               CASE WHEN l.copy > 1 THEN l.reference ELSE m.duplicate_of END AS duplicate_of,
               l.copy = 1 AND m.kind IS NULL
               AND NOT EXISTS (SELECT FROM bank_guess g WHERE g.run_id = l.run_id AND g.line_no = l.line_no)
               AND strpos(lower(coalesce(l.description, '') || ' ' || array_to_string(l.names, ' ')), :psp) = 0
               AND NOT EXISTS (SELECT FROM unnest(l.names) name WHERE name ~ :payout_name) AS unrelated
        FROM bank_numbered l
        LEFT JOIN (
            SELECT run_id, line_no, kind, key, how,
                   CASE WHEN n > 1 THEN first_value(reference) OVER (PARTITION BY kind, key ORDER BY n)
                        WHEN confirmed_by <> reference THEN confirmed_by END AS duplicate_of
            FROM bank_named
            UNION ALL
            SELECT run_id, line_no, kind, key, 'guess', NULL FROM bank_guess WHERE facts = 1 AND lines = 1
        ) m ON m.run_id = l.run_id AND m.line_no = l.line_no AND l.copy = 1
        FULL JOIN bank_fact f ON f.kind = m.kind AND f.key = m.key AND m.duplicate_of IS NULL
        """,
        "CREATE INDEX ON bank_pair (pair_no)",  # it is read page by page
    ),
]

_PAIRS = "SELECT * FROM bank_pair WHERE (judged OR must) AND pair_no > :after ORDER BY pair_no LIMIT :limit"

_LACKING = dict.fromkeys(
    (
        "payment_id", "payment_status", "record_amount", "record_currency", "record_status", "record_at",
        "source_reference", "charge_reference", "our_reference", "fee_amount", "part_no",
    )
)  # fmt: skip
"""Columns of a pair that a bank knows nothing of."""

_DAY_S = 86_400
_PAGE = 1_000


async def match(connection: AsyncConnection, run: dict[str, Any], terms: Terms, tally: Tally) -> None:
    """Find the entry of each payout to our bank, and the entries that are nothing of ours."""
    window = (run["window_from"] or terms.at, run["window_to"] or terms.at)
    since = await connection.scalar(
        text("SELECT cast(:at AS timestamptz) - make_interval(days => :days)"),
        {"at": window[0], "days": LOOK_BACK_DAYS},
    )
    values = {
        "run": run["id"],
        "psp": run["psp"],
        "account": BANK,
        "window_from": window[0],
        "window_to": window[1],
        "since": since,
        "guess_s": GUESS_DAYS * _DAY_S,
        "payout_name": PAYOUT_NAME,
    }
    for statement in _MATCH:
        await connection.execute(text(statement), {name: values[name] for name in values if f":{name}" in statement})
    after = 0
    while True:
        rows = await connection.execute(text(_PAIRS), {"after": after, "limit": _PAGE})
        page = [_LACKING | dict(row) for row in rows.mappings()]
        pairs = [(reconciliation_finding.pair_of(row, Subject.BANK), row) for row in page]
        await reconciliation_finding.record(connection, run, pairs, terms, tally)
        if len(page) < _PAGE:
            return
        after = page[-1]["pair_no"]
