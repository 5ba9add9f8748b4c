"""The first pass: what is plainly equal on all three sides."""

# ruff: noqa: S608 - put together from constants of this package

from db.reconciliation.sql.facts import MOVEMENT_COLUMNS, REAL, facts, fees, table

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
        SELECT {MOVEMENT_COLUMNS}
        FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = :account
        WHERE t.at >= :since AND t.at < :until AND {REAL}
        """,
    ),
    *table("rec_currency", "SELECT DISTINCT currency FROM rec_line"),
    *table("rec_fee", fees("rec_movement")),
    *table("rec_fact", f"SELECT row_number() OVER ()::int AS fact_no, f.* FROM ({facts('rec_movement')}) f"),
    # A line that only its balance transaction names is of the object that we know by that.
    """
    UPDATE rec_line l SET charge_reference = f.psp_name FROM rec_fact f
    WHERE l.kind = 'charge' AND coalesce(l.our_reference, l.charge_reference, l.source_reference) IS NULL
      AND f.kind = 'charge' AND f.txn = l.reference
    """,
    """
    UPDATE rec_line l SET source_reference = substr(d.fingerprint, length(l.kind) + 2) FROM discrepancy d
    WHERE l.kind IN ('payout', 'payout_reversal') AND l.source_reference IS NULL AND d.psp = :psp
      AND d.subject = 'psp' AND d.line_reference = l.reference AND starts_with(d.fingerprint, l.kind || ':')
    """,
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
