"""Payments: how one moves on, and what is shown of it."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from collections.abc import Sequence
from functools import cmp_to_key

from db.audit.invariant import (
    DEADLINE_GRACE,
    ENDED,
    EVENTS_SINCE,
    MONEY,
    OWED,
    REFUND_LOOK_MAX,
    STEP_MAX,
    UNDOING,
    UNPAID,
    WEBHOOK_AFTERMATH_MAX,
    WEBHOOK_MAX,
    Invariant,
    attended,
    sql_list,
    sql_pairs,
)
from db.audit.payouts import PAYOUTS_STUCK
from domain.status import (
    DISPUTE_ENDED,
    DISPUTE_STEPS,
    ORDER_STEPS,
    PAYOUT_STEPS,
    REFUND_TRANSITIONS,
    RefundStatus,
    Status,
    Step,
    combined,
)


def _followed(history: str, key: str, table: str, steps: Sequence[Step]) -> str:
    """A query: each step of `history` begins where the one before came to, is allowed, and the last is the row's."""
    first = sql_list(sorted({step.new for step in steps if not step.old}))
    allowed = sql_pairs({(old, step.new) for step in steps for old in step.old})
    return f"""
        SELECT tenant_id, object_id, problem FROM (
            WITH chain AS (
                SELECT x.*, lag(to_status) OVER (PARTITION BY {key} ORDER BY seq) AS before,
                       lead(seq) OVER (PARTITION BY {key} ORDER BY seq) IS NULL AS is_last
                FROM {history} x
            )
            SELECT tenant_id, {key} AS object_id,
                   format('step %s leaves %s, but the one before had come to %s', seq, from_status, before) AS problem
            FROM chain WHERE from_status IS DISTINCT FROM before
            UNION ALL
            SELECT tenant_id, {key},
                   format('step %s goes from %s to %s, which is not allowed', seq, from_status, to_status)
            FROM chain
            WHERE CASE WHEN from_status IS NULL THEN to_status NOT IN ({first})
                       ELSE (from_status, to_status) NOT IN ({allowed}) END
            UNION ALL
            SELECT o.tenant_id, o.id,
                   format('is %s, and its last step came to %s', o.status, coalesce(c.to_status, 'nothing'))
            FROM {table} o LEFT JOIN chain c ON c.{key} = o.id AND c.is_last
            WHERE o.status IS DISTINCT FROM c.to_status
        ) AS of_{table}
    """


def _ranks() -> str:
    """`domain.status.combined` as a table: of a payment's orders the one with the lowest rank gives the status."""

    def precedence(one: Status, other: Status) -> int:
        return -1 if combined([one, other]) is one else 1

    ranked = sorted(Status, key=cmp_to_key(precedence))
    return ", ".join(f"('{status}', {rank})" for rank, status in enumerate(ranked))


_AGAIN = RefundStatus.REQUESTED.value
_REFUND_TOLD = REFUND_TRANSITIONS | {
    (old, new)
    for old, again in REFUND_TRANSITIONS
    for requested, new in REFUND_TRANSITIONS
    if again == requested == _AGAIN
}
"""Which event of a refund may follow which: the steps, also across a new attempt, which earlier releases did not
tell of."""


_LIFE = (
    Invariant(
        "I8",
        "nothing is stuck without a task for a person",
        "payment",
        f"""
        SELECT tenant_id, id AS object_id, format('%s, past its deadline of %s', status, deadline_at) AS problem
        FROM payment p
        WHERE status NOT IN ({ENDED}) AND deadline_at < now() - {DEADLINE_GRACE} AND NOT {attended("p.id")}
        UNION ALL
        SELECT tenant_id, id, format('%s, and should have been looked at by %s', status, next_check_at)
        FROM payment p
        WHERE status NOT IN ({ENDED}) AND next_check_at < now() - {STEP_MAX} AND NOT {attended("p.id")}
        UNION ALL
        SELECT tenant_id, id, format('EXECUTING since %s', updated_at)
        FROM payment p
        WHERE status = '{Status.EXECUTING}' AND updated_at < now() - {STEP_MAX} AND NOT {attended("p.id")}
        UNION ALL
        SELECT tenant_id, id, format('NEEDS_ATTENTION since %s, and no task is open', updated_at)
        FROM payment p WHERE status = '{Status.NEEDS_ATTENTION}' AND NOT {attended("p.id")}
        UNION ALL
        SELECT tenant_id, id, format('AUTHORIZED, and its capture was requested at %s', capture_requested_at)
        FROM payment p
        WHERE status = '{Status.AUTHORIZED}' AND capture_requested_at < now() - {STEP_MAX}
          AND NOT {attended("p.id")}
        UNION ALL
        SELECT p.tenant_id, p.id,
               CASE WHEN waiting THEN 'IN_REVIEW, and no person is asked'
                    ELSE format('IN_REVIEW, and nobody has acted on the decision of %s', decided_at) END
        FROM payment p CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(review IS NULL), true) AS waiting, max(reviewed_at) AS decided_at
            FROM risk_decision WHERE payment_id = p.id AND verdict = 'review'
        ) x
        WHERE p.status = '{Status.IN_REVIEW}' AND NOT {attended("p.id")}
          AND CASE WHEN waiting THEN NOT EXISTS (SELECT FROM operator_task k WHERE k.payment_id = p.id
                                                 AND k.kind = 'review' AND k.closed_at IS NULL)
                   ELSE decided_at < now() - {STEP_MAX} END
        UNION ALL
        -- An unanswered request is noted at each try: its age is that of the refund.
        SELECT tenant_id, payment_id, format('refund %s is %s since %s', id, status, updated_at)
        FROM refund r
        WHERE NOT {attended("r.payment_id")}
          AND (status = 'NEEDS_ATTENTION' OR (status = 'FAILED' AND origin IN ({UNDOING}))
               OR (status = 'REQUESTED' AND created_at < now() - {STEP_MAX})
               OR (status = 'PENDING' AND updated_at < now() - {REFUND_LOOK_MAX}))
        UNION ALL
        SELECT tenant_id, payment_id,
               format('dispute %s is %s, and should have been looked at by %s', id, status, next_check_at)
        FROM dispute d
        WHERE status NOT IN ({sql_list(sorted(DISPUTE_ENDED))}) AND NOT {attended("d.payment_id")}
          AND coalesce(next_check_at, updated_at) < now() - {STEP_MAX}
        UNION ALL
        {PAYOUTS_STUCK}
        """,
    ),
    Invariant(
        "I9",
        "an unpaid order nets to zero, but for the PSP's fee",
        "payment_order",
        f"""
        SELECT o.tenant_id, o.id AS object_id,
               format('%s, and %s is left with %s %s', o.status, p.account, sum(p.amount), p.currency) AS problem
        FROM payment_order o JOIN ledger_transaction t ON t.order_id = o.id
        JOIN ledger_posting p ON p.transaction_id = t.id
        WHERE o.status IN ({UNPAID})
          -- a refund that came back, or is being made: its money is looked at per payment below
          AND NOT EXISTS (SELECT FROM refund r WHERE r.order_id = o.id AND r.status <> 'SUCCEEDED')
        GROUP BY o.id, p.account, p.currency HAVING sum(p.amount) <> 0
        UNION ALL
        SELECT y.tenant_id, y.id, format('%s, and suspense holds %s %s', y.status, m.held, m.currency)
        FROM payment y JOIN ({MONEY}) m ON m.payment_id = y.id
        LEFT JOIN ({OWED}) w ON w.payment_id = y.id AND w.currency = m.currency
        WHERE y.status IN ({ENDED}) AND m.held <> coalesce(w.amount, 0)
        UNION ALL
        SELECT s.tenant_id, s.id, format('%s, and %s is left with %s %s', s.status, s.account, s.total, s.currency)
        FROM (
            SELECT y.tenant_id, y.id, y.status, p.account, p.currency, sum(p.amount) AS total,
                   -- of this sum, what the PSP keeps, and what a late charge's refund is about to take away
                   coalesce(sum(p.amount) FILTER (WHERE t.kind = 'psp_fee'), 0)
                 + CASE WHEN p.account LIKE 'psp_clearing:%' THEN coalesce(max(w.amount), 0)
                        WHEN p.account = 'suspense' THEN -coalesce(max(w.amount), 0) ELSE 0 END AS expected
            FROM payment y JOIN ledger_transaction t ON t.payment_id = y.id
            JOIN ledger_posting p ON p.transaction_id = t.id
            LEFT JOIN ({OWED}) w ON w.payment_id = y.id AND w.currency = p.currency
            -- what a bank takes back of it is looked at with the disputes
            WHERE y.status IN ({UNPAID}) AND t.kind NOT LIKE 'dispute\\_%'
            GROUP BY y.id, p.account, p.currency
        ) s WHERE s.total <> s.expected
        UNION ALL
        SELECT c.tenant_id, c.payment_id,
               format('the PSP kept %s %s and %s is booked', c.fee->>'amount', c.fee->>'currency', f.amount)
        FROM charge c CROSS JOIN LATERAL (
            SELECT coalesce(sum(p.amount), 0) AS amount FROM ledger_transaction t
            JOIN ledger_posting p ON p.transaction_id = t.id AND p.account = 'psp_fees'
            WHERE t.kind = 'psp_fee' AND t.source_id = c.psp || ':' || (c.fee->>'reference')
              AND p.currency = c.fee->>'currency'
        ) f
        WHERE c.booked AND c.fee IS NOT NULL AND f.amount <> (c.fee->>'amount')::bigint
        """,
    ),
    Invariant(
        "I14",
        "each status follows from the one before, the last is shown",
        "payment_order_transition",
        f"""
        {_followed("payment_order_transition", "order_id", "payment_order", ORDER_STEPS)}
        UNION ALL
        {_followed("dispute_transition", "dispute_id", "dispute", DISPUTE_STEPS)}
        UNION ALL
        {_followed("payout_transition", "payout_id", "payout", PAYOUT_STEPS)}
        UNION ALL
        SELECT p.tenant_id, p.id, format('is %s, and its orders amount to %s', p.status, coalesce(x.status, 'nothing'))
        FROM payment p LEFT JOIN LATERAL (
            SELECT o.status FROM payment_order o JOIN (VALUES {_ranks()}) AS ranks(status, rank) USING (status)
            WHERE o.payment_id = p.id ORDER BY rank LIMIT 1
        ) x ON true
        WHERE p.status IS DISTINCT FROM x.status
        UNION ALL
        SELECT * FROM (
            -- A refund's steps are told by its events. Earlier releases told neither of a new attempt nor of the
            -- beginning of one that undoes a charge or was made at the PSP.
            WITH told AS (
                SELECT tenant_id, object_id AS id, upper(substr(type, 8)) AS status,
                       lag(upper(substr(type, 8))) OVER (PARTITION BY object_id ORDER BY seq) AS before,
                       lead(seq) OVER (PARTITION BY object_id ORDER BY seq) IS NULL AS is_last
                FROM outbox WHERE type LIKE 'refund.%'
            )
            SELECT t.tenant_id, t.id, format('goes from %s to %s, which is not allowed', t.before, t.status)
            FROM told t JOIN refund r ON r.id = t.id
            WHERE t.before IS NOT NULL
              AND ((t.before, t.status) NOT IN ({sql_pairs(_REFUND_TOLD)})
                   OR (t.before = 'FAILED' AND r.origin NOT IN ({UNDOING})))
            UNION ALL
            SELECT r.tenant_id, r.id,
                   format('is %s, and its last event says %s', r.status, coalesce(t.status, 'nothing'))
            FROM refund r LEFT JOIN told t ON t.id = r.id AND t.is_last
            WHERE r.created_at >= {EVENTS_SINCE}
              AND r.status IS DISTINCT FROM t.status AND (r.status <> 'REQUESTED' OR r.origin = 'request')
              AND (t.status IS NOT NULL OR r.origin NOT IN ({UNDOING}))
              AND NOT (r.status = 'REQUESTED' AND r.attempt > 1)
        ) AS refunds
        """,
    ),
    Invariant(
        "I16",
        "every webhook is processed in time, and once",
        "webhook_inbox",
        f"""
        SELECT tenant_id, id AS object_id, format('%s %s waits since %s', type, event_id, received_at) AS problem
        FROM webhook_inbox WHERE status = 'RECEIVED' AND received_at < now() - CASE kind WHEN 'charge' THEN
              {WEBHOOK_MAX} ELSE {WEBHOOK_AFTERMATH_MAX} END
        UNION ALL
        SELECT tenant_id, id, format('%s %s was given up, and is no dead letter', type, event_id)
        FROM webhook_inbox w
        WHERE status = 'DEAD'
          AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.source = 'webhooks' AND d.ref_id = w.id
                          AND d.status IN ('OPEN', 'DISCARDED'))
        UNION ALL
        SELECT min(tenant_id), string_agg(id, ', ' ORDER BY id),
               format('%s %s is stored %s times', psp, event_id, count(*))
        FROM webhook_inbox GROUP BY psp, event_id HAVING count(*) > 1
        """,
    ),
)

# --- what is shown to the outside ---

_SHOWN = (
    Invariant(
        "P1",
        "wallet and ledger flags say what the status says",
        "payment_order",
        f"""
        SELECT tenant_id, id AS object_id,
               format('%s with wallet_updated %s and ledger_updated %s', status, wallet_updated, ledger_updated)
                   AS problem
        FROM payment_order
        WHERE wallet_updated <> ledger_updated OR (status = '{Status.SUCCESS}' AND NOT wallet_updated)
           OR (status IN ({UNPAID}) AND wallet_updated)
        """,
    ),
    Invariant(
        "P2",
        "a payment is done when all of its orders are paid",
        "payment",
        f"""
        SELECT p.tenant_id, p.id AS object_id,
               format('is_payment_done is %s, and %s of %s orders are paid', p.is_payment_done,
                      count(o.id) FILTER (WHERE o.status = '{Status.SUCCESS}'), count(o.id)) AS problem
        FROM payment p LEFT JOIN payment_order o ON o.payment_id = p.id
        GROUP BY p.id HAVING p.is_payment_done IS DISTINCT FROM coalesce(bool_and(o.status = '{Status.SUCCESS}'), false)
        """,
    ),
    Invariant(
        "P3",
        "each step of an order, dispute or payout has its event",
        "outbox",
        f"""
        WITH steps AS (
            SELECT tenant_id, order_id AS id,
                   'payment_order.' || CASE WHEN from_status IS NULL THEN 'created' ELSE lower(to_status) END AS type,
                   count(*) AS n, min(at) AS at
            FROM payment_order_transition GROUP BY 1, 2, 3
            UNION ALL
            SELECT tenant_id, dispute_id, 'dispute.' || lower(to_status), count(*), min(at)
            FROM dispute_transition GROUP BY 1, 2, 3
            UNION ALL
            SELECT tenant_id, payout_id, 'payout.' || lower(to_status), count(*), min(at)
            FROM payout_transition GROUP BY 1, 2, 3
        ), events AS (
            SELECT tenant_id, object_id AS id, type, count(*) AS n FROM outbox
            WHERE type LIKE 'payment\\_order.%' OR type LIKE 'dispute.%' OR type LIKE 'payout.%' GROUP BY 1, 2, 3
        )
        SELECT tenant_id, id AS object_id,
               format('%s step(s) and %s event(s) %s', coalesce(steps.n, 0), coalesce(events.n, 0), type) AS problem
        FROM steps FULL JOIN events USING (tenant_id, id, type)
        WHERE coalesce(steps.n, 0) <> coalesce(events.n, 0)
          AND id NOT IN (SELECT id FROM steps WHERE at < {EVENTS_SINCE})
        """,
    ),
)

PAYMENTS = (*_LIFE, *_SHOWN)
