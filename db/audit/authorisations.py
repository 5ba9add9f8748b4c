"""Risk and authorisations: what is judged is charged once let through, and captured only then."""

# ruff: noqa: S608 - what is put into the queries are constants of the code

from db.audit.invariant import Invariant
from domain.status import Status

AUTHORISATIONS = (
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
        WHERE o.capture_amount IS NOT NULL AND p.accepted_at IS NULL
          AND (p.capture_requested_at IS NULL OR NOT p.capture_by_request)
        UNION ALL
        SELECT p.tenant_id, p.id, format('another amount was accepted by %s, and it is %s', coalesce(p.accepted_by,
                                         'nobody'), p.status)
        FROM payment p
        WHERE (p.accepted_at IS NULL) <> (p.accepted_by IS NULL)
           OR (p.accepted_at IS NOT NULL AND p.status <> 'SUCCESS')
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
