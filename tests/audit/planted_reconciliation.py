"""Damage to what reconciling found and what was decided about it; see `test_audit_invariants.PLANTED`."""

PLANTED_RECONCILIATION = [
    ("R1", "UPDATE reconciliation_run SET completed_at = NULL WHERE id = :'rec'", "is COMPLETED, and has no end"),
    ("R1", "UPDATE reconciliation_run SET status = 'MATCHING' WHERE id = :'rec'", "is MATCHING, and ended at"),
    ("R1", "UPDATE reconciliation_run SET status = 'FAILED' WHERE id = :'rec'", "its failure is not said"),
    (
        "R1",
        "UPDATE reconciliation_run SET failure = 'broken' WHERE id = :'rec'",
        "COMPLETED, and its failure is broken",
    ),
    ("R1", "UPDATE reconciliation_run SET matched_at = NULL WHERE id = :'rec'", "and matched at no time"),
    ("R1", "UPDATE reconciliation_run SET counts = NULL WHERE id = :'rec'", "is COMPLETED: all lines were here at"),
    ("R2", "UPDATE reconciliation_run SET lines = lines + 1 WHERE id = :'rec'", "counts 7 line(s), and has 6"),
    ("R2", "DELETE FROM reconciliation_line WHERE run_id = :'rec' AND line_no = 2", "has 5 up to the number 6"),
    (
        "R2",
        "UPDATE reconciliation_run SET counts = counts || '{\"amount\": 2}' WHERE id = :'rec'",
        "counts 2 amount, and has 1 item(s) of it",
    ),
    (
        "R2",
        "UPDATE reconciliation_item SET class = 'matched' WHERE run_id = :'rec' AND class = 'amount'",
        "counts 0 matched, and has 1 item(s) of it",
    ),
    ("R2", "DELETE FROM reconciliation_item WHERE run_id = :'rec_bank'", "counts 1 unrelated, and has 0 item(s)"),
    ("R2", "UPDATE reconciliation_run SET opened = 0 WHERE id = :'rec'", "counts 0 discrepancies that it opened"),
    (
        "R3",
        "UPDATE reconciliation_item SET line_no = 1 WHERE run_id = :'rec' AND line_no = 2",
        "line 1 is 2 things of the kind other: missing_here, missing_here",
    ),
    ("R3", "UPDATE reconciliation_item SET line_no = 77 WHERE run_id = :'rec_bank'", "which the run does not have"),
    (
        "R4",
        "DROP INDEX uq_discrepancy_open; UPDATE discrepancy SET fingerprint ="
        " (SELECT fingerprint FROM discrepancy WHERE id = :'disc_open') WHERE id = :'disc_second'",
        "of stripe is open 2 times",
    ),
    (
        "R4",
        "UPDATE discrepancy SET line_reference = 'txn_x' WHERE id = :'disc_open'",
        "says txn_open, and it says txn_x",
    ),
    ("R4", "UPDATE discrepancy SET line_no = 77 WHERE id = :'disc_open'", "which says nothing"),
    ("R4", "UPDATE discrepancy SET last_run_id = :'rec_bank' WHERE id = :'disc_open'", "is of stripe/psp, and"),
    ("R5", "UPDATE discrepancy SET resolution = 'accept' WHERE id = :'disc_open'", "is OPEN, and was accept by nobody"),
    ("R5", "UPDATE discrepancy SET resolution = 'matched' WHERE id = :'disc_accepted'", "is RESOLVED by olga"),
    ("R5", "UPDATE discrepancy SET resolution = NULL WHERE id = :'disc_fee'", "nobody knows how"),
    ("R5", "UPDATE discrepancy SET resolved_by = '' WHERE id = :'disc_fee'", "is FIXED by  at"),
    ("R5", "UPDATE discrepancy SET note = ' ' WHERE id = :'disc_accepted'", "no note says why"),
    ("R5", "DELETE FROM audit_log WHERE object_id = :'disc_held'", "the audit log does not know it"),
    ("R6", "UPDATE discrepancy SET ledger_transaction_id = NULL WHERE id = :'disc_less'", "and is booked as nothing"),
    ("R6", "UPDATE discrepancy SET ledger_transaction_id = NULL WHERE id = :'disc_held'", "suspense lt_"),
    ("R6", "UPDATE discrepancy SET resolution = 'adjust' WHERE id = :'disc_held'", "adjust, and is booked as suspense"),
    (
        "R6",
        "UPDATE discrepancy SET ledger_transaction_id = NULL WHERE id = :'disc_fee'",
        "book_fee, and is booked as noth",
    ),
    (
        "R6",
        "UPDATE discrepancy SET ledger_transaction_id ="
        " (SELECT ledger_transaction_id FROM discrepancy WHERE id = :'disc_fee') WHERE id = :'disc_accepted'",
        "accept, and is booked as psp_fee",
    ),
    (
        "R6",
        "UPDATE ledger_transaction SET source_id = 'disc_none' WHERE source_id = :'disc_less'",
        "it is no discrepancy",
    ),
    (
        "R6",
        "UPDATE ledger_posting SET amount = amount + 5 WHERE account = 'psp_clearing:stripe' AND transaction_id ="
        " (SELECT ledger_transaction_id FROM discrepancy WHERE id = :'disc_less')",
        'and {"INR": -995} is booked',
    ),
    (
        "R7",
        "DELETE FROM operator_task WHERE object_id = :'disc_open';"
        " UPDATE discrepancy SET updated_at = now() - interval '1 hour' WHERE id = :'disc_open'",
        "and no task is open",
    ),
    ("R7", "UPDATE operator_task SET object_id = :'disc_less' WHERE object_id = :'disc_open'", "still asks about it"),
    ("R8", "DELETE FROM outbox WHERE object_id = :'disc_open'", "is OPEN, with 0 event(s) discrepancy.opened"),
    (
        "R8",
        "UPDATE outbox SET type = 'discrepancy.opened' WHERE object_id = :'disc_held'",
        "with 2 event(s) discrepancy.opened and 0 discrepancy.resolved",
    ),
    (
        "R8",
        "DELETE FROM outbox WHERE object_id = :'rec_bank'",
        "is COMPLETED, with 0 event(s) reconciliation.completed",
    ),
    (
        "R9",
        "UPDATE reconciliation_line SET source_reference ="
        " (SELECT min(reference) FROM refund WHERE status = 'SUCCEEDED') WHERE reference = 'txn_less';"
        " UPDATE discrepancy SET kind = 'refund', payment_id = (SELECT payment_id FROM refund WHERE reference ="
        " (SELECT min(reference) FROM refund WHERE status = 'SUCCEEDED')) WHERE id = :'disc_less'",
        "was corrected for txn_less, which is booked as the refund",
    ),
]
