"""Charges: one at most, all that was received is accounted for, and what was captured is what was asked for."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from db.audit.invariant import (
    DEADLINE_GRACE,
    ENDED,
    MONEY,
    OWED,
    STEP_MAX,
    Invariant,
    attended,
)
from domain.status import Status

CHARGES = (
    Invariant(
        "I4",
        "at most one charge of a payment that was not refunded",
        "charge",
        """
        WITH kept AS (
            SELECT c.tenant_id, c.payment_id, c.id
            FROM charge c
            LEFT JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS amount FROM refund r
                               WHERE r.charge_id = c.id AND r.status = 'SUCCEEDED') back ON true
            WHERE (c.outcome = 'SUCCEEDED' OR c.received_amount > 0)
              AND coalesce(c.received_amount, c.amount) > back.amount
        )
        SELECT min(tenant_id) AS tenant_id, payment_id AS object_id,
               format('the buyer was charged %s times: %s', count(*), string_agg(id, ', ' ORDER BY id)) AS problem
        FROM kept GROUP BY payment_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I5",
        "what was received is captured, refunded or held with a task",
        "charge",
        f"""
        WITH received AS (
            SELECT tenant_id, payment_id, received_currency AS currency, sum(received_amount) AS amount
            FROM charge WHERE received_amount IS NOT NULL GROUP BY 1, 2, 3
        ), sums AS (
            SELECT tenant_id, payment_id, currency, coalesce(r.amount, 0) AS received,
                   coalesce(m.captured, 0) AS captured, coalesce(m.held, 0) AS held, coalesce(m.refunded, 0) AS refunded
            FROM received r FULL JOIN ({MONEY}) m USING (tenant_id, payment_id, currency)
        ), due AS (
            SELECT s.*, p.status IN ({ENDED}) OR p.deadline_at < now() - {DEADLINE_GRACE}
                        OR (p.status = '{Status.EXECUTING}' AND p.updated_at < now() - {STEP_MAX}) AS is_due
            FROM sums s JOIN payment p ON p.id = s.payment_id
        )
        SELECT tenant_id, payment_id AS object_id,
               format('received %s %s, but captured %s, refunded %s and holds %s',
                      received, currency, captured, refunded, held) AS problem
        FROM due
        WHERE (is_due AND captured + refunded + held <> received) OR captured + refunded + held > received
           OR least(captured, refunded, held) < 0
        UNION ALL
        SELECT d.tenant_id, d.payment_id,
               format('holds %s %s in suspense, of which refunds cover %s, and no task is open for it',
                      d.held, d.currency, coalesce(o.amount, 0))
        FROM due d LEFT JOIN ({OWED}) o USING (payment_id, currency)
        WHERE d.is_due AND d.held <> coalesce(o.amount, 0) AND NOT {attended("d.payment_id")}
        UNION ALL
        SELECT c.tenant_id, c.payment_id, format('the PSP took the money of %s and it is not booked', c.id)
        FROM charge c JOIN payment p ON p.id = c.payment_id
        WHERE c.outcome = 'SUCCEEDED' AND NOT c.booked
          AND (p.status IN ({ENDED}) OR p.updated_at < now() - {STEP_MAX})
        """,
    ),
    Invariant(
        "I6",
        "captured is what was asked for, what is posted and what was received",
        "payment_order",
        f"""
        WITH posted AS (
            SELECT t.order_id, p.currency,
                   coalesce(sum(p.amount) FILTER (WHERE t.kind = 'capture'
                                                  AND (p.account LIKE 'psp_clearing:%' OR p.account = 'suspense')), 0)
                       AS gross,
                   coalesce(-sum(p.amount) FILTER (WHERE t.kind = 'capture_reversal' AND p.account = 'suspense'), 0)
                       AS reversed,
                   coalesce(-sum(p.amount) FILTER (WHERE p.account = 'platform_fees'), 0) AS fee
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE t.order_id IS NOT NULL AND t.kind IN ('capture', 'capture_reversal')
            GROUP BY t.order_id, p.currency
        ), orders AS (
            SELECT o.*, coalesce(o.capture_amount, o.amount) AS asked, coalesce(x.gross, 0) AS gross,
                   coalesce(x.gross - x.reversed, 0) AS captured, coalesce(x.fee, 0) AS fee
            FROM payment_order o LEFT JOIN posted x ON x.order_id = o.id AND x.currency = o.currency
        )
        SELECT tenant_id, id AS object_id,
               format('%s %s is asked for and %s was captured', asked, currency, gross) AS problem
        FROM orders WHERE gross > asked OR captured < 0
        UNION ALL
        SELECT tenant_id, id,
               format('%s with ledger_updated %s, but the ledger says %s of %s %s', status, ledger_updated, captured,
                      asked, currency)
        FROM orders WHERE captured <> CASE WHEN ledger_updated THEN asked ELSE 0 END
        UNION ALL
        SELECT tenant_id, id, format('captured %s %s, and %s is posted', captured_amount, currency, captured)
        FROM orders WHERE captured_amount <> captured
        UNION ALL
        SELECT tenant_id, id, format('the platform fee is %s %s and %s is posted', captured_fee, currency, fee)
        FROM orders WHERE fee <> captured_fee
        UNION ALL
        -- The fee's part is the captured part of the amount, to the minor unit.
        SELECT tenant_id, id,
               format('the platform fee is %s of %s %s, with %s of %s captured', captured_fee, platform_fee, currency,
                      captured_amount, amount)
        FROM orders WHERE abs(captured_fee::numeric * amount - platform_fee::numeric * captured_amount) >= amount
        UNION ALL
        SELECT o.tenant_id, o.id, format('is in %s and posted in %s', o.currency, x.currency)
        FROM posted x JOIN payment_order o ON o.id = x.order_id WHERE x.currency <> o.currency
        UNION ALL
        SELECT p.tenant_id, p.id,
               format('received %s %s: captured %s, refunded %s, held %s', c.received, p.currency, o.captured,
                      coalesce(m.refunded, 0), coalesce(m.held, 0))
        FROM payment p
        JOIN (SELECT payment_id, received_currency AS currency, sum(received_amount) AS received FROM charge
              WHERE booked GROUP BY 1, 2) c ON c.payment_id = p.id AND c.currency = p.currency
        CROSS JOIN LATERAL (SELECT coalesce(sum(captured_amount), 0) AS captured FROM payment_order
                            WHERE payment_id = p.id) o
        LEFT JOIN ({MONEY}) m ON m.payment_id = p.id AND m.currency = p.currency
        WHERE p.status IN ({ENDED}) AND c.received <> o.captured + coalesce(m.refunded, 0) + coalesce(m.held, 0)
        UNION ALL
        SELECT p.tenant_id, p.id, format('is %s %s and its orders sum to %s', p.amount, p.currency, sum(o.amount))
        FROM payment p LEFT JOIN payment_order o ON o.payment_id = p.id AND o.currency = p.currency
        GROUP BY p.id HAVING p.amount <> coalesce(sum(o.amount), 0)
        UNION ALL
        SELECT c.tenant_id, c.id,
               format('asks the PSP for %s %s instead of %s %s', c.amount, c.currency, p.amount, p.currency)
        FROM charge c JOIN payment p ON p.id = c.payment_id WHERE (c.amount, c.currency) <> (p.amount, p.currency)
        """,
    ),
)
