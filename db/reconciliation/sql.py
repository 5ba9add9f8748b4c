"""The matching of a PSP run, as set-based SQL over temporary tables that end with their transaction.

Two passes. The first is one hash join over everything in the window: it only finds what is plainly equal, our reference
on the line and all three sides alike to the last minor unit. The second takes what is left, a few rows, and looks each
of them up by index with everything that the ledger ever booked for it, in the window or not. So the time of a line does
not grow with their number, and nothing is decided on half of the facts: the lines that earlier runs saw of the same
objects are there too, whatever name they carry.

`rec_…` are the first pass's tables, `rest_…` the second's.
"""

# ruff: noqa: S608 - put together from constants of this file

from domain.ledger import Kind

# --- both passes: what the ledger moved on our account at the PSP, as one fact for each line that is expected of it ---

_MOVEMENT_COLUMNS = "t.id, t.tenant_id, t.kind, t.source_id, t.payment_id, t.at, p.currency, p.amount"

# A person's corrections (their source is the discrepancy) have no line.
_REAL = r"t.kind <> 'adjustment' AND t.source_id NOT LIKE 'disc\_%'"

_CAPTURED = "'capture', 'suspense'"
_REFUNDED = "'refund', 'suspense_refund'"
_BACK = "'refund_reversal', 'suspense_refund_reversal'"
_FEES = "'psp_fee', 'dispute_fee'"
_TRANSFERS = "'payout_transfer', 'payout_transfer_reversal'"
_NAMED_BY_PSP = "'dispute_withdrawn', 'dispute_reinstated', 'bank_payout', 'bank_payout_reversal'"

_LINE_KIND = """
    CASE kind WHEN 'payout_transfer' THEN 'transfer' WHEN 'payout_transfer_reversal' THEN 'transfer_reversal'
              WHEN 'dispute_withdrawn' THEN 'dispute' WHEN 'dispute_reinstated' THEN 'dispute_reversal'
              WHEN 'bank_payout' THEN 'payout' WHEN 'bank_payout_reversal' THEN 'payout_reversal' ELSE 'other' END
"""


OTHER_KINDS = [
    str(kind)
    for kind in Kind
    if f"'{kind}'" not in f"{_CAPTURED}, {_REFUNDED}, {_BACK}, {_FEES}, {_TRANSFERS}, {_NAMED_BY_PSP}"
] + ["suspense"]
"""What becomes a fact of the kind `other`."""


def _facts(movement: str) -> str:
    """`key`: what the line is matched by. `fact_key`: one for each movement at the PSP. `record_…`: our own record's
    word, with the line's sign. `psp_name`: the PSP's object as we know it; `txn`: its own name of the movement."""
    return f"""
    SELECT 'charge' AS kind, coalesce(c.id, m.payment_id) AS key, coalesce(c.id, m.payment_id) AS fact_key,
           c.id AS object_id, m.tenant_id, m.payment_id, c.reference AS psp_name, c.fee ->> 'reference' AS txn,
           m.amount, m.currency, c.received_amount AS record_amount, c.received_currency AS record_currency,
           c.outcome AS record_status, m.at, m.transaction_id
    FROM (SELECT tenant_id, payment_id, currency, sum(amount)::bigint AS amount, min(at) AS at,
                 min(id) AS transaction_id
          FROM {movement} WHERE kind IN ({_CAPTURED}) AND payment_id IS NOT NULL GROUP BY 1, 2, 3) m
    LEFT JOIN charge c ON c.payment_id = m.payment_id AND c.booked AND c.psp = :psp
    UNION ALL
    SELECT CASE WHEN m.back THEN 'refund_failure' ELSE 'refund' END, m.refund_id, m.fact_key, r.id, m.tenant_id,
           m.payment_id, r.reference, NULL, m.amount, m.currency, CASE WHEN m.back THEN r.amount ELSE -r.amount END,
           r.currency, r.status, m.at, m.transaction_id
    FROM (SELECT m.tenant_id, m.payment_id, m.currency, m.kind IN ({_BACK}) AS back,
                 coalesce(v.source_id, split_part(m.source_id, ':', 1)) AS refund_id,
                 coalesce(v.source_id, m.source_id) AS fact_key,
                 sum(m.amount)::bigint AS amount, min(m.at) AS at, min(m.id) AS transaction_id
          FROM {movement} m
          LEFT JOIN reserve v ON v.id = m.source_id AND m.kind IN ('refund', 'refund_reversal')
          WHERE m.kind IN ({_REFUNDED}, {_BACK}) GROUP BY 1, 2, 3, 4, 5, 6) m
    LEFT JOIN refund r ON r.id = m.refund_id
    UNION ALL
    SELECT {_LINE_KIND}, m.source_id, m.source_id, y.id, m.tenant_id, NULL, y.transfer_reference, NULL,
           m.amount, m.currency, CASE WHEN m.amount < 0 THEN -y.amount ELSE y.amount END, y.currency, y.status,
           m.at, m.id
    FROM {movement} m LEFT JOIN payout y ON y.id = m.source_id
    WHERE m.kind IN ({_TRANSFERS})
    UNION ALL
    SELECT {_LINE_KIND}, substr(m.source_id, length(:psp) + 2), m.source_id, NULL, m.tenant_id, m.payment_id, NULL,
           NULL, m.amount, m.currency, NULL, NULL, NULL, m.at, m.id
    FROM {movement} m WHERE m.kind IN ({_NAMED_BY_PSP})
    UNION ALL
    SELECT 'other', m.source_id, m.kind || ':' || m.source_id, NULL, m.tenant_id, m.payment_id, NULL, NULL,
           m.amount, m.currency, NULL, NULL, NULL, m.at, m.id
    FROM {movement} m
    WHERE m.kind NOT IN ({_CAPTURED}, {_REFUNDED}, {_BACK}, {_FEES}, {_TRANSFERS}, {_NAMED_BY_PSP})
       OR m.kind IN ({_CAPTURED}) AND m.payment_id IS NULL
    """


def _fees(movement: str) -> str:
    return f"""
    SELECT substr(source_id, length(:psp) + 2) AS txn, currency, sum(amount)::bigint AS amount, min(at) AS at,
           min(tenant_id) AS tenant_id, min(payment_id) AS payment_id, min(id) AS transaction_id
    FROM {movement} WHERE kind IN ({_FEES}) GROUP BY 1, 2
    """


def table(name: str, query: str, *more: str) -> list[str]:
    """What it is made of is known to the planner before it is joined: nobody else analyses a temporary table."""
    return [f"CREATE TEMP TABLE {name} ON COMMIT DROP AS {query}", *more, f"ANALYZE {name}"]


# --- the first pass ---

PLAIN: list[str] = [
    *table(
        "rec_line",
        """
        SELECT run_id, line_no, reference, kind, amount, fee, currency, occurred_at, available_on, source_reference,
               charge_reference, our_reference,
               occurred_at >= :window_from AND occurred_at < :window_to AS judged
        FROM reconciliation_line WHERE run_id = :run
        """,
    ),
    *table("rec_same", "SELECT reference, min(line_no) AS first FROM rec_line GROUP BY 1 HAVING count(*) > 1"),
    # The PSP's own list says nothing twice: what comes again there, its pages brought again.
    """
    DELETE FROM rec_line l USING rec_same s
    WHERE :listed AND l.reference = s.reference AND l.line_no > s.first
    """,
    "DELETE FROM rec_same WHERE :listed",
    *table(
        "rec_twice",
        """
        SELECT kind, our_reference FROM rec_line WHERE our_reference IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
        """,
    ),
    *table(
        "rec_movement",
        f"""
        SELECT {_MOVEMENT_COLUMNS}
        FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = :account
        WHERE t.at >= :since AND t.at < :until AND {_REAL}
        """,
    ),
    *table("rec_currency", "SELECT DISTINCT currency FROM rec_line"),
    *table("rec_fee", _fees("rec_movement")),
    *table("rec_fact", f"SELECT row_number() OVER ()::int AS fact_no, f.* FROM ({_facts('rec_movement')}) f"),
    *table("rec_many", "SELECT kind, key FROM rec_fact GROUP BY 1, 2 HAVING count(*) > 1"),
    *table(
        "rec_plain",
        """
        SELECT l.line_no, l.reference, f.fact_no, l.judged, f.at >= :window_from AND f.at < :window_to AS inside
        FROM rec_line l
        JOIN rec_fact f ON f.kind = l.kind AND f.key = l.our_reference
        LEFT JOIN rec_fee e ON e.txn = l.reference
        WHERE l.amount = f.amount AND l.currency = f.currency
          AND l.amount = f.record_amount AND l.currency = f.record_currency
          AND (f.txn IS NULL OR f.txn = l.reference)
          AND l.fee = coalesce(-e.amount, 0) AND (e.currency IS NULL OR e.currency = l.currency)
          AND NOT EXISTS (SELECT FROM rec_twice d WHERE d.kind = l.kind AND d.our_reference = l.our_reference)
          AND NOT EXISTS (SELECT FROM rec_same s WHERE s.reference = l.reference)
          AND NOT EXISTS (SELECT FROM rec_many n WHERE n.kind = f.kind AND n.key = f.key)
        """,
    ),
    # What a discrepancy is open about, or a person's correction is booked for, the second pass looks at as a whole.
    *table(
        "rec_told",
        """
        SELECT split_part(d.fingerprint, ':', 1) AS kind, substr(d.fingerprint, strpos(d.fingerprint, ':') + 1) AS key,
               d.object_id, d.line_reference
        FROM discrepancy d
        WHERE d.psp = :psp AND d.subject = 'psp'
          AND (d.status = 'OPEN' OR d.status = 'RESOLVED' AND d.ledger_transaction_id IS NOT NULL)
        """,
    ),
    """
    DELETE FROM rec_plain p USING rec_fact f, (
        SELECT kind, key FROM rec_told UNION SELECT 'charge', object_id FROM rec_told WHERE object_id IS NOT NULL) t
    WHERE f.fact_no = p.fact_no AND f.kind = t.kind AND f.key = t.key
    """,
    """
    DELETE FROM rec_plain p USING (
        SELECT line_reference AS name FROM rec_told UNION SELECT key FROM rec_told WHERE kind IN ('line', 'fee')) t
    WHERE p.reference = t.name
    """,
    # Where our record does not name the line, an earlier one may be of the same object: then this one is a second.
    *(
        f"""
        DELETE FROM rec_plain p USING rec_fact f, rec_line l
        WHERE f.fact_no = p.fact_no AND f.txn IS NULL AND l.line_no = p.line_no AND EXISTS (
            SELECT FROM reconciliation_line x
            JOIN reconciliation_run r
              ON r.id = x.run_id AND r.psp = :psp AND r.subject = 'psp' AND r.matched_at IS NOT NULL
            WHERE {same} AND x.kind = l.kind AND x.reference <> l.reference
              AND (x.occurred_at < :since OR x.occurred_at >= :until))
        """
        for same in (
            "x.our_reference = l.our_reference",
            """x.our_reference IS NULL AND coalesce(x.charge_reference, x.source_reference, x.reference)
                   = coalesce(l.charge_reference, l.source_reference)
               AND (l.kind = 'charge' OR x.source_reference = l.source_reference)""",
        )
    ),
]

PLAIN_COUNTS = "SELECT count(*) AS lines, count(*) FILTER (WHERE judged) AS judged FROM rec_plain"

# --- the second pass ---

_LINE_COLUMNS = """
    x.run_id, x.line_no, x.reference, x.kind, x.amount, x.fee, x.currency, x.occurred_at, x.available_on,
    x.source_reference, x.charge_reference, x.our_reference
"""

# Open discrepancies are looked at again in every run, with the line that was their evidence, or with their record.
_OPEN = """
    d.status = 'OPEN' AND d.psp = :psp AND d.subject = 'psp' AND d.class <> 'duplicate'
    AND (cast(:only AS text[]) IS NULL OR d.id = ANY (cast(:only AS text[])))
"""

# Of a file, only what it can list is missing in it: not what the PSP paid to our bank, which Stripe's report of a
# balance's changes leaves out, and no currency that it has not at all.
_LISTED = "(:listed OR {currency} IN (SELECT currency FROM rec_currency))"

REST_LINES: list[str] = [
    *table("rest_open", f"SELECT d.* FROM discrepancy d WHERE {_OPEN}"),
    *table(
        "rest_unmatched",
        f"""
        SELECT f.*, f.at >= :window_from AND f.at < :window_to AND {_LISTED.format(currency="f.currency")}
                    AND (:listed OR f.kind NOT IN ('payout', 'payout_reversal')) AS inside
        FROM rec_fact f WHERE NOT EXISTS (SELECT FROM rec_plain p WHERE p.fact_no = f.fact_no)
        """,
    ),
    *table(
        "rest_fee_open",
        f"""
        SELECT {_MOVEMENT_COLUMNS}
        FROM rest_open d
        JOIN ledger_transaction t ON t.kind IN ({_FEES}) AND t.source_id = :psp || ':' || substr(d.fingerprint, 5)
        JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = :account
        WHERE d.kind = 'fee' AND d.line_no IS NULL AND starts_with(d.fingerprint, 'fee:')
        """,
    ),
    *table(
        "rest_fee_unmatched",
        f"""
        SELECT * FROM (
            SELECT * FROM rec_fee e
            WHERE e.at >= :window_from AND e.at < :window_to AND {_LISTED.format(currency="e.currency")}
            UNION
            {_fees("rest_fee_open")}
        ) e
        WHERE NOT EXISTS (SELECT FROM rec_line l WHERE l.reference = e.txn)
        """,
    ),
    *table(
        "rest_seen",
        f"""
        SELECT {_LINE_COLUMNS}, 1 AS origin, x.judged FROM rec_line x
        WHERE NOT EXISTS (SELECT FROM rec_plain p WHERE p.line_no = x.line_no)
        UNION ALL
        SELECT {_LINE_COLUMNS}, 2, true
        FROM rest_open d JOIN reconciliation_line x ON x.run_id = d.line_run_id AND x.line_no = d.line_no
        WHERE NOT EXISTS (SELECT FROM rec_line l WHERE l.reference = x.reference)
        """,
    ),
    # Every name, ours or the PSP's, under which earlier runs may have seen a line of the same objects.
    *table(
        "rest_charge",
        """
        SELECT c.id, c.reference FROM charge c JOIN (
            SELECT payment_id FROM rest_unmatched UNION SELECT payment_id FROM rest_open
            UNION SELECT payment_id FROM rest_fee_unmatched) y ON y.payment_id = c.payment_id
        WHERE c.psp = :psp
        UNION
        SELECT c.id, c.reference FROM charge c JOIN rest_seen s ON s.charge_reference = c.reference WHERE c.psp = :psp
        UNION
        SELECT c.id, c.reference FROM charge c JOIN rest_seen s ON s.our_reference = c.id WHERE c.psp = :psp
        """,
    ),
    *table(
        "rest_payout",
        """
        SELECT y.id, y.transfer_reference FROM payout y JOIN (
            SELECT object_id AS id FROM rest_unmatched UNION SELECT object_id FROM rest_open
            UNION SELECT our_reference FROM rest_seen) n ON n.id = y.id
        UNION
        SELECT y.id, y.transfer_reference FROM payout y JOIN rest_seen s ON s.source_reference = y.transfer_reference
        WHERE y.psp = :psp AND s.kind = 'transfer'
        UNION
        SELECT y.id, y.transfer_reference FROM payout_call c JOIN rest_seen s ON s.source_reference = c.reference
        JOIN payout y ON y.id = c.payout_id WHERE c.call = 'reversal' AND s.kind = 'transfer_reversal'
        """,
    ),
    *table(
        "rest_name",
        """
        SELECT name FROM (
            SELECT our_reference AS name FROM rest_seen
            UNION SELECT coalesce(charge_reference, source_reference, reference) FROM rest_seen
            UNION SELECT key FROM rest_unmatched
            UNION SELECT split_part(fingerprint, ':', 2) FROM rest_open WHERE kind IN ('payout', 'payout_reversal')
            UNION SELECT txn FROM rest_fee_unmatched
            UNION SELECT id FROM rest_charge UNION SELECT reference FROM rest_charge
            UNION SELECT id FROM rest_payout UNION SELECT transfer_reference FROM rest_payout
            UNION SELECT p.reference FROM payout_call p JOIN rest_payout y ON y.id = p.payout_id
            UNION SELECT r.id FROM refund r JOIN rest_charge c ON c.id = r.charge_id
            UNION SELECT r.reference FROM refund r JOIN rest_charge c ON c.id = r.charge_id
            UNION SELECT d.reference FROM dispute d JOIN rest_charge c ON c.id = d.charge_id
        ) n WHERE name IS NOT NULL
        """,
    ),
    # What earlier runs saw of the same objects, outside the time that this run has listed itself.
    *table(
        "rest_before",
        f"""
        SELECT DISTINCT ON (x.reference) {_LINE_COLUMNS}, 3 AS origin, false AS judged
        FROM (
            SELECT x.* FROM rest_name n JOIN reconciliation_line x ON x.our_reference = n.name
            UNION ALL
            SELECT x.* FROM rest_name n JOIN reconciliation_line x
              ON x.our_reference IS NULL AND coalesce(x.charge_reference, x.source_reference, x.reference) = n.name
        ) x
        JOIN reconciliation_run r ON r.id = x.run_id AND r.psp = :psp AND r.subject = 'psp' AND r.matched_at IS NOT NULL
        WHERE x.run_id <> :run AND (x.occurred_at < :since OR x.occurred_at >= :until)
          AND NOT EXISTS (SELECT FROM rest_seen s WHERE s.reference = x.reference)
        ORDER BY x.reference, x.run_id DESC
        """,
    ),
    *table(
        "rest_line",
        """
        SELECT * FROM (
            SELECT s.*, row_number() OVER (PARTITION BY reference ORDER BY origin, line_no) AS copy
            FROM (SELECT * FROM rest_seen UNION ALL SELECT * FROM rest_before) s) numbered
        WHERE copy = 1 OR origin = 1
        """,
    ),
]

REST_NAMED: list[str] = table(
    "rest_named",
    """
    SELECT l.*, co.id IS NOT NULL OR ro.id IS NOT NULL OR po.id IS NOT NULL AS ours,
           CASE WHEN l.kind = 'charge' THEN coalesce(co.id, cp.id)
                WHEN l.kind IN ('refund', 'refund_failure') THEN coalesce(ro.id, rp.id)
                WHEN l.kind IN ('transfer', 'transfer_reversal') THEN coalesce(po.id, pp.id, pc.payout_id)
                WHEN l.kind IN ('dispute', 'dispute_reversal') THEN d.id END AS object_id,
           coalesce(c.tenant_id, y.tenant_id) AS tenant_id, c.payment_id, m.status AS payment_status,
           CASE WHEN l.kind = 'charge' THEN CASE WHEN c.booked THEN 'booked' ELSE m.status END
                WHEN l.kind IN ('refund', 'refund_failure') THEN coalesce(ro.status, rp.status)
                WHEN l.kind IN ('transfer', 'transfer_reversal') THEN y.status
                WHEN l.kind IN ('dispute', 'dispute_reversal') THEN d.status END AS record_status,
           coalesce(ro.updated_at, rp.updated_at) AS record_at
    FROM rest_line l
    LEFT JOIN charge co ON l.kind = 'charge' AND co.id = l.our_reference AND co.psp = :psp
    LEFT JOIN charge cp ON cp.psp = :psp AND cp.reference = l.charge_reference
    LEFT JOIN refund ro ON l.kind IN ('refund', 'refund_failure') AND ro.id = l.our_reference
    LEFT JOIN refund rp ON l.kind IN ('refund', 'refund_failure') AND rp.charge_id = cp.id
                       AND rp.reference = l.source_reference
    LEFT JOIN payout po ON l.kind IN ('transfer', 'transfer_reversal') AND po.id = l.our_reference AND po.psp = :psp
    LEFT JOIN payout pp ON l.kind = 'transfer' AND pp.psp = :psp AND pp.transfer_reference = l.source_reference
    LEFT JOIN payout_call pc ON l.kind = 'transfer_reversal' AND pc.call = 'reversal'
                            AND pc.reference = l.source_reference
    LEFT JOIN payout y ON y.id = coalesce(po.id, pp.id, pc.payout_id)
    LEFT JOIN dispute d ON l.kind IN ('dispute', 'dispute_reversal') AND d.psp = :psp
                       AND d.reference = l.source_reference
    LEFT JOIN charge c ON c.id = coalesce(co.id, ro.charge_id, rp.charge_id, d.charge_id, cp.id)
    LEFT JOIN payment m ON m.id = c.payment_id
    """,
)

REST_FACTS: list[str] = [
    *table(
        "rest_source",
        """
        SELECT kind, source FROM (
            SELECT unnest(CASE kind WHEN 'dispute' THEN ARRAY['dispute_withdrawn', 'psp_fee', 'dispute_fee']
                                    WHEN 'dispute_reversal' THEN ARRAY['dispute_reinstated', 'psp_fee', 'dispute_fee']
                                    ELSE ARRAY['psp_fee', 'dispute_fee'] END) AS kind,
                   :psp || ':' || reference AS source
            FROM rest_named
            UNION
            SELECT CASE kind WHEN 'payout' THEN 'bank_payout' ELSE 'bank_payout_reversal' END,
                   :psp || ':' || coalesce(source_reference, reference)
            FROM rest_named WHERE kind IN ('payout', 'payout_reversal')
            UNION
            SELECT 'payout_' || kind, object_id FROM rest_named
            WHERE kind IN ('transfer', 'transfer_reversal') AND object_id IS NOT NULL
            UNION
            SELECT 'payout_' || kind, object_id FROM rest_open
            WHERE kind IN ('transfer', 'transfer_reversal') AND object_id IS NOT NULL
            UNION
            SELECT 'bank_' || kind, :psp || ':' || split_part(fingerprint, ':', 2) FROM rest_open
            WHERE kind IN ('payout', 'payout_reversal')
            UNION
            SELECT k.kind, substr(fingerprint, 7) FROM rest_open CROSS JOIN unnest(cast(:kinds AS text[])) AS k (kind)
            WHERE rest_open.kind = 'other' AND starts_with(fingerprint, 'other:')
        ) s
        """,
    ),
    *table(
        "rest_movement",
        f"""
        SELECT {_MOVEMENT_COLUMNS} FROM (
            SELECT t.id FROM ledger_transaction t JOIN (
                SELECT payment_id FROM rest_named UNION SELECT payment_id FROM rest_unmatched
                UNION SELECT payment_id FROM rest_open) y ON y.payment_id = t.payment_id
            UNION
            SELECT t.id FROM ledger_transaction t JOIN rest_source s ON t.kind = s.kind AND t.source_id = s.source
            UNION
            SELECT transaction_id FROM rest_unmatched
            UNION
            SELECT transaction_id FROM rest_fee_unmatched
        ) ids
        JOIN ledger_transaction t ON t.id = ids.id
        JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = :account
        WHERE {_REAL}
        """,
    ),
    *table("rest_fee", _fees("rest_movement")),
    *table(
        "rest_fact",
        f"""
        SELECT f.*, coalesce(u.inside, false) OR EXISTS (
                   SELECT FROM rest_open d WHERE d.fingerprint = f.kind || ':' || f.key) AS must
        FROM ({_facts("rest_movement")}) f
        LEFT JOIN rest_unmatched u ON u.kind = f.kind AND u.fact_key = f.fact_key AND u.currency = f.currency
        WHERE NOT EXISTS (SELECT FROM rec_fact g JOIN rec_plain p ON p.fact_no = g.fact_no
                          WHERE g.kind = f.kind AND g.fact_key = f.fact_key AND g.currency = f.currency)
        """,
    ),
]

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
      AND {_LISTED.format(currency="c.received_currency")}
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

# The last key: amount, currency and time, where neither side has another candidate nor a name that says otherwise.
GUESS: list[str] = [
    *table(
        "rest_guess",
        """
        SELECT l.pair_no AS line_pair, f.pair_no AS fact_pair,
               count(*) OVER (PARTITION BY l.pair_no) AS facts, count(*) OVER (PARTITION BY f.pair_no) AS lines
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
    """
    UPDATE rest_pair l SET how = 'guess', judged = l.judged OR f.must, key = f.key, tenant_id = f.tenant_id,
           payment_id = f.payment_id, object_id = f.object_id, record_status = f.record_status,
           record_amount = f.record_amount, record_currency = f.record_currency, ledger_amount = f.ledger_amount,
           ledger_currency = f.ledger_currency, ledger_at = f.ledger_at,
           fee_amount = coalesce(l.fee_amount, f.fee_amount), fee_currency = coalesce(l.fee_currency, f.fee_currency),
           fee_at = coalesce(l.fee_at, f.fee_at)
    FROM rest_guess g JOIN rest_pair f ON f.pair_no = g.fact_pair
    WHERE g.facts = 1 AND g.lines = 1 AND l.pair_no = g.line_pair
    """,
    """
    DELETE FROM rest_pair USING rest_guess g
    WHERE g.facts = 1 AND g.lines = 1 AND pair_no = g.fact_pair
    """,
    "CREATE INDEX ON rest_pair (pair_no)",  # it is read page by page
]

REST: list[str] = [*REST_LINES, *REST_NAMED, *REST_FACTS, *REST_PAIRS, *GUESS]

PAIRS = """
    SELECT * FROM rest_pair WHERE (judged OR must) AND pair_no > :after ORDER BY pair_no LIMIT :limit
"""

TABLES = tuple(
    statement.split()[3] for statement in (*PLAIN, *REST) if statement.lstrip().startswith("CREATE TEMP TABLE")
)
