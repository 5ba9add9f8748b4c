"""Refunds, and what is set aside for them and for disputes."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from db.audit.invariant import REFUND_STATUS, RESERVED, RESERVES_POSTED, UNDOING, Invariant, sql_list
from domain.status import DISPUTE_HOLDS, DisputeStatus, RefundStatus

# The status that a reserve has while its refund or dispute has this one.
_RESERVE_STATUS = f"""
    CASE WHEN origin = 'dispute' THEN
             CASE WHEN source_status = '{DisputeStatus.LOST}' THEN 'TAKEN'
                  WHEN source_status IN ('{DisputeStatus.WON}', '{DisputeStatus.CLOSED}') THEN 'RELEASED'
                  WHEN source_status IN ({sql_list(sorted(DISPUTE_HOLDS))}) THEN 'HELD' ELSE 'nothing' END
         WHEN origin IN ({UNDOING}) THEN 'nothing'
         WHEN source_status = '{RefundStatus.SUCCEEDED}' THEN 'TAKEN'
         WHEN source_status = '{RefundStatus.FAILED}' THEN 'RELEASED' ELSE 'HELD' END
"""

REFUNDS = (
    Invariant(
        "I7",
        "refunds are at most what was received, and booked once made",
        "refund",
        f"""
        SELECT c.tenant_id, c.id AS object_id,
               format('received %s, notes refunds of %s, and they sum to %s',
                      coalesce(c.received_amount, 0), c.refund_amount, coalesce(sum(r.amount), 0)) AS problem
        FROM charge c
        -- what undoes a charge is made whatever it takes; any other refund is over when it failed
        LEFT JOIN refund r ON r.charge_id = c.id AND r.origin <> 'psp'
                          AND (r.origin IN ({UNDOING}) OR r.status <> 'FAILED')
        GROUP BY c.id
        HAVING coalesce(sum(r.amount), 0) > coalesce(c.received_amount, 0)
            OR coalesce(sum(r.amount), 0) <> c.refund_amount
        UNION ALL
        SELECT o.tenant_id, o.id,
               format('captured %s, notes refunds of %s, and they sum to %s', o.captured_amount, o.refund_amount,
                      coalesce(sum(r.amount), 0))
        FROM payment_order o
        LEFT JOIN refund r ON r.order_id = o.id AND r.origin = 'request' AND r.status <> 'FAILED'
        GROUP BY o.id
        HAVING coalesce(sum(r.amount), 0) > o.captured_amount OR coalesce(sum(r.amount), 0) <> o.refund_amount
        UNION ALL
        SELECT o.tenant_id, o.id,
               format('notes %s refunded at the PSP, and its shares of that sum to %s', o.psp_refund_amount,
                      coalesce(sum(v.amount), 0))
        FROM payment_order o
        LEFT JOIN (SELECT v.order_id, v.amount FROM reserve v JOIN refund r ON r.id = v.source_id
                   WHERE r.origin = 'psp' AND v.status <> 'RELEASED') v ON v.order_id = o.id
        GROUP BY o.id HAVING coalesce(sum(v.amount), 0) <> o.psp_refund_amount
        UNION ALL
        SELECT r.tenant_id, r.id,
               format('asks for %s %s, when %s could be refunded of %s', r.amount, r.currency,
                      coalesce(r.refundable_amount::text, 'nothing'), coalesce(o.captured_amount, 0))
        FROM refund r LEFT JOIN payment_order o ON o.id = r.order_id AND o.payment_id = r.payment_id
        WHERE r.origin = 'request' AND (r.amount <= r.refundable_amount AND r.refundable_amount <= o.captured_amount)
              IS NOT TRUE
        UNION ALL
        SELECT p.tenant_id, p.id,
               format('captured %s %s, but %s is refunded by us, %s at the PSP and %s disputed, and no task says so',
                      s.captured, p.currency, s.refunds, s.at_psp, s.disputed)
        FROM payment p CROSS JOIN LATERAL (
            SELECT sum(captured_amount) AS captured, sum(psp_refund_amount) AS at_psp, sum(dispute_amount) AS disputed,
                   -- one that is asked for and not made may still be refused, just since the PSP made another
                   (SELECT coalesce(sum(amount), 0) FROM refund r
                    WHERE r.payment_id = p.id AND r.origin = 'request' AND r.status = '{RefundStatus.SUCCEEDED}')
                       AS refunds
            FROM payment_order WHERE payment_id = p.id
        ) s
        WHERE s.refunds + s.at_psp + s.disputed > s.captured
          AND NOT EXISTS (SELECT FROM operator_task k
                          WHERE k.payment_id = p.id AND k.kind IN ('refund_exceeds', 'dispute_exceeds'))
        UNION ALL
        SELECT r.tenant_id, r.id, format('%s of %s %s, but %s is booked', r.status, r.amount, r.currency, booked.amount)
        FROM refund r
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(p.amount), 0) AS amount
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE split_part(t.source_id, ':', 1) = r.id AND t.kind IN ('suspense_refund', 'suspense_refund_reversal')
              AND p.account = 'suspense' AND p.currency = r.currency
        ) booked ON true
        WHERE r.origin IN ({UNDOING})
          AND booked.amount <> CASE WHEN r.status = 'SUCCEEDED' THEN r.amount ELSE 0 END
        UNION ALL
        SELECT r.tenant_id, r.id, format('%s of %s %s, but %s is booked', r.status, r.amount, r.currency, booked.amount)
        FROM refund r
        LEFT JOIN LATERAL (
            SELECT coalesce(-sum(p.amount), 0) AS amount
            FROM reserve v
            JOIN ledger_transaction t ON t.source_id = v.id AND t.kind IN ('refund', 'refund_reversal')
            JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE v.source_id = r.id AND p.account LIKE 'psp_clearing:%' AND p.currency = r.currency
        ) booked ON true
        WHERE r.origin NOT IN ({UNDOING})
          AND booked.amount <> CASE WHEN r.status = 'SUCCEEDED' THEN r.amount ELSE 0 END
        UNION ALL
        SELECT r.tenant_id, r.id, format('is in %s and the charge in %s', r.currency, c.received_currency)
        FROM refund r JOIN charge c ON c.id = r.charge_id WHERE r.currency IS DISTINCT FROM c.received_currency
        UNION ALL
        -- Its money is back with the PSP while our books say that the buyer has it.
        SELECT r.tenant_id, r.id, format('is SUCCEEDED, but the PSP said later that it failed (%s)', w.event_id)
        FROM refund r JOIN webhook_inbox w ON w.payment_id = r.payment_id AND w.reference = r.reference
        WHERE r.status = 'SUCCEEDED' AND w.refund_failed AND w.status <> 'RECEIVED'
          AND NOT EXISTS (SELECT FROM operator_task k
                          WHERE k.payment_id = r.payment_id AND k.opened_at >= w.received_at)
        """,
    ),
    Invariant(
        "P5",
        "an order shows what was refunded and disputed of it",
        "payment_order",
        f"""
        WITH sums AS (
            SELECT o.*,
                   coalesce(sum(v.amount) FILTER (WHERE v.status = 'TAKEN' AND v.origin <> 'dispute'), 0) AS taken,
                   coalesce(sum(v.amount) FILTER (WHERE v.status = 'HELD' AND v.origin <> 'dispute'), 0) AS held,
                   coalesce(sum(v.amount) FILTER (WHERE v.status <> 'RELEASED' AND v.origin = 'dispute'), 0) AS disputed
            FROM payment_order o LEFT JOIN ({RESERVED}) v ON v.order_id = o.id
            GROUP BY o.id
        ), rows AS (
            SELECT sums.*, {REFUND_STATUS} AS refunds_say, CASE WHEN captured_amount > 0 THEN (
                SELECT x.to_status FROM dispute d JOIN dispute_transition x ON x.dispute_id = d.id
                WHERE d.payment_id = sums.payment_id AND x.from_status IS NOT NULL ORDER BY x.seq DESC LIMIT 1
            ) END AS disputes_say
            FROM sums
        )
        SELECT tenant_id, id AS object_id,
               format('shows refund_status %s; of %s, %s was refunded and %s is under way',
                      coalesce(refund_status, 'null'), captured_amount, taken, held) AS problem
        FROM rows WHERE refund_status IS DISTINCT FROM refunds_say
        UNION ALL
        SELECT tenant_id, id,
               format('shows dispute_status %s, and the latest dispute came to %s', coalesce(dispute_status, 'null'),
                      coalesce(disputes_say, 'nothing'))
        FROM rows WHERE dispute_status IS DISTINCT FROM disputes_say
        UNION ALL
        SELECT tenant_id, id,
               format('notes %s as disputed, and its shares of disputes sum to %s', dispute_amount, disputed)
        FROM rows WHERE dispute_amount <> disputed
        """,
    ),
    Invariant(
        "P6",
        "what is set aside follows its refund or dispute, and is posted",
        "reserve",
        f"""
        WITH rows AS (SELECT v.*, {_RESERVE_STATUS} AS due FROM ({RESERVED}) v),
        posted AS ({RESERVES_POSTED})
        SELECT tenant_id, id AS object_id, format('is for %s, which does not exist', source_id) AS problem
        FROM rows WHERE origin IS NULL
        UNION ALL
        SELECT tenant_id, id, format('is %s, and %s %s is %s, so it should be %s', status, origin, source_id,
                                     source_status, due)
        FROM rows WHERE origin IS NOT NULL AND status <> due
        UNION ALL
        SELECT v.tenant_id, v.id, format('is of order %s, seller %s, in %s: not of %s', v.order_id, v.seller_account,
                                         v.currency, v.source_id)
        FROM rows v LEFT JOIN payment_order o ON (o.id, o.payment_id, o.seller_account, o.currency, o.tenant_id)
                                               = (v.order_id, v.payment_id, v.seller_account, v.currency, v.tenant_id)
        WHERE o.id IS NULL OR v.source_payment_id <> v.payment_id OR v.source_currency <> v.currency
        UNION ALL
        SELECT tenant_id, id, format('covers %s %s of %s, with a platform fee of %s', covered, currency, amount,
                                     platform_fee)
        FROM rows WHERE CASE WHEN origin = 'dispute' THEN covered > amount + psp_fee
                             ELSE covered + platform_fee <> amount END
        UNION ALL
        SELECT v.tenant_id, v.id,
               format('has %s from pending, %s from available, %s on credit; posted are %s, %s, %s, together %s',
                      v.pending, v.available, v.receivable, coalesce(p.pending, 0), coalesce(p.available, 0),
                      coalesce(p.receivable, 0), coalesce(p.set_aside, 0))
        FROM rows v LEFT JOIN posted p USING (id)
        WHERE (v.pending, v.available, v.receivable, v.covered)
           <> (coalesce(p.pending, 0), coalesce(p.available, 0), coalesce(p.receivable, 0), coalesce(p.set_aside, 0))
        UNION ALL
        SELECT v.tenant_id, v.id, format('is %s with %s %s, and %s is in reserved', v.status, v.covered, v.currency,
                                         coalesce(p.reserved, 0))
        FROM rows v LEFT JOIN posted p USING (id)
        WHERE coalesce(p.reserved, 0) <> CASE WHEN v.status = 'HELD' THEN v.covered ELSE 0 END
        UNION ALL
        SELECT v.tenant_id, v.id, format('is %s, and %s of the platform fee %s %s was returned', v.status,
                                         coalesce(p.fee_returned, 0), v.platform_fee, v.currency)
        FROM rows v LEFT JOIN posted p USING (id)
        WHERE coalesce(p.fee_returned, 0) <> CASE WHEN v.status = 'TAKEN' THEN v.platform_fee ELSE 0 END
        UNION ALL
        SELECT v.tenant_id, v.id, format('is posted to the wallet of another seller than %s', v.seller_account)
        FROM rows v JOIN posted p USING (id) WHERE p.foreign_lines > 0
        UNION ALL
        SELECT o.tenant_id, o.id, format('took a platform fee of %s %s and returns %s', o.captured_fee, o.currency,
                                         sum(v.platform_fee))
        FROM payment_order o JOIN reserve v ON v.order_id = o.id AND v.status <> 'RELEASED'
        GROUP BY o.id HAVING sum(v.platform_fee) > o.captured_fee
        UNION ALL
        SELECT r.tenant_id, r.id, format('is %s with %s %s, and %s is set aside', r.status, r.amount, r.currency,
                                         coalesce(sum(v.amount), 0))
        FROM refund r LEFT JOIN reserve v ON v.source_id = r.id
        WHERE r.origin NOT IN ({UNDOING})
        GROUP BY r.id
        -- one that the PSP made has its shares from the moment on that the PSP said what it is
        HAVING CASE WHEN count(v.id) = 0 THEN r.origin = 'request' OR r.status IN ('PENDING', 'SUCCEEDED')
                    ELSE sum(v.amount) <> r.amount END
        UNION ALL
        SELECT d.tenant_id, d.id, format('is %s with %s %s, and %s is set aside', d.status, d.amount, d.currency,
                                         coalesce(sum(v.amount), 0))
        FROM dispute d LEFT JOIN reserve v ON v.source_id = d.id
        GROUP BY d.id
        HAVING CASE WHEN count(v.id) > 0 THEN sum(v.amount) <> d.amount
                    ELSE d.status IN ({sql_list(sorted(DISPUTE_HOLDS))}) AND EXISTS (
                        SELECT FROM payment_order o WHERE o.payment_id = d.payment_id AND o.captured_amount > 0
                                                      AND o.currency = d.currency) END
        UNION ALL
        SELECT t.tenant_id, t.id, format('%s is booked for %s, for which nothing is set aside', t.kind, t.source_id)
        FROM ledger_transaction t
        WHERE t.kind IN ('refund_reserve', 'refund_release', 'refund', 'refund_reversal', 'dispute_reserve',
                         'dispute_release')
          AND NOT EXISTS (SELECT FROM reserve v WHERE v.id = t.source_id)
        """,
    ),
)
