"""The end of the second pass: each line beside the fact that it belongs to, as pairs that are judged one by one."""

# ruff: noqa: S608 - put together from constants of this package

from db.reconciliation.sql.facts import LISTED, table
from db.reconciliation.sql.first_pass import PLAIN
from db.reconciliation.sql.second_pass import REST_FACTS, REST_LINES, REST_NAMED

# What a charge takes back of itself (less captured than was reserved, a payment that failed after all) is a part of its
# first line, or `alone` where nobody has seen that. A second line that adds money is a duplicate. The oldest line goes
# with the oldest fact.
REST_PAIRS: list[str] = [
    *table(
        "rest_ranked",
        """
        SELECT n.*, kind = 'charge' AND amount < 0 AS back,
               row_number() OVER (PARTITION BY kind, key ORDER BY kind = 'charge' AND amount < 0, right_txn DESC,
                                  occurred_at, line_no) AS n
        FROM (
            SELECT l.*, coalesce(f.txn = l.reference, false) AS right_txn,
                   CASE WHEN l.kind IN ('dispute', 'dispute_reversal', 'fee', 'other') THEN l.reference
                        WHEN l.kind IN ('payout', 'payout_reversal') THEN coalesce(l.source_reference, l.reference)
                        ELSE coalesce(l.object_id, 'line:' || coalesce(l.source_reference, l.reference)) END AS key
            FROM rest_named l
            LEFT JOIN (SELECT DISTINCT ON (key) key, txn FROM rest_fact WHERE kind = 'charge') f
                   ON l.kind = 'charge' AND f.key = l.object_id
            WHERE l.copy = 1
        ) n
        """,
    ),
    *table(
        "rest_part",
        """
        SELECT key, sum(amount)::bigint AS amount, bool_or(judged) AS judged,
               max(line_no) FILTER (WHERE judged AND origin = 1) AS line_no, array_agg(reference) AS parts
        FROM rest_ranked WHERE back AND n > 1 GROUP BY key
        """,
    ),
    *table(
        "rest_pair",
        """
        SELECT row_number() OVER () AS pair_no, coalesce(l.n, f.n) AS n, coalesce(l.kind, f.kind) AS kind,
               coalesce(l.key, f.key) AS key,
               coalesce(f.tenant_id, l.tenant_id) AS tenant_id, coalesce(l.payment_id, f.payment_id) AS payment_id,
               coalesce(l.object_id, f.object_id) AS object_id,
               coalesce(l.judged, false) OR coalesce(q.judged, false) AS judged, coalesce(f.must, false) AS must,
               l.origin, l.run_id, l.line_no, l.reference, l.amount + coalesce(q.amount, 0) AS there_amount, l.fee,
               l.currency AS there_currency, l.occurred_at, l.source_reference, l.charge_reference, l.our_reference,
               q.line_no AS part_no, q.parts, coalesce(l.back, false) AS alone, false AS undone,
               CASE WHEN l.reference IS NULL THEN NULL WHEN l.ours THEN 'reference'
                    WHEN f.fact_key IS NOT NULL OR l.object_id IS NOT NULL THEN 'psp_id' END AS how,
               l.payment_status,
               CASE WHEN f.fact_key IS NOT NULL THEN f.record_status ELSE l.record_status END AS record_status,
               f.record_amount, f.record_currency, f.psp_name, f.amount AS ledger_amount,
               f.currency AS ledger_currency, f.at AS ledger_at,
               e.amount AS fee_amount, e.currency AS fee_currency, e.at AS fee_at,
               CASE WHEN l.n > 1 AND f.fact_key IS NULL THEN h.reference END AS duplicate_of,
               l.record_at
        FROM (SELECT * FROM rest_ranked WHERE NOT (back AND n > 1)) l
        FULL JOIN (SELECT *, row_number() OVER (PARTITION BY kind, key ORDER BY at, fact_key) AS n FROM rest_fact) f
               ON f.kind = l.kind AND f.key = l.key AND f.n = l.n
        LEFT JOIN rest_part q ON l.kind = 'charge' AND q.key = l.key AND l.n = 1
        LEFT JOIN rest_ranked h ON h.kind = l.kind AND h.key = l.key AND h.n = 1 AND l.n > 1
        LEFT JOIN rest_fee e ON e.txn = coalesce(l.reference, f.txn)
        """,
    ),
    # A refund and its failure, neither of which is booked: one that the PSP began and could not make.
    """
    UPDATE rest_pair p SET undone = true
    FROM (SELECT key FROM rest_pair
          WHERE kind IN ('refund', 'refund_failure') AND reference IS NOT NULL AND ledger_amount IS NULL
          GROUP BY key HAVING count(DISTINCT kind) = 2 AND count(*) = 2 AND sum(there_amount - fee) = 0
                          AND count(DISTINCT there_currency) = 1) u
    WHERE p.key = u.key AND p.kind IN ('refund', 'refund_failure') AND p.reference IS NOT NULL
    """,
    # What the PSP kept, or gave back, of its fee together with a part.
    """
    INSERT INTO rest_pair (pair_no, kind, key, tenant_id, payment_id, judged, must, origin, run_id, line_no, reference,
                           there_amount, fee, there_currency, occurred_at, source_reference, charge_reference,
                           our_reference, fee_amount, fee_currency, fee_at)
    SELECT (SELECT coalesce(max(pair_no), 0) FROM rest_pair) + row_number() OVER (), 'fee', l.reference, l.tenant_id,
           l.payment_id, l.judged, false, l.origin, l.run_id, l.line_no, l.reference, 0, l.fee, l.currency,
           l.occurred_at, l.source_reference, l.charge_reference, l.our_reference, e.amount, e.currency, e.at
    FROM rest_ranked l LEFT JOIN rest_fee e ON e.txn = l.reference
    WHERE l.back AND l.n > 1 AND (l.fee <> 0 OR e.txn IS NOT NULL)
    """,
    # In a file, the same line once more.
    """
    INSERT INTO rest_pair (pair_no, kind, key, tenant_id, payment_id, object_id, judged, must, origin, run_id, line_no,
                           reference, there_amount, fee, there_currency, occurred_at, source_reference,
                           charge_reference, our_reference, duplicate_of)
    SELECT (SELECT coalesce(max(pair_no), 0) FROM rest_pair) + row_number() OVER (), kind, reference, tenant_id,
           payment_id, object_id, judged, false, origin, run_id, line_no, reference, amount, fee, currency, occurred_at,
           source_reference, charge_reference, our_reference, reference
    FROM rest_named WHERE copy > 1
    """,
    # Our record says that money was taken, and neither the ledger nor the PSP has it.
    f"""
    INSERT INTO rest_pair (pair_no, kind, key, tenant_id, payment_id, object_id, judged, must, payment_status,
                           record_status, record_amount, record_currency, record_at)
    SELECT (SELECT coalesce(max(pair_no), 0) FROM rest_pair) + row_number() OVER (), 'charge', c.id, c.tenant_id,
           c.payment_id, c.id, false, true, y.status, c.outcome, c.received_amount, c.received_currency,
           c.last_answer_at
    FROM charge c JOIN payment y ON y.id = c.payment_id
    WHERE c.outcome = 'SUCCEEDED' AND NOT c.booked AND c.psp = :psp
      AND c.last_answer_at >= :window_from AND c.last_answer_at < :window_to
      AND {LISTED.format(currency="c.received_currency")}
      AND NOT EXISTS (SELECT FROM rest_pair p WHERE p.kind = 'charge' AND p.key = c.id)
    """,
    # A fee that we booked for what the PSP does not list. Where the charge itself is not listed, that says it.
    """
    INSERT INTO rest_pair (pair_no, kind, key, tenant_id, payment_id, judged, must, fee_amount, fee_currency, fee_at)
    WITH lacking AS MATERIALIZED (
        SELECT payment_id, fee_amount, fee_currency FROM rest_pair WHERE reference IS NULL AND fee_amount IS NOT NULL)
    SELECT (SELECT coalesce(max(pair_no), 0) FROM rest_pair) + row_number() OVER (), 'fee', e.txn, e.tenant_id,
           e.payment_id, false, true, e.amount, e.currency, e.at
    FROM rest_fee_unmatched e
    WHERE NOT EXISTS (SELECT FROM rest_line l WHERE l.reference = e.txn)
      AND NOT EXISTS (SELECT FROM discrepancy d WHERE d.line_reference = e.txn)
      AND NOT EXISTS (SELECT FROM lacking p WHERE p.payment_id = e.payment_id AND p.fee_amount = e.amount
                                              AND p.fee_currency = e.currency)
    """,
    "ANALYZE rest_pair",
]

# The last key: amount, currency and time, where no name says otherwise. Lines that have the same candidates, as many as
# they are themselves and nobody else's, are paired in the order of time.
GUESS: list[str] = [
    *table(
        "rest_candidate",
        """
        SELECT l.pair_no AS line_pair, f.pair_no AS fact_pair, l.occurred_at, f.ledger_at,
               count(*) OVER (PARTITION BY f.pair_no) AS lines
        FROM rest_pair l JOIN rest_pair f
          ON f.kind = l.kind AND f.ledger_amount = l.there_amount AND f.ledger_currency = l.there_currency
         AND abs(extract(epoch FROM f.ledger_at - l.occurred_at)) <= :guess_s
        WHERE l.reference IS NOT NULL AND l.ledger_amount IS NULL AND l.duplicate_of IS NULL
          AND l.our_reference IS NULL AND l.object_id IS NULL
          AND l.kind IN ('charge', 'refund', 'refund_failure', 'transfer', 'transfer_reversal')
          AND f.reference IS NULL AND f.ledger_amount IS NOT NULL
          AND NOT coalesce(split_part(f.psp_name, '_', 1) IN (
                  split_part(l.source_reference, '_', 1), split_part(l.charge_reference, '_', 1)), false)
        """,
    ),
    *table(
        "rest_guess",
        """
        SELECT line_pair, facts[n] AS fact_pair, alike
        FROM (SELECT line_pair, facts, lines, count(*) OVER (PARTITION BY facts) AS alike,
                     row_number() OVER (PARTITION BY facts ORDER BY occurred_at, line_pair) AS n
              FROM (SELECT line_pair, min(occurred_at) AS occurred_at, max(lines) AS lines,
                           array_agg(fact_pair ORDER BY ledger_at, fact_pair) AS facts
                    FROM rest_candidate GROUP BY line_pair) l) a
        WHERE alike = cardinality(facts) AND alike = lines
        """,
    ),
    "ALTER TABLE rest_pair ADD entries int, ADD payouts int",
    """
    UPDATE rest_pair l SET how = 'guess', entries = g.alike, payouts = g.alike, judged = l.judged OR f.must,
           key = f.key, tenant_id = f.tenant_id,
           payment_id = f.payment_id, object_id = f.object_id, record_status = f.record_status,
           record_amount = f.record_amount, record_currency = f.record_currency, ledger_amount = f.ledger_amount,
           ledger_currency = f.ledger_currency, ledger_at = f.ledger_at,
           fee_amount = coalesce(l.fee_amount, f.fee_amount), fee_currency = coalesce(l.fee_currency, f.fee_currency),
           fee_at = coalesce(l.fee_at, f.fee_at)
    FROM rest_guess g JOIN rest_pair f ON f.pair_no = g.fact_pair
    WHERE l.pair_no = g.line_pair
    """,
    """
    DELETE FROM rest_pair USING rest_guess g WHERE pair_no = g.fact_pair
    """,
    "CREATE INDEX ON rest_pair (pair_no)",  # it is read page by page
]

ALIKE = "SELECT count(*) FROM rest_guess WHERE alike > 1"
"""The number of lines that were paired though another order would have been as good."""

REST: list[str] = [*REST_LINES, *REST_NAMED, *REST_FACTS, *REST_PAIRS, *GUESS]

PAIRS = """
    SELECT * FROM rest_pair WHERE (judged OR must) AND pair_no > :after ORDER BY pair_no LIMIT :limit
"""

TABLES = tuple(
    statement.split()[3] for statement in (*PLAIN, *REST) if statement.lstrip().startswith("CREATE TEMP TABLE")
)
