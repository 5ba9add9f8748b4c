"""Every invariant finds its violation, planted where no application could put it; what is sound audits clean."""

import pytest

from db.audit import INVARIANTS, audit_database, run_audit
from tests.audit.copies import Copy

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
    ("I6", "UPDATE payment_order SET amount = 40000 WHERE payment_id = :'paid'", "40000 INR is asked for"),
    (
        "I6",
        "UPDATE payment_order SET wallet_updated = true, ledger_updated = true WHERE payment_id = :'declined'",
        "the ledger says 0",
    ),
    ("I6", "UPDATE payment_order SET platform_fee = 1 WHERE payment_id = :'paid'", "the platform fee is 1 INR"),
    ("I6", "UPDATE payment SET amount = 1 WHERE id = :'waiting'", "is 1 INR and its orders sum to 50000"),
    ("I6", "UPDATE charge SET amount = 1 WHERE payment_id = :'waiting'", "asks the PSP for 1 INR"),
    ("I7", "UPDATE refund SET amount = 60000 WHERE payment_id = :'refunded'", "they sum to 60000"),
    ("I7", "UPDATE refund SET status = 'PENDING' WHERE payment_id = :'refunded'", "but 50000 is booked"),
    ("I7", "UPDATE refund SET currency = 'USD' WHERE payment_id = :'refunded'", "is in USD and the charge in INR"),
    (
        "I7",
        "INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, reference, payment_id, status)"
        " SELECT 'whk_late', tenant_id, 'stripe', 'evt_late', 'refund.failed', '{}', reference, payment_id, 'PROCESSED'"
        " FROM refund WHERE payment_id = :'refunded'",
        "the PSP said later that it failed",
    ),
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
        "UPDATE refund SET status = 'REQUESTED', updated_at = now() - interval '1 hour' WHERE payment_id = :'refunded'",
        "is REQUESTED since",
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
]


@pytest.mark.parametrize(("code", "damage", "sentence"), PLANTED, ids=[f"{p[0]}-{p[2]}" for p in PLANTED])
async def test_a_planted_violation_is_found_and_named(copy: Copy, code: str, damage: str, sentence: str) -> None:
    await copy.damage(damage)
    findings = await audit_database(copy.database)
    named = [finding for finding in findings if finding.code == code and sentence in finding.problem]
    assert named, "\n".join(map(str, findings)) or "nothing was found"
    assert all(finding.object_id for finding in named)


def test_each_invariant_is_planted() -> None:
    assert {code for code, _, _ in PLANTED} == {invariant.code for invariant in INVARIANTS}


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
