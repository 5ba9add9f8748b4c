"""What can happen to a payment besides its charge: refunds, disputes, what is set aside for them, risk and captures."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from db.audit.invariant import REFUND_STATUS, RESERVED, UNDOING, VERDICT_GRACE, Invariant, words
from domain.status import DISPUTE_ENDED, DISPUTE_HOLDS, DisputeStatus, RefundStatus, Status

_ENDED_DISPUTES = words(sorted(DISPUTE_ENDED))

# The status that a reserve has while its refund or dispute has this one.
_RESERVE_STATUS = f"""
    CASE WHEN origin = 'dispute' THEN
             CASE WHEN source_status = '{DisputeStatus.LOST}' THEN 'TAKEN'
                  WHEN source_status IN ('{DisputeStatus.WON}', '{DisputeStatus.CLOSED}') THEN 'RELEASED'
                  WHEN source_status IN ({words(sorted(DISPUTE_HOLDS))}) THEN 'HELD' ELSE 'nothing' END
         WHEN origin IN ({UNDOING}) THEN 'nothing'
         WHEN source_status = '{RefundStatus.SUCCEEDED}' THEN 'TAKEN'
         WHEN source_status = '{RefundStatus.FAILED}' THEN 'RELEASED' ELSE 'HELD' END
"""

# What is posted for each reserve, by what it does. `set_aside` is the first posting alone, `reserved` all of them.
_POSTED = """
    SELECT v.id,
           coalesce(-sum(p.amount) FILTER (WHERE first AND bucket = 'reserved'), 0) AS set_aside,
           coalesce(sum(p.amount) FILTER (WHERE first AND bucket = 'pending'), 0) AS pending,
           coalesce(sum(p.amount) FILTER (WHERE first AND bucket = 'available'), 0) AS available,
           coalesce(sum(p.amount) FILTER (WHERE first AND p.account LIKE 'receivable:%'), 0) AS receivable,
           coalesce(-sum(p.amount) FILTER (WHERE bucket = 'reserved'), 0) AS reserved,
           coalesce(-sum(p.amount) FILTER (WHERE p.account LIKE 'psp_clearing:%'), 0) AS refunded,
           coalesce(sum(p.amount) FILTER (WHERE p.account = 'platform_fees'), 0) AS fee_returned,
           coalesce(-sum(p.amount) FILTER (WHERE p.account = 'disputes_held'), 0) AS lost,
           coalesce(-sum(p.amount) FILTER (WHERE p.account = 'psp_fees'), 0) AS fee_borne,
           count(*) FILTER (WHERE p.account LIKE '%:%' AND p.account NOT LIKE 'psp_clearing:%'
                                  AND split_part(p.account, ':', 2) <> v.seller_account) AS foreign_lines
    FROM reserve v
    JOIN ledger_transaction t ON t.source_id = v.id AND t.kind IN ('refund_reserve', 'refund_release', 'refund',
         'refund_reversal', 'dispute_reserve', 'dispute_release', 'dispute_loss', 'dispute_loss_reversal')
    JOIN ledger_posting p ON p.transaction_id = t.id AND p.currency = v.currency
    CROSS JOIN LATERAL (SELECT t.kind IN ('refund_reserve', 'dispute_reserve') AS first,
                               split_part(p.account, ':', 3) AS bucket) x
    GROUP BY v.id
"""

_REFUNDS = (
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
            SELECT sum(captured_amount) AS captured, sum(refund_amount) AS refunds, sum(psp_refund_amount) AS at_psp,
                   sum(dispute_amount) AS disputed
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
        posted AS ({_POSTED})
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
                    ELSE d.status IN ({words(sorted(DISPUTE_HOLDS))}) AND EXISTS (
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

_DISPUTES = (
    Invariant(
        "P7",
        "what is withdrawn is claimed back while disputed, and not after",
        "dispute",
        f"""
        WITH claimed AS (
            SELECT t.tenant_id, t.payment_id, p.currency, sum(p.amount) AS amount
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE p.account = 'disputes_held' GROUP BY 1, 2, 3
        ), disputed AS (
            SELECT tenant_id, payment_id, currency,
                   coalesce(sum(amount) FILTER (WHERE withdrawn AND status NOT IN ({_ENDED_DISPUTES})), 0) AS amount,
                   bool_or(status IN ({_ENDED_DISPUTES}) AND closed_at > now() - {VERDICT_GRACE}) AS just_decided
            FROM dispute GROUP BY 1, 2, 3
        )
        SELECT tenant_id, payment_id AS object_id,
               format('disputes_held has %s %s of it, and %s is withdrawn and not decided', coalesce(c.amount, 0),
                      currency, coalesce(d.amount, 0)) AS problem
        FROM claimed c FULL JOIN disputed d USING (tenant_id, payment_id, currency)
        WHERE coalesce(c.amount, 0) <> coalesce(d.amount, 0) AND d.just_decided IS NOT TRUE
        UNION ALL
        SELECT v.tenant_id, v.source_id, format('%s, and order %s bears %s of %s %s', v.source_status, v.order_id,
                                                coalesce(p.lost, 0), v.amount, v.currency)
        FROM ({RESERVED}) v LEFT JOIN ({_POSTED}) p USING (id)
        WHERE v.origin = 'dispute' AND coalesce(p.lost, 0) <> CASE WHEN v.status = 'TAKEN' THEN v.amount ELSE 0 END
        UNION ALL
        -- Ours is only what no order bears.
        SELECT d.tenant_id, d.id, format('%s, and we bear %s of %s %s', d.status, coalesce(ours.amount, 0), d.amount,
                                         d.currency)
        FROM dispute d
        LEFT JOIN LATERAL (SELECT sum(p.amount) AS amount FROM ledger_transaction t
                           JOIN ledger_posting p ON p.transaction_id = t.id
                           WHERE t.source_id = d.id AND t.kind IN ('dispute_loss', 'dispute_loss_reversal')
                             AND p.account = 'dispute_losses' AND p.currency = d.currency) ours ON true
        LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM reserve WHERE source_id = d.id) theirs ON true
        WHERE coalesce(ours.amount, 0) <> CASE WHEN d.status = '{DisputeStatus.LOST}'
                                               THEN d.amount - coalesce(theirs.amount, 0) ELSE 0 END
        """,
    ),
    Invariant(
        "P8",
        "each dispute's fee is booked, and borne at most once",
        "dispute",
        f"""
        WITH booked AS (
            SELECT t.tenant_id, t.payment_id, p.currency, sum(p.amount) AS fee
            FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
            WHERE t.kind = 'dispute_fee' AND p.account = 'psp_fees' GROUP BY 1, 2, 3
        ), noted AS (
            SELECT tenant_id, payment_id, currency, sum(fee) AS fee FROM dispute GROUP BY 1, 2, 3
        )
        SELECT tenant_id, payment_id AS object_id,
               format('the PSP kept %s %s for its disputes, and %s is booked', coalesce(n.fee, 0), currency,
                      coalesce(b.fee, 0)) AS problem
        FROM booked b FULL JOIN noted n USING (tenant_id, payment_id, currency)
        WHERE coalesce(b.fee, 0) <> coalesce(n.fee, 0)
        UNION ALL
        SELECT d.tenant_id, d.id, format('cost a fee of %s %s, and its sellers bear %s', d.fee, d.currency,
                                         sum(p.fee_borne))
        FROM dispute d JOIN reserve v ON v.source_id = d.id JOIN ({_POSTED}) p ON p.id = v.id
        GROUP BY d.id HAVING sum(p.fee_borne) > greatest(d.fee, 0) OR sum(p.fee_borne) < 0
        UNION ALL
        -- The PSP names each movement: the same one has the same source, whatever it is booked as.
        SELECT min(tenant_id), source_id,
               format('is booked %s times as a movement of money: %s', count(*), string_agg(kind, ', ' ORDER BY seq))
        FROM ledger_transaction WHERE kind IN ('dispute_withdrawn', 'dispute_reinstated', 'capture', 'psp_fee')
        GROUP BY source_id HAVING count(*) > 1
        UNION ALL
        SELECT t.tenant_id, t.id, format('%s of %s is no movement that the PSP named', t.kind, t.source_id)
        FROM ledger_transaction t LEFT JOIN payment p ON p.id = t.payment_id
        WHERE t.kind IN ('dispute_withdrawn', 'dispute_reinstated', 'dispute_fee')
          AND (t.source_id LIKE p.psp || ':_%') IS NOT TRUE
        """,
    ),
)

_GATES = (
    Invariant(
        "P9",
        "what is judged is charged once let through, and captured only then",
        "payment",
        f"""
        SELECT p.tenant_id, p.id AS object_id,
               format('the PSP was asked for %s, and the rules had not let it through: %s', c.id,
                      coalesce(d.verdict || coalesce(', ' || d.review, ''), 'not judged')) AS problem
        FROM payment p JOIN charge c ON c.payment_id = p.id
        LEFT JOIN risk_decision d ON d.payment_id = p.id AND d.stage = 'before_charge'
        WHERE p.risk_version IS NOT NULL
          AND (c.outcome IS NOT NULL OR c.reference IS NOT NULL OR c.unknown_count > 0 OR c.received_amount > 0)
          AND (d.verdict = 'allow' OR (d.verdict = 'review' AND d.review = 'approve')) IS NOT TRUE
        UNION ALL
        SELECT p.tenant_id, p.id,
               format('%s was captured, though the rules said %s %s', sum(o.captured_amount), d.verdict,
                      coalesce('and a person ' || d.review, '(' || d.stage || ')'))
        FROM payment p JOIN risk_decision d ON d.payment_id = p.id JOIN payment_order o ON o.payment_id = p.id
        WHERE d.verdict <> 'allow' AND d.review IS DISTINCT FROM 'approve'
        GROUP BY p.id, d.payment_id, d.stage HAVING sum(o.captured_amount) > 0
        UNION ALL
        SELECT d.tenant_id, d.payment_id, format('%s by rules %s, and the payment is to be judged by %s', d.verdict,
                                                 d.version, coalesce(p.risk_version::text, 'none'))
        FROM risk_decision d JOIN payment p ON p.id = d.payment_id
        WHERE d.version IS DISTINCT FROM p.risk_version OR d.tenant_id <> p.tenant_id
           OR NOT EXISTS (SELECT FROM risk_rule_set s WHERE (s.tenant_id, s.version) = (d.tenant_id, d.version))
        UNION ALL
        SELECT d.tenant_id, d.payment_id, format('%s was decided as %s by %s', d.verdict, d.review,
                                                 coalesce(d.reviewed_by, 'nobody'))
        FROM risk_decision d
        WHERE d.review IS NOT NULL
          AND (d.verdict <> 'review' OR coalesce(d.reviewed_by, '') = '' OR d.reviewed_at IS NULL)
        UNION ALL
        SELECT p.tenant_id, p.id, format('came to %s, and it has no rules', x.to_status)
        FROM payment_order_transition x JOIN payment p ON p.id = x.payment_id
        WHERE x.to_status = '{Status.IN_REVIEW}' AND p.risk_version IS NULL
        """,
    ),
    Invariant(
        "P10",
        "only what was to be authorised is, and is captured as requested",
        "payment",
        f"""
        SELECT DISTINCT p.tenant_id, p.id AS object_id,
               format('came to %s, and was to be charged at once', x.to_status) AS problem
        FROM payment_order_transition x JOIN payment p ON p.id = x.payment_id
        WHERE x.to_status = '{Status.AUTHORIZED}' AND NOT p.authorize_only
        UNION ALL
        SELECT o.tenant_id, o.id, format('%s of it is to be captured, and nobody has requested a capture',
                                         o.capture_amount)
        FROM payment_order o JOIN payment p ON p.id = o.payment_id
        WHERE o.capture_amount IS NOT NULL AND (p.capture_requested_at IS NULL OR NOT p.capture_by_request)
        UNION ALL
        SELECT tenant_id, id, format('a capture was requested by %s, and it was to be charged at once',
                                     coalesce(capture_requested_by, 'nobody'))
        FROM payment WHERE capture_requested_at IS NOT NULL AND (NOT authorize_only OR capture_requested_by IS NULL)
        UNION ALL
        SELECT tenant_id, id, 'waits for a request to capture, and was to be charged at once'
        FROM payment WHERE capture_by_request AND NOT authorize_only
        UNION ALL
        SELECT tenant_id, id, 'SUCCESS, and nothing of it was captured' FROM payment_order
        WHERE status = '{Status.SUCCESS}' AND captured_amount = 0
        """,
    ),
)

AFTERMATH = (*_REFUNDS, *_DISPUTES, *_GATES)
