"""Matching a bank statement: what the PSP paid to our bank, as we booked it, against the entries of our account.

An entry is matched by the PSP's name of the payout among its references, or of the movement, or by the name under
which the bank itself has it (its trace id), in whatever case the bank writes them; else by amount, currency and day
(`domain.reconciliation.alike`), where several that are alike are a guess that the run's notes tell of. In a run that
applies that is also the confirmation: the item of a match says on which statement it was, and the entry stays the
payout's in every later run. A dry run confirms nothing.

A statement is of one account, and only payouts in its entries' currencies are expected on it. An account has entries
that are nothing of the PSP's: what neither names the PSP or a payout of it, nor is like one, is told and no more.
"""

# ruff: noqa: S608 - put together from constants of this module

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.reconciliation import finding as reconciliation_finding
from db.reconciliation import run as runs
from db.reconciliation.finding import Tally
from db.reconciliation.sql.facts import table
from domain.ledger import BANK
from domain.reconciliation import alike
from domain.reconciliation.alike import Entry, Paid
from domain.reconciliation.pair import Terms
from domain.reconciliation.reconciliation import Subject

PAYOUT_NAME = "^(po|txn)_"
"""The PSP's names of payouts and their movements: one that is not booked here is on a statement all the same."""

LOOK_BACK_DAYS = 60
"""A payout that no statement has confirmed is looked for in each, for so long before the statement's window."""

_OF_PSP = """(
    strpos(lower(coalesce(l.description, '') || ' ' || array_to_string(l.names, ' ')), :psp) > 0
    OR EXISTS (SELECT FROM unnest(l.names) name WHERE name ~ :payout_name))"""
"""True if an entry names the PSP, or a payout as the PSP does."""

NAME_CHARS_MIN = 10
"""The fewest letters and digits of a name that is looked for within an entry's text, and not only as a word of it."""


def _letters(sql: str) -> str:
    return f"regexp_replace(lower({sql}), '[^a-z0-9]', '', 'g')"


_TEXT = _letters("coalesce(b.description, '') || array_to_string(b.names, ' ')")

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
        SELECT b.*, coalesce(least(d.at, b.at), b.at) AS paid_at, i.line_reference AS confirmed_by,
               i.how AS confirmed_how, i.line_reference IS NULL AND coalesce(least(d.at, b.at), b.at) < :window_to
               AND (b.currency IN (SELECT currency FROM bank_line WHERE origin = 1)
                    OR NOT EXISTS (SELECT FROM bank_line WHERE origin = 1)) AS must
        FROM (SELECT CASE t.kind WHEN 'bank_payout' THEN 'payout' ELSE 'payout_reversal' END AS kind,
                     substr(t.source_id, length(:psp) + 2) AS key, t.tenant_id, p.amount, p.currency, t.at
              FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = :account
              WHERE t.kind IN ('bank_payout', 'bank_payout_reversal') AND starts_with(t.source_id, :psp || ':')
                AND t.at >= :since) b
        -- When the PSP made it, which may be days before we booked it.
        LEFT JOIN LATERAL (
            SELECT min(d.occurred_at) AS at FROM discrepancy d
            WHERE d.psp = :psp AND d.subject = 'psp' AND d.fingerprint = b.kind || ':' || b.key
              AND d.line_reference IS NOT NULL) d ON true
        LEFT JOIN LATERAL (
            SELECT i.line_reference, i.how FROM reconciliation_item i JOIN reconciliation_run r ON r.id = i.run_id
            WHERE i.object_id = b.key AND i.kind = b.kind AND i.class = 'matched' AND r.subject = 'bank'
              AND r.psp = :psp AND r.apply AND r.id <> :run
            ORDER BY i.seq LIMIT 1) i ON true
        """,
    ),
    # Under which names a payout may be on a statement: its own, those of its movements at the PSP, and the bank's own,
    # as far as that is one payout's alone. Banks write them in capitals.
    *table(
        "bank_name",
        """
        SELECT f.kind, f.key, lower(f.key) AS name FROM bank_fact f
        UNION
        SELECT f.kind, f.key, lower(d.line_reference) FROM bank_fact f
        JOIN discrepancy d ON d.psp = :psp AND d.subject = 'psp' AND d.fingerprint = f.kind || ':' || f.key
        WHERE d.line_reference IS NOT NULL
        UNION
        SELECT kind, min(key), name
        FROM (SELECT DISTINCT f.kind, f.key, lower(t.trace_id) AS name
              FROM bank_fact f JOIN payout_trace t ON t.psp = :psp AND t.reference = f.key) traced
        GROUP BY kind, name HAVING count(*) = 1
        """,
    ),
    *table(
        "bank_named",
        f"""
        SELECT *, row_number() OVER (PARTITION BY kind, key ORDER BY same DESC, even DESC, occurred_at, line_no) AS n
        FROM (SELECT DISTINCT ON (l.run_id, l.line_no) l.run_id, l.line_no, l.reference, l.amount, l.currency,
                     l.occurred_at, n.kind, n.key, n.how, n.name, coalesce(f.confirmed_by = l.reference, false) AS same,
                     f.confirmed_by, l.amount = f.amount AND l.currency = f.currency AS even
              FROM bank_numbered l
              JOIN (SELECT b.run_id, b.line_no, n.kind, n.key, 'psp_id' AS how, b.name
                    FROM (SELECT run_id, line_no, unnest(names) AS name FROM bank_numbered) b
                    JOIN bank_name n ON n.name = lower(b.name)
                    UNION ALL
                    -- Banks break a name in two, and leave out what is no letter or digit.
                    SELECT b.run_id, b.line_no, n.kind, n.key, 'psp_id', n.name
                    FROM bank_numbered b JOIN bank_fact f ON f.amount = b.amount AND f.currency = b.currency
                    JOIN bank_name n ON n.kind = f.kind AND n.key = f.key
                    WHERE length({_letters("n.name")}) >= {NAME_CHARS_MIN} AND strpos({_TEXT}, {_letters("n.name")}) > 0
                    UNION ALL
                    -- An entry that confirmed a payout stays its match, whatever brought them together.
                    SELECT b.run_id, b.line_no, f.kind, f.key, f.confirmed_how, NULL
                    FROM bank_numbered b JOIN bank_fact f ON f.confirmed_by = b.reference) n
                   ON n.run_id = l.run_id AND n.line_no = l.line_no
              JOIN bank_fact f ON f.kind = n.kind AND f.key = n.key AND sign(f.amount) = sign(l.amount)
              -- Where a guess gave the payout to another entry and one that is alike is left, this one takes that.
              WHERE l.copy = 1
                AND NOT (coalesce(f.confirmed_how = 'guess' AND f.confirmed_by <> l.reference, false) AND EXISTS (
                    SELECT FROM bank_fact o WHERE o.must AND o.kind = f.kind AND o.amount = f.amount
                                              AND o.currency = f.currency AND l.amount = o.amount))
              ORDER BY l.run_id, l.line_no, same DESC, abs(f.amount - l.amount), n.key, n.how DESC,
                       n.name = lower(n.name), n.name) named
        """,
    ),
    "CREATE TEMP TABLE bank_guess (run_id text, line_no bigint, kind text, key text, entries int, payouts int)"
    " ON COMMIT DROP",
]

_ENTRIES = f"""
    SELECT l.run_id, l.line_no, l.reference, l.amount, l.currency, date(l.occurred_at AT TIME ZONE :zone) AS day,
           {_OF_PSP} AS of_psp
    FROM bank_numbered l
    WHERE l.copy = 1
      AND NOT EXISTS (SELECT FROM bank_named n WHERE n.run_id = l.run_id AND n.line_no = l.line_no)
      AND EXISTS (SELECT FROM bank_fact f WHERE f.must AND f.amount = l.amount AND f.currency = l.currency)
      -- One that names a payout which is not booked here is that payout's.
      AND NOT EXISTS (SELECT FROM unnest(l.names) name
                      WHERE name ~ '^po_' AND lower(name) NOT IN (SELECT b.name FROM bank_name b))
"""

_PAYOUTS = """
    SELECT f.kind, f.key, f.amount, f.currency, date(f.paid_at AT TIME ZONE :zone) AS day
    FROM bank_fact f
    WHERE f.must AND NOT EXISTS (SELECT FROM bank_named n WHERE n.kind = f.kind AND n.key = f.key)
"""

_PAIR: list[str] = [
    *table(
        "bank_pair",
        f"""
        SELECT row_number() OVER () AS pair_no, coalesce(f.kind, m.kind, 'bank') AS kind,
               coalesce(f.key, m.key, l.reference) AS key, f.tenant_id, coalesce(f.key, m.key) AS object_id,
               coalesce(l.judged, false) AS judged, coalesce(f.must, false) AS must, l.origin, l.run_id, l.line_no,
               l.reference, l.amount AS there_amount, 0::bigint AS fee, l.currency AS there_currency, l.occurred_at,
               m.how, m.name, m.entries, m.payouts, m.confirmed, f.amount AS ledger_amount,
               f.currency AS ledger_currency, f.at AS ledger_at,
               CASE WHEN l.copy > 1 THEN l.reference ELSE m.duplicate_of END AS duplicate_of,
               l.copy = 1 AND m.kind IS NULL AND NOT {_OF_PSP} AS unrelated
        FROM bank_numbered l
        LEFT JOIN (
            SELECT run_id, line_no, kind, key, how, name, NULL AS entries, NULL AS payouts, same AS confirmed,
                   CASE WHEN n > 1 THEN first_value(reference) OVER (PARTITION BY kind, key ORDER BY n)
                        WHEN confirmed_by <> reference THEN confirmed_by END AS duplicate_of
            FROM bank_named
            UNION ALL
            SELECT run_id, line_no, kind, key, 'guess', NULL, entries, payouts, false, NULL FROM bank_guess
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

_PAGE = 1_000


_UNTRACED = """
    SELECT min(coalesce(least(d.at, t.at), t.at))
    FROM ledger_transaction t
    LEFT JOIN LATERAL (
        SELECT min(d.occurred_at) AS at FROM discrepancy d
        WHERE d.psp = :psp AND d.subject = 'psp' AND d.fingerprint = 'payout:' || substr(t.source_id, length(:psp) + 2)
          AND d.line_reference IS NOT NULL) d ON true
    WHERE t.kind = 'bank_payout' AND starts_with(t.source_id, :psp || ':')
      AND t.at >= cast(:at AS timestamptz) - make_interval(days => :days)
      AND NOT EXISTS (SELECT FROM payout_trace p
                      WHERE p.psp = :psp AND p.reference = substr(t.source_id, length(:psp) + 2))
      AND NOT EXISTS (
          SELECT FROM reconciliation_item i JOIN reconciliation_run r ON r.id = i.run_id
          WHERE i.object_id = substr(t.source_id, length(:psp) + 2) AND i.kind = 'payout' AND i.class = 'matched'
            AND r.subject = 'bank' AND r.psp = :psp AND r.apply)
"""


async def untraced_since(connection: AsyncConnection, psp: str, at: datetime) -> datetime | None:
    """When the oldest payout was made that no statement has confirmed and of which the bank's reference is not known;
    None: there is none, in the days that are looked back."""
    found: datetime | None = await connection.scalar(text(_UNTRACED), {"psp": psp, "at": at, "days": LOOK_BACK_DAYS})
    return found


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
        "payout_name": PAYOUT_NAME,
        "zone": run["zone"] or "UTC",
    }
    await _execute(connection, _MATCH, values)
    await _guess(connection, run["id"], values)
    await _execute(connection, _PAIR, values)
    after = 0
    while True:
        rows = await connection.execute(text(_PAIRS), {"after": after, "limit": _PAGE})
        page = [_LACKING | dict(row) for row in rows.mappings()]
        pairs = [(reconciliation_finding.pair_of(row, Subject.BANK), row) for row in page]
        await reconciliation_finding.record(connection, run, pairs, terms, tally)
        if len(page) < _PAGE:
            return
        after = page[-1]["pair_no"]


async def _guess(connection: AsyncConnection, run_id: str, values: Mapping[str, Any]) -> None:
    """Pair by amount and day what no name has brought together, and note where several are alike."""
    entries = [Entry(**row) for row in (await _execute(connection, [_ENTRIES], values)).mappings()]
    payouts = [Paid(**row) for row in (await _execute(connection, [_PAYOUTS], values)).mappings()]
    guesses = alike.pair(entries, payouts)
    if not guesses:
        return
    await connection.execute(
        text("INSERT INTO bank_guess VALUES (:run_id, :line_no, :kind, :key, :entries, :payouts)"),
        [
            {
                "run_id": guess.entry.run_id,
                "line_no": guess.entry.line_no,
                "kind": guess.paid.kind,
                "key": guess.paid.key,
                "entries": len(guess.entries),
                "payouts": len(guess.payouts),
            }
            for guess in guesses
        ],
    )
    if said := alike.remarks(guesses):
        await runs.note(connection, run_id, said)


async def _execute(connection: AsyncConnection, statements: Sequence[str], values: Mapping[str, Any]) -> Any:
    """Each statement with the values that it names; the last one's result."""
    result = None
    for statement in statements:
        named = {name: value for name, value in values.items() if f":{name}" in statement}
        result = await connection.execute(text(statement), named)
    return result
