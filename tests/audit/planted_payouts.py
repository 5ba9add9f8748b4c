"""Damage to what is on its way out, and to what is sealed; see `test_audit_invariants.PLANTED`."""

FIRST_ITEM = "(SELECT min(posting_seq) FROM payout_item WHERE payout_id = :'pt_paid')"
PAYOUT_LINE = (
    "(SELECT p.seq FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.transaction_id"
    " WHERE t.kind = 'payout' AND t.source_id = :'pt_paid' AND p.account = 'wallet:fay:available')"
)
SALE = "(SELECT id FROM ledger_transaction WHERE kind = 'capture' AND payment_id = :'sold_1')"

PLANTED_PAYOUTS = [
    # --- I15: what payouts take ---
    (
        "I15",
        f"UPDATE payout_item SET amount = amount + 90000 WHERE posting_seq = {FIRST_ITEM} AND payout_id = :'pt_paid'",
        "of 48500 INR",
    ),
    (
        "I15",  # the sign is another one
        "ALTER TABLE payout_item DROP CONSTRAINT ck_payout_item_amount;"
        " UPDATE payout_item SET amount = -amount WHERE payout_id = :'pt_paid'",
        "is PAID of 10000 INR, and its items are -10000",
    ),
    ("I15", "UPDATE payout_item SET amount = amount - 1 WHERE payout_id = :'pt_transferred'", "its items are 9999"),
    ("I15", "DELETE FROM payout_item WHERE payout_id = :'pt_requested'", "REQUESTED of 10000 INR, and its items are 0"),
    ("I15", "UPDATE payout_item SET released = true WHERE payout_id = :'pt_in_transit'", "1 of them given back"),
    ("I15", "UPDATE payout_item SET released = false WHERE payout_id = :'pt_returned'", "0 of them given back"),
    (
        "I15",
        f"UPDATE payout_item SET posting_seq = {PAYOUT_LINE} WHERE payout_id = :'pt_requested'",
        "to wallet:fay:available in INR), which is none that it can pay",
    ),
    (
        "I15",
        "UPDATE payout_item SET posting_seq = (SELECT p.seq FROM ledger_posting p JOIN ledger_transaction t"
        " ON t.id = p.transaction_id WHERE t.kind = 'release' AND p.account = 'wallet:gil:available')"
        " WHERE payout_id = :'pt_requested'",
        "to wallet:gil:available in INR), which is none that it can pay",
    ),
    ("I15", "UPDATE payout_item SET tenant_id = 'careful' WHERE payout_id = :'pt_paid'", "which is none that it can"),
    ("I15", "UPDATE payout_item SET posting_seq = 0 WHERE payout_id = :'pt_requested'", "(nothing of"),
    ("I15", "DELETE FROM payout WHERE id = :'pt_paid'", "and is no payout"),
    # --- P11: what is left to be paid ---
    ("P11", "UPDATE wallet SET available = available + 1 WHERE seller_account = 'fay'", "payouts have taken"),
    ("P11", "DELETE FROM wallet WHERE seller_account = 'fay'", "is 0 INR"),
    (
        "P11",
        "UPDATE payout_item SET released = true WHERE payout_id = :'pt_paid'",
        "payouts have taken 60000 of it",
    ),
    (
        "P11",
        "UPDATE wallet SET payable_from = (SELECT max(seq) + 1 FROM ledger_posting) WHERE seller_account = 'fay'",
        "48500 INR are left to be paid",
    ),
    # --- P12: its status, and the books ---
    (
        "P12",
        "DELETE FROM ledger_transaction WHERE kind = 'payout' AND source_id = :'pt_requested'",
        "is REQUESTED of 10000 INR: 0 have left the wallet, 0 were transferred, 0 paid",
    ),
    (
        "P12",
        "UPDATE payout SET status = 'TRANSFERRED' WHERE id = :'pt_requested'",
        "is TRANSFERRED of 10000 INR: 10000 have left the wallet, 0 were transferred",
    ),
    (
        "P12",
        "DELETE FROM ledger_transaction WHERE kind = 'payout_paid' AND source_id = :'pt_paid'",
        "is PAID of 10000 INR: 10000 have left the wallet, 10000 were transferred, 0 paid",
    ),
    ("P12", "UPDATE payout SET status = 'PAID' WHERE id = :'pt_in_transit'", "10000 were transferred, 0 paid"),
    (
        "P12",
        "UPDATE payout SET status = 'FAILED' WHERE id = :'pt_returning'",
        "is FAILED of 10000 INR: 10000 have left",
    ),
    (
        "P12",
        "UPDATE payout SET transfer_reference = 'tr_x' WHERE id = :'pt_unclear'",
        "is NEEDS_ATTENTION of 10000 INR: 10000 have left the wallet, 0 were transferred",
    ),
    (
        "P12",
        "DELETE FROM ledger_transaction WHERE kind = 'payout_reversal' AND source_id = :'pt_returned'",
        "is RETURNED of 10000 INR: 10000 have left the wallet",
    ),
    (
        "P12",  # it sums to zero, on another account
        "UPDATE ledger_posting SET account = 'bank' WHERE account = 'payout_in_transit' AND transaction_id IN"
        " (SELECT id FROM ledger_transaction WHERE source_id = :'pt_failed' AND kind = 'payout_reversal')",
        "is FAILED, and bank is left with 10000 INR of it",
    ),
    (
        "P12",
        "UPDATE ledger_posting SET account = 'wallet:anna:available' WHERE account = 'wallet:fay:available'"
        " AND transaction_id IN (SELECT id FROM ledger_transaction WHERE source_id = :'pt_paid' AND kind = 'payout')",
        "1 line(s) of it are on an account that is not its own",
    ),
    (
        "P12",
        "UPDATE ledger_posting SET amount = amount * 2 WHERE transaction_id IN"
        " (SELECT id FROM ledger_transaction WHERE source_id = :'pt_paid' AND kind = 'payout_transfer')",
        "10000 have left the wallet, 20000 were transferred",
    ),
    (
        "P12",
        "UPDATE ledger_transaction SET source_id = 'pt_none' WHERE kind = 'payout_paid' AND source_id = :'pt_paid'",
        "payout_paid is booked for pt_none, which is no payout",
    ),
    (
        "P12",
        "UPDATE ledger_posting SET account = 'receivable:fay' WHERE account = 'receivable:gil' AND amount < 0",
        "back on receivable:fay for what the seller owes",
    ),
    (
        "P12",
        "INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)"
        f" SELECT 'acme', {SALE}, account, 'INR', amount FROM (VALUES ('payout_float', 5), ('bank', -5))"
        " AS v(account, amount)",
        "holds 40005 INR, and the payouts under way explain 40000",
    ),
    (
        "P12",
        "INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)"
        f" SELECT 'acme', {SALE}, account, 'INR', amount FROM (VALUES ('payout_in_transit', 5), ('bank', -5))"
        " AS v(account, amount)",
        "holds -59995 INR, and the payouts under way explain -60000",
    ),
    # --- P13: releases ---
    (
        "P13",
        "UPDATE payment_order SET released_at = NULL WHERE payment_id = :'sold_1'",
        "and is not marked so",
    ),
    (
        "P13",
        "UPDATE payment_order SET released_at = now() WHERE payment_id = :'sold_pending'",
        "and no release is booked",
    ),
    ("P13", "UPDATE payment_order SET pending_amount = 7 WHERE payment_id = :'sold_1'", "and 7 INR of it are pending"),
    (
        "P13",
        "UPDATE payment_order SET available_at = now() - interval '25 hours' WHERE payment_id = :'sold_pending'",
        "should be available since",
    ),
    ("P13", "UPDATE payment_order SET available_at = NULL WHERE payment_id = :'sold_pending'", "nobody knows when"),
    (
        "P13",
        "UPDATE ledger_posting SET account = 'wallet:anna:available' WHERE account = 'wallet:fay:available'"
        " AND transaction_id IN (SELECT id FROM ledger_transaction WHERE kind = 'release')",
        "is no release of an order of its own",
    ),
    (
        "P13",
        "UPDATE ledger_transaction SET source_id = 'po_other' WHERE kind = 'release' AND payment_id = :'sold_1'",
        "release of po_other: is no release of an order of its own",
    ),
    # --- P14: who is forgotten ---
    (
        "P14",
        "UPDATE person SET forgotten_at = now(), key = NULL",
        "under a key that is not there",
    ),
    (
        "P14",
        "UPDATE person SET forgotten_at = now()",
        "still has what tells of them",
    ),
    # --- P15: months ---
    (
        "P15",
        "DO $$ BEGIN EXECUTE format('DROP TABLE months.outbox_%s', month_of(now() + interval '1 month')); END $$",
        "the partition is missing",
    ),
    (
        "P15",
        "INSERT INTO ledger_posting (seq, tenant_id, transaction_id, account, currency, amount) OVERRIDING SYSTEM VALUE"
        " SELECT month_of(now() + interval '1 month') * 1000000000000, tenant_id, transaction_id, account, currency,"
        " amount FROM ledger_posting LIMIT 1",
        "is not of the month of its transaction",
    ),
    # --- P16: events ---
    (
        "P16",
        "UPDATE event_sink SET reached_at = now() WHERE sink = 1;"
        " UPDATE outbox SET at = now() - interval '6 minutes' WHERE seq = (SELECT min(seq) FROM outbox);"
        " INSERT INTO outbox_todo SELECT 1, min(seq) FROM outbox",
        "waits for the broker since",
    ),
    # --- their part in other invariants ---
    (
        "I8",
        "UPDATE payout SET next_check_at = now() - interval '1 hour' WHERE id = :'pt_in_transit'",
        "payout IN_TRANSIT of fay, and should have been looked at by",
    ),
    ("I8", "DELETE FROM operator_task WHERE object_id = :'pt_unclear'", "payout NEEDS_ATTENTION since"),
    (
        "I14",
        "INSERT INTO payout_transition (tenant_id, payout_id, from_status, to_status, reason, at)"
        " VALUES ('acme', :'pt_cancelled', 'CANCELLED', 'PAID', 'x', now())",
        "goes from CANCELLED to PAID, which is not allowed",
    ),
    ("I14", "UPDATE payout SET status = 'IN_TRANSIT' WHERE id = :'pt_paid'", "its last step came to PAID"),
    ("P3", "DELETE FROM outbox WHERE type = 'payout.paid'", "1 step(s) and 0 event(s) payout.paid"),
    # --- I13: the seal ---
    (
        "I13",
        f"UPDATE ledger_posting SET amount = 1 WHERE account = 'platform_fees' AND transaction_id = {SALE}",
        "to platform_fees is 1 INR now, and was changed after it was sealed",
    ),
    (
        "I13",
        f"UPDATE ledger_transaction SET at = at - interval '1 microsecond' WHERE id = {SALE}",
        "its own row was changed after it was sealed",
    ),
    ("I13", f"DELETE FROM ledger_transaction WHERE id = {SALE}", "and is gone"),
    (
        "I13",
        f"DELETE FROM ledger_posting WHERE account = 'platform_fees' AND transaction_id = {SALE}",
        "posting 3 of 3 that were sealed is gone",
    ),
    (
        "I13",
        f"INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount) VALUES"
        f" ('acme', {SALE}, 'bank', 'INR', 3)",
        "to bank is 3 INR, and was added or changed after it was sealed",
    ),
    ("I13", "UPDATE ledger_seal SET hash = sha256('x') WHERE no = 2", "its hash is not that of its transactions"),
    ("I13", "UPDATE ledger_seal SET hash = sha256('x') WHERE no = 2", "does not follow from block 2"),
    ("I13", "UPDATE ledger_seal SET previous = sha256('x') WHERE no = 3", "does not follow from block 2"),
    ("I13", "DELETE FROM ledger_seal WHERE no = 2", "gone from the chain; 20 transactions were sealed there"),
    (
        "I13",
        "DELETE FROM ledger_seal WHERE no = (SELECT max(no) FROM ledger_seal)",
        "gone from the chain",
    ),
    (
        "I13",
        f"DELETE FROM ledger_seal_row WHERE transaction_id = {SALE}",
        "sealed 20 transactions, and says of 19 which they are",
    ),
    (
        "I13",
        f"DELETE FROM ledger_seal_row WHERE transaction_id = {SALE}",
        "is in no block, though later ones are sealed",
    ),
    (
        "I13",
        f"UPDATE ledger_seal_row SET digests = substr(sha256('x'), 1, 32) WHERE transaction_id = {SALE}",
        "has other digests of its transactions than it was sealed with",
    ),
    (
        "I13",
        "INSERT INTO ledger_transaction (id, seq, tenant_id, kind, source_id, at) OVERRIDING SYSTEM VALUE"
        " VALUES ('lt_slipped', -1, 'acme', 'adjustment', 'adj_1', now())",
        "adjustment of adj_1 is in no block, though later ones are sealed",
    ),
    (
        "I13",
        "DELETE FROM ledger_seal_row; DELETE FROM ledger_seal WHERE no > 1",
        "sealed 20 transactions, and says of 0 which they are",
    ),
]
