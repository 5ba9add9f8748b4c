"""Every invariant finds its violation, planted where no application could put it; what is sound audits clean."""

import pytest

from db.audit.audit import INVARIANTS, audit_database, run_audit
from services.audit import WORKFLOWS_CODE
from tests.audit.copies import Copy, Spoilt
from tests.audit.planted_payouts import PLANTED_PAYOUTS
from tests.audit.planted_reconciliation import PLANTED_RECONCILIATION

# (invariant, the damage, part of the sentence that must name it). `:'paid'` and the like are payments of the original.
PLANTED = [
    (
        "I1",
        "UPDATE ledger_posting SET amount = amount + 7 WHERE account = 'platform_fees' AND transaction_id ="
        " (SELECT id FROM ledger_transaction WHERE kind = 'capture' AND payment_id = :'paid')",
        "sums to 7 INR",
    ),
    (
        "I2",
        "UPDATE ledger_posting SET amount = amount - 3 WHERE account = 'psp_fees' AND transaction_id ="
        " (SELECT id FROM ledger_transaction WHERE kind = 'psp_fee' AND payment_id = :'two')",
        "all postings in INR sum to -3",
    ),
    ("I3", "UPDATE wallet SET pending = pending + 1 WHERE seller_account = 'anna'", "its balance is"),
    ("I3", "UPDATE wallet SET receivable = receivable + 1 WHERE seller_account = 'eve'", "its balance is 1501"),
    ("I3", "DELETE FROM wallet WHERE seller_account = 'bo'", "its balance is missing"),
    (
        "I3",
        "INSERT INTO wallet (tenant_id, seller_account, currency, available) VALUES ('acme', 'chen', 'USD', 5)",
        "its postings sum to 0 USD",
    ),
    (
        "I4",
        "INSERT INTO charge (id, tenant_id, payment_id, attempt, psp, key, amount, currency, send_until, outcome,"
        " reference, received_amount, received_currency, booked)"
        " SELECT 'ch_twice', tenant_id, payment_id, 2, psp, 'twice', amount, currency, send_until, outcome,"
        " 'pi_twice', received_amount, received_currency, booked FROM charge WHERE payment_id = :'paid'",
        "charged 2 times",
    ),
    ("I5", "UPDATE charge SET received_amount = 60000 WHERE payment_id = :'paid'", "received 60000 INR"),
    ("I5", "UPDATE charge SET booked = false WHERE payment_id = :'paid'", "is not booked"),
    (
        "I5",
        "DELETE FROM ledger_posting WHERE transaction_id IN"
        " (SELECT id FROM ledger_transaction WHERE kind = 'suspense_refund' AND payment_id = :'refunded')",
        "no task is open for it",
    ),
    (
        "I6",
        "ALTER TABLE payment_order DROP CONSTRAINT ck_payment_order_captured;"
        " UPDATE payment_order SET amount = 40000 WHERE payment_id = :'paid'",
        "40000 INR is asked for",
    ),
    (
        "I6",
        "UPDATE payment_order SET capture_amount = 20000 WHERE payment_id = :'part' AND seller_account = 'anna'",
        "but the ledger says 10000 of 20000 INR",
    ),
    (
        "I6",
        "UPDATE payment_order SET captured_amount = captured_amount - 1 WHERE payment_id = :'paid'",
        "captured 49999 INR, and 50000 is posted",
    ),
    (
        "I6",
        "UPDATE payment_order SET captured_amount = captured_amount - 1 WHERE payment_id = :'two' AND position = 0",
        "received 50000 INR: captured 49999",
    ),
    (
        "I6",
        "UPDATE payment_order SET platform_fee = 10000 WHERE payment_id = :'part' AND seller_account = 'anna'",
        "the platform fee is 300 of 10000 INR, with 10000 of 30000 captured",
    ),
    (
        "I6",
        "UPDATE payment_order SET wallet_updated = true, ledger_updated = true WHERE payment_id = :'declined'",
        "the ledger says 0",
    ),
    (
        "I6",
        "UPDATE payment_order SET captured_fee = 1 WHERE payment_id = :'paid'",
        "the platform fee is 1 INR and 1500 is posted",
    ),
    ("I6", "UPDATE payment SET amount = 1 WHERE id = :'waiting'", "is 1 INR and its orders sum to 50000"),
    ("I6", "UPDATE charge SET amount = 1 WHERE payment_id = :'waiting'", "asks the PSP for 1 INR"),
    ("I7", "UPDATE refund SET amount = 60000 WHERE payment_id = :'refunded'", "they sum to 60000"),
    ("I7", "UPDATE refund SET status = 'PENDING' WHERE payment_id = :'refunded'", "but 50000 is booked"),
    ("I7", "UPDATE refund SET currency = 'USD' WHERE payment_id = :'refunded'", "is in USD and the charge in INR"),
    (
        "I7",
        "INSERT INTO webhook_inbox"
        " (id, tenant_id, psp, event_id, type, payload, reference, payment_id, status, refund_failed)"
        " SELECT 'whk_late', tenant_id, 'stripe', 'evt_late', 'refund.failed', '{}', reference, payment_id,"
        " 'PROCESSED', true FROM refund WHERE id = :'re_part'",
        "the PSP said later that it failed",
    ),
    ("I7", "UPDATE charge SET refund_amount = 1 WHERE payment_id = :'returned'", "notes refunds of 1, and they sum to"),
    (
        "I7",
        "UPDATE payment_order SET refund_amount = 1 WHERE payment_id = :'returned' AND seller_account = 'dora'",
        "notes refunds of 1, and they sum to 12000",
    ),
    (
        "I7",
        "UPDATE payment_order SET psp_refund_amount = 1 WHERE payment_id = :'at_psp'",
        "notes 1 refunded at the PSP",
    ),
    ("I7", "UPDATE refund SET refundable_amount = NULL WHERE id = :'re_part'", "when nothing could be refunded"),
    (
        "I7",
        "UPDATE refund SET refundable_amount = 99999 WHERE id = :'re_part'",
        "when 99999 could be refunded of 30000",
    ),
    (
        "I7",
        "UPDATE payment_order SET psp_refund_amount = 40000 WHERE payment_id = :'at_psp'",
        "80000 at the PSP and 0 disputed, and no task says so",
    ),
    ("I7", "UPDATE refund SET status = 'PENDING' WHERE id = :'re_part'", "PENDING of 12000 INR, but 12000 is booked"),
    ("I7", "UPDATE refund SET status = 'SUCCEEDED' WHERE id = :'re_failed'", "SUCCEEDED of 7000 INR, but 0 is booked"),
    ("I7", "UPDATE refund SET status = 'FAILED' WHERE id = :'re_psp'", "FAILED of 10000 INR, but 10000 is booked"),
    ("I8", "UPDATE payment SET deadline_at = now() - interval '1 hour' WHERE id = :'waiting'", "past its deadline"),
    (
        "I8",
        "UPDATE payment SET status = 'EXECUTING', updated_at = now() - interval '1 hour' WHERE id = :'waiting'",
        "EXECUTING since",
    ),
    ("I8", "UPDATE payment SET status = 'NEEDS_ATTENTION' WHERE id = :'waiting'", "no task is open"),
    ("I8", "UPDATE refund SET status = 'FAILED' WHERE payment_id = :'refunded'", "is FAILED since"),
    (
        "I8",
        "UPDATE refund SET status = 'REQUESTED', created_at = now() - interval '1 hour' WHERE payment_id = :'refunded'",
        "is REQUESTED since",
    ),
    ("I8", "UPDATE refund SET updated_at = now() - interval '1 day' WHERE id = :'re_pending'", "is PENDING since"),
    ("I8", "UPDATE refund SET status = 'NEEDS_ATTENTION' WHERE id = :'re_part'", "is NEEDS_ATTENTION since"),
    (
        "I8",
        "UPDATE dispute SET next_check_at = now() - interval '1 hour' WHERE id = :'dp_disputed'",
        "is NEEDS_RESPONSE, and should have been looked at by",
    ),
    (
        "I8",
        "UPDATE payment SET next_check_at = now() - interval '1 hour' WHERE id = :'authorized'",
        "AUTHORIZED, and should have been looked at by",
    ),
    (
        "I8",
        "UPDATE payment SET deadline_at = now() - interval '1 hour' WHERE id = :'authorized'",
        "AUTHORIZED, past its deadline",
    ),
    (
        "I8",
        "UPDATE payment SET capture_requested_at = now() - interval '1 hour' WHERE id = :'authorized'",
        "AUTHORIZED, and its capture was requested at",
    ),
    (
        "I8",  # its task asks about the review, not why nothing has come of the deadline
        "UPDATE payment SET deadline_at = now() - interval '1 hour' WHERE id = :'in_review'",
        "IN_REVIEW, past its deadline",
    ),
    ("I8", "DELETE FROM operator_task WHERE payment_id = :'in_review'", "IN_REVIEW, and no person is asked"),
    (
        "I8",
        "UPDATE risk_decision SET review = 'approve', reviewed_by = 'olga', reviewed_at = now() - interval '1 hour'"
        " WHERE payment_id = :'in_review'",
        "nobody has acted on the decision of",
    ),
    (
        "I9",
        "UPDATE ledger_posting SET account = 'psp_fees' WHERE account = 'suspense' AND transaction_id IN"
        " (SELECT id FROM ledger_transaction WHERE kind = 'suspense_refund' AND payment_id = :'refunded')",
        "suspense is left with -50000 INR",
    ),
    (
        "I9",
        "UPDATE ledger_posting SET amount = amount * 2 WHERE transaction_id IN"
        " (SELECT id FROM ledger_transaction WHERE kind = 'psp_fee' AND payment_id = :'refunded')",
        "the PSP kept 1480 INR and 2960 is booked",
    ),
    (
        "I18",
        "UPDATE ledger_balance SET amount = amount + 1 WHERE (account, period) = ('platform_fees', 'month')",
        "INR and is kept as",
    ),
    ("I18", "DELETE FROM ledger_balance WHERE account = 'platform_fees'", "INR and is kept as nothing"),
    (
        "I10",
        "ALTER TABLE ledger_transaction DROP CONSTRAINT uq_ledger_transaction_kind_source_id;"
        " INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)"
        " SELECT 'lt_twice', tenant_id, kind, source_id, at FROM ledger_transaction"
        " WHERE kind = 'capture' AND payment_id = :'paid'",
        "capture is booked 2 times",
    ),
    (
        "I11",
        "INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)"
        " VALUES ('lt_empty', 'acme', 'capture', 'po_none', now())",
        "has 0 posting(s)",
    ),
    (
        "I11",
        "ALTER TABLE ledger_posting DROP CONSTRAINT ck_ledger_posting_amount;"
        " UPDATE ledger_posting SET amount = 0 WHERE account = 'wallet:bo:pending'",
        "to wallet:bo:pending is zero",
    ),
    ("I11", "DELETE FROM ledger_account WHERE name = 'platform_fees'", "which is no account"),
    ("I11", "UPDATE ledger_posting SET tenant_id = 'platform' WHERE account = 'wallet:bo:pending'", "of its tenant"),
    ("I12", "UPDATE wallet SET available = -1 WHERE seller_account = 'anna'", "the balance is -1 INR"),
    ("I12", "UPDATE wallet SET receivable = 5 WHERE seller_account = 'anna'", "no refund or dispute explains it"),
    (
        "I12",
        "UPDATE merchant SET allow_negative_balance = false, updated_at = now() - interval '1 day'"
        " WHERE seller_account = 'eve'",
        "which its terms do not allow",
    ),
    (
        "I12",
        "UPDATE ledger_posting SET account = 'receivable:eve' WHERE account = 'wallet:anna:pending' AND transaction_id"
        " = (SELECT id FROM ledger_transaction WHERE kind = 'capture' AND payment_id = :'paid');"
        " UPDATE ledger_posting SET amount = -amount WHERE account = 'receivable:eve'",
        "because of capture",
    ),
    (
        "I14",
        "DELETE FROM payment_order_transition WHERE to_status = 'REQUIRES_ACTION' AND payment_id = :'cancelled'",
        "but the one before had come to EXECUTING",
    ),
    (
        "I14",
        "INSERT INTO payment_order_transition"
        " (tenant_id, payment_id, order_id, from_status, to_status, reason, actor, at)"
        " SELECT tenant_id, payment_id, id, status, 'FAILED', 'x', 'x', now() FROM payment_order"
        " WHERE payment_id = :'paid'",
        "goes from SUCCESS to FAILED, which is not allowed",
    ),
    (
        "I14",
        "UPDATE payment_order SET status = 'CANCELLED' WHERE payment_id = :'declined'",
        "its last step came to FAILED",
    ),
    ("I14", "UPDATE payment SET status = 'CANCELLED' WHERE id = :'paid'", "its orders amount to SUCCESS"),
    (
        "I14",
        "DELETE FROM dispute_transition WHERE dispute_id = :'dp_lost' AND to_status = 'NEEDS_RESPONSE'",
        "leaves NEEDS_RESPONSE, but the one before had come to OPENED",
    ),
    (
        "I14",
        "INSERT INTO dispute_transition (tenant_id, dispute_id, from_status, to_status, at)"
        " VALUES ('acme', :'dp_won', 'WON', 'LOST', now())",
        "goes from WON to LOST, which is not allowed",
    ),
    ("I14", "UPDATE dispute SET status = 'UNDER_REVIEW' WHERE id = :'dp_disputed'", "its last step came to NEEDS_RESP"),
    (
        "I14",
        "INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)"
        " VALUES ('evt_x', 'acme', 'refund.succeeded', 1, :'re_failed', '{}', now())",
        "goes from FAILED to SUCCEEDED, which is not allowed",
    ),
    ("I14", "UPDATE refund SET status = 'FAILED' WHERE id = :'re_psp'", "its last event says SUCCEEDED"),
    ("I14", "DELETE FROM outbox WHERE object_id = :'re_part'", "its last event says nothing"),
    (
        "I16",
        "UPDATE webhook_inbox SET status = 'RECEIVED', received_at = now() - interval '1 hour'"
        " WHERE payment_id = :'refunded'",
        "waits since",
    ),
    ("I16", "UPDATE webhook_inbox SET status = 'DEAD' WHERE payment_id = :'refunded'", "was given up"),
    (
        "I16",
        "ALTER TABLE webhook_inbox DROP CONSTRAINT uq_webhook_inbox_psp_event_id;"
        " INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, status)"
        " SELECT 'whk_twice', tenant_id, psp, event_id, type, payload, status FROM webhook_inbox LIMIT 1",
        "is stored 2 times",
    ),
    (
        "P1",
        "UPDATE payment_order SET wallet_updated = false WHERE payment_id = :'paid'",
        "SUCCESS with wallet_updated f",
    ),
    ("P2", "UPDATE payment SET is_payment_done = true WHERE id = :'declined'", "0 of 1 orders are paid"),
    (
        "P3",
        "DELETE FROM outbox WHERE type = 'payment_order.success' AND object_id IN"
        " (SELECT id FROM payment_order WHERE payment_id = :'two')",
        "1 step(s) and 0 event(s) payment_order.success",
    ),
    ("P3", "DELETE FROM outbox WHERE type = 'dispute.lost'", "1 step(s) and 0 event(s) dispute.lost"),
    ("P4", "UPDATE wallet SET reserved = reserved + 1 WHERE seller_account = 'dora'", "is set aside"),
    ("P4", "UPDATE wallet SET pending = pending + 1 WHERE seller_account = 'dora'", "and its orders have"),
    (
        "P4",  # the sum is right, and yet no order has what it should
        "UPDATE payment_order SET pending_amount = pending_amount - 1 WHERE payment_id = :'returned' AND position = 0;"
        " UPDATE payment_order SET pending_amount = pending_amount + 1 WHERE payment_id = :'disputed' AND position = 0",
        "is posted",
    ),
    (
        "P5",
        "UPDATE payment_order SET refund_status = 'REFUNDED' WHERE payment_id = :'returned' AND position = 0",
        "shows refund_status REFUNDED; of 30000, 12000 was refunded and 0 is under way",
    ),
    ("P5", "UPDATE payment_order SET refund_status = NULL WHERE payment_id = :'refund_pending'", "10000 is under way"),
    ("P5", "UPDATE payment_order SET refund_status = NULL WHERE payment_id = :'all_returned'", "50000 was refunded"),
    (
        "P5",
        "UPDATE payment_order SET dispute_status = 'WON' WHERE payment_id = :'lost'",
        "the latest dispute came to LOST",
    ),
    ("P5", "UPDATE payment_order SET dispute_amount = 7 WHERE payment_id = :'won'", "its shares of disputes sum to 0"),
    ("P6", "UPDATE reserve SET source_id = 're_none' WHERE source_id = :'re_part'", "which does not exist"),
    ("P6", "UPDATE reserve SET status = 'HELD' WHERE source_id = :'re_part'", "is SUCCEEDED, so it should be TAKEN"),
    ("P6", "UPDATE reserve SET status = 'HELD' WHERE source_id = :'re_failed'", "is FAILED, so it should be RELEASED"),
    ("P6", "UPDATE reserve SET status = 'TAKEN' WHERE source_id = :'re_pending'", "is PENDING, so it should be HELD"),
    ("P6", "UPDATE reserve SET status = 'RELEASED' WHERE source_id = :'dp_lost'", "is LOST, so it should be TAKEN"),
    ("P6", "UPDATE reserve SET status = 'TAKEN' WHERE source_id = :'dp_won'", "is WON, so it should be RELEASED"),
    ("P6", "UPDATE dispute SET status = 'INQUIRY' WHERE id = :'dp_disputed'", "is INQUIRY, so it should be nothing"),
    ("P6", "UPDATE reserve SET seller_account = 'anna' WHERE source_id = :'re_part'", "seller anna, in INR: not of"),
    ("P6", "UPDATE reserve SET seller_account = 'anna' WHERE source_id = :'re_part'", "the wallet of another seller"),
    ("P6", "UPDATE reserve SET platform_fee = 0 WHERE source_id = :'re_part'", "covers 11640 INR of 12000"),
    (
        "P6",
        "UPDATE reserve SET pending = pending - 1, available = 1 WHERE source_id = :'re_part'",
        "has 11639 from pending, 1 from available, 0 on credit; posted are 11640, 0, 0",
    ),
    (
        "P6",
        "DELETE FROM ledger_transaction WHERE kind = 'refund' AND source_id IN"
        " (SELECT id FROM reserve WHERE source_id = :'re_part')",
        "is TAKEN with 11640 INR, and 11640 is in reserved",
    ),
    (
        "P6",
        "DELETE FROM ledger_transaction WHERE kind = 'refund_release' AND source_id IN"
        " (SELECT id FROM reserve WHERE source_id = :'re_failed')",
        "is RELEASED with 6790 INR, and 6790 is in reserved",
    ),
    (
        "P6",
        "UPDATE ledger_posting SET account = 'psp_fees' WHERE account = 'platform_fees' AND transaction_id IN"
        " (SELECT t.id FROM ledger_transaction t JOIN reserve v ON v.id = t.source_id WHERE t.kind = 'refund')",
        "of the platform fee 360 INR was returned",
    ),
    (
        "P6",
        "UPDATE reserve SET platform_fee = 2000, pending = 10000 WHERE source_id = :'re_part'",
        "took a platform fee of 900 INR and returns 2000",
    ),
    ("P6", "DELETE FROM reserve WHERE source_id = :'re_part'", "is SUCCEEDED with 12000 INR, and 0 is set aside"),
    ("P6", "DELETE FROM reserve WHERE source_id = :'re_psp'", "is SUCCEEDED with 10000 INR, and 0 is set aside"),
    ("P6", "DELETE FROM reserve WHERE source_id = :'dp_lost'", "is LOST with 50000 INR, and 0 is set aside"),
    ("P6", "UPDATE reserve SET amount = amount + 1 WHERE source_id = :'dp_lost'", "50002 is set aside"),
    ("P6", "DELETE FROM reserve WHERE source_id = :'re_part'", "for which nothing is set aside"),
    (
        "P7",
        "UPDATE dispute SET withdrawn = false WHERE id = :'dp_disputed'",
        "disputes_held has 50000 INR of it, and 0 is withdrawn",
    ),
    (
        "P7",
        "DELETE FROM ledger_transaction WHERE kind = 'dispute_reinstated';"
        " UPDATE dispute SET closed_at = now() - interval '1 hour'",
        "disputes_held has 50000 INR of it, and 0 is withdrawn",
    ),
    (
        "P7",
        "DELETE FROM ledger_transaction WHERE kind = 'dispute_loss' AND order_id IS NOT NULL;"
        " UPDATE dispute SET closed_at = now() - interval '1 hour'",
        "disputes_held has 50000 INR of it",
    ),
    (
        "P7",
        "DELETE FROM ledger_transaction WHERE kind = 'dispute_loss' AND order_id IS NOT NULL",
        "bears 0 of 30000 INR",
    ),
    ("P7", "DELETE FROM ledger_transaction WHERE kind = 'dispute_loss' AND order_id IS NULL", "we bear 0 of 50000 INR"),
    (
        "P8",
        "UPDATE dispute SET fee = fee + 1 WHERE id = :'dp_lost'",
        "kept 1501 INR for its disputes, and 1500 is booked",
    ),
    (
        "P8",
        "DELETE FROM ledger_transaction WHERE kind = 'dispute_fee' AND payment_id = :'disputed'",
        "kept 1500 INR for its disputes, and 0 is booked",
    ),
    ("P8", "UPDATE dispute SET fee = 1 WHERE id = :'dp_lost'", "cost a fee of 1 INR, and its sellers bear 900"),
    (
        "P8",
        "UPDATE ledger_transaction SET kind = 'dispute_reinstated' WHERE kind = 'dispute_fee'"
        " AND payment_id = :'disputed'",
        "is booked 2 times as a movement of money: dispute_withdrawn, dispute_reinstated",
    ),
    (
        "P8",
        "UPDATE ledger_transaction SET source_id = 'txn_1' WHERE kind = 'dispute_fee' AND payment_id = :'disputed'",
        "is no movement that the PSP named",
    ),
    ("P9", "DELETE FROM risk_decision WHERE payment_id = :'allowed'", "had not let it through: not judged"),
    ("P9", "UPDATE risk_decision SET verdict = 'block' WHERE payment_id = :'allowed'", "had not let it through: block"),
    (
        "P9",
        "UPDATE risk_decision SET review = 'reject' WHERE payment_id = :'approved'",
        "had not let it through: review, reject",
    ),
    (
        "P9",
        "UPDATE risk_decision SET review = NULL WHERE payment_id = :'approved' AND stage = 'before_charge'",
        "had not let it through: review",
    ),
    (
        "P9",
        "UPDATE risk_decision SET verdict = 'block' WHERE payment_id = :'allowed' AND stage = 'after_authorization'",
        "was captured, though the rules said block (after_authorization)",
    ),
    (
        "P9",
        "UPDATE risk_decision SET review = 'reject' WHERE payment_id = :'approved'",
        "was captured, though the rules said review and a person reject",
    ),
    ("P9", "UPDATE risk_decision SET version = 9 WHERE payment_id = :'allowed'", "is to be judged by 1"),
    (
        "P9",
        "UPDATE risk_decision SET reviewed_by = NULL WHERE payment_id = :'approved'",
        "decided as approve by nobody",
    ),
    ("P9", "UPDATE payment SET risk_version = NULL WHERE id = :'in_review'", "came to IN_REVIEW, and it has no rules"),
    ("P10", "UPDATE payment SET authorize_only = false WHERE id = :'authorized'", "came to AUTHORIZED, and was to be"),
    (
        "P10",
        "UPDATE payment_order SET capture_amount = 1 WHERE payment_id = :'authorized'",
        "nobody has requested a capture",
    ),
    ("P10", "UPDATE payment SET capture_requested_by = NULL WHERE id = :'part'", "was requested by nobody"),
    ("P10", "UPDATE payment SET capture_by_request = true WHERE id = :'paid'", "waits for a request to capture"),
    ("P10", "UPDATE payment SET accepted_at = now() WHERE id = :'paid'", "another amount was accepted by nobody"),
    (
        "P10",
        "UPDATE payment_order SET captured_amount = 0, captured_fee = 0, pending_amount = 0 WHERE payment_id = :'paid'",
        "SUCCESS, and nothing of it was captured",
    ),
]


PLANTED += PLANTED_PAYOUTS + PLANTED_RECONCILIATION


@pytest.mark.parametrize(("code", "damage", "sentence"), PLANTED, ids=[f"{p[0]}-{p[2]}" for p in PLANTED])
async def test_a_planted_violation_is_found_and_named(spoilt: Spoilt, code: str, damage: str, sentence: str) -> None:
    findings = await spoilt.audit(damage, code)
    named = [finding for finding in findings if sentence in finding.problem]
    assert named, "\n".join(map(str, findings)) or "nothing was found"
    assert all(finding.object_id for finding in named)


def test_each_invariant_is_planted() -> None:
    assert {code for code, _, _ in PLANTED} == {invariant.code for invariant in INVARIANTS}


def test_a_code_names_one_invariant() -> None:
    """Also the one that compares PostgreSQL with Temporal, which is not asked with the others."""
    codes = [WORKFLOWS_CODE, *(invariant.code for invariant in INVARIANTS)]
    assert len(codes) == len(set(codes))


async def test_what_is_sound_audits_clean(copy: Copy) -> None:
    checked = await run_audit(copy.database)
    assert [f"{f}" for c in checked for f in c.findings] == []
    assert all(c.rows > 0 for c in checked), "an invariant over nothing shows nothing"


async def test_more_violations_are_counted_than_shown(copy: Copy) -> None:
    await copy.damage(
        "INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, status, received_at)"
        " SELECT 'whk_' || n, 'acme', 'stripe', 'evt_' || n, 'x', '{}', 'RECEIVED', now() - interval '1 day'"
        " FROM generate_series(1, 150) AS n"
    )
    (webhooks,) = [checked for checked in await run_audit(copy.database) if checked.code == "I16"]
    assert (webhooks.violations, len(webhooks.findings)) == (150, 100)


async def test_a_task_for_a_person_makes_it_right(copy: Copy) -> None:
    await copy.damage("UPDATE payment SET deadline_at = now() - interval '1 hour' WHERE id = :'waiting'")
    assert await audit_database(copy.database)
    await copy.damage(
        "INSERT INTO operator_task (id, tenant_id, payment_id, kind, detail)"
        " VALUES ('task_1', 'acme', :'waiting', 'stuck', 'somebody has to look')"
    )
    assert await audit_database(copy.database) == []
