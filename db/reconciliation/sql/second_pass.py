"""The second pass: what the first left, with everything that the ledger and earlier runs know of the same objects."""

# ruff: noqa: S608 - put together from constants of this package

from db.reconciliation.sql.facts import FEE_KINDS, LISTED, MOVEMENT_COLUMNS, REAL, facts, fees, table

_LINE_COLUMNS = """
    x.run_id, x.line_no, x.reference, x.kind, x.amount, x.fee, x.currency, x.occurred_at, x.available_on,
    x.source_reference, x.charge_reference, x.our_reference
"""

# Open discrepancies are looked at again in every run, with the line that was their evidence, or with their record.
_OPEN = """
    d.status = 'OPEN' AND d.psp = :psp AND d.subject = 'psp' AND d.class <> 'duplicate'
    AND (cast(:only AS text[]) IS NULL OR d.id = ANY (cast(:only AS text[])))
"""

REST_LINES: list[str] = [
    *table("rest_open", f"SELECT d.* FROM discrepancy d WHERE {_OPEN}"),
    *table(
        "rest_unmatched",
        f"""
        SELECT f.*, f.at >= :window_from AND f.at < :window_to AND {LISTED.format(currency="f.currency")}
                    AND (:listed OR f.kind NOT IN ('payout', 'payout_reversal')) AS inside
        FROM rec_fact f WHERE NOT EXISTS (SELECT FROM rec_plain p WHERE p.fact_no = f.fact_no)
        """,
    ),
    *table(
        "rest_fee_open",
        f"""
        SELECT {MOVEMENT_COLUMNS}
        FROM rest_open d
        JOIN ledger_transaction t ON t.kind IN ({FEE_KINDS}) AND t.source_id = :psp || ':' || substr(d.fingerprint, 5)
        JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = :account
        WHERE d.kind = 'fee' AND d.line_no IS NULL AND starts_with(d.fingerprint, 'fee:')
        """,
    ),
    *table(
        "rest_fee_unmatched",
        f"""
        SELECT * FROM (
            SELECT * FROM rec_fee e
            WHERE e.at >= :window_from AND e.at < :window_to AND {LISTED.format(currency="e.currency")}
            UNION
            {fees("rest_fee_open")}
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

# A refund's line is of the record that names the PSP's refund, where that is another than our reference names: one that
# the PSP made for another amount, and a person accepted, has given its reference away.
REST_NAMED: list[str] = table(
    "rest_named",
    """
    SELECT l.*, co.id IS NOT NULL OR ro.id = coalesce(rp.id, ro.id) OR po.id IS NOT NULL AS ours,
           CASE WHEN l.kind = 'charge' THEN coalesce(co.id, cp.id)
                WHEN l.kind IN ('refund', 'refund_failure') THEN coalesce(rp.id, ro.id)
                WHEN l.kind IN ('transfer', 'transfer_reversal') THEN coalesce(po.id, pp.id, pc.payout_id)
                WHEN l.kind IN ('dispute', 'dispute_reversal') THEN d.id END AS object_id,
           coalesce(c.tenant_id, y.tenant_id) AS tenant_id, c.payment_id, m.status AS payment_status,
           CASE WHEN l.kind = 'charge' THEN CASE WHEN c.booked THEN 'booked' ELSE m.status END
                WHEN l.kind IN ('refund', 'refund_failure') THEN coalesce(rp.status, ro.status)
                WHEN l.kind IN ('transfer', 'transfer_reversal') THEN y.status
                WHEN l.kind IN ('dispute', 'dispute_reversal') THEN d.status END AS record_status,
           coalesce(rp.updated_at, ro.updated_at) AS record_at
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
        SELECT {MOVEMENT_COLUMNS} FROM (
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
        WHERE {REAL}
        """,
    ),
    *table("rest_fee", fees("rest_movement")),
    *table(
        "rest_fact",
        f"""
        SELECT f.*, coalesce(u.inside, false) OR EXISTS (
                   SELECT FROM rest_open d WHERE d.fingerprint = f.kind || ':' || f.key) AS must
        FROM ({facts("rest_movement")}) f
        LEFT JOIN rest_unmatched u ON u.kind = f.kind AND u.fact_key = f.fact_key AND u.currency = f.currency
        WHERE NOT EXISTS (SELECT FROM rec_fact g JOIN rec_plain p ON p.fact_no = g.fact_no
                          WHERE g.kind = f.kind AND g.fact_key = f.fact_key AND g.currency = f.currency)
        """,
    ),
]
