-- An event about a charge of ours that nobody has to be told of now: its payment has ended, or its next step reads the
-- inbox, or it says what the payment waits with.
--
-- Nothing is written of one that cannot matter: it tells of no money, and its payment has ended unpaid, which is for ever.
--
-- Guard: the payment is under way and not at rest, or about to be captured, or it has ended with this charge as the event
-- says, or it is authorised and so says the event. It is locked: one that is being written to is waited for and seen as it
-- is afterwards. Its charge is seen as it was before the wait, which can break the guard and never fulfil it: what is
-- booked, or has its name at the PSP, stays so, and what is authorised is until its payment moves on.
WITH needless AS (
    SELECT FROM charge c JOIN payment p ON p.id = c.payment_id
    WHERE NOT :paid::boolean AND c.id = :charge_id AND (c.psp = :psp) IS TRUE AND c.reference = :reference
      AND p.status IN ('FAILED', 'CANCELLED')
      AND NOT EXISTS (SELECT FROM charge later WHERE later.payment_id = p.id AND later.attempt > c.attempt)
), owner AS (
    SELECT p.id, p.tenant_id, p.status = 'AUTHORIZED' AS is_held,
        p.status = 'EXECUTING' OR (p.status = 'AUTHORIZED' AND p.capture_requested_at IS NOT NULL
                                   AND p.cancel_requested_at IS NULL) AS is_under_way
    FROM payment p
    WHERE p.id = (SELECT c.payment_id FROM charge c WHERE c.id = :charge_id)
      AND p.status IN ('EXECUTING', 'AUTHORIZED', 'SUCCESS', 'FAILED', 'CANCELLED')
      AND NOT EXISTS (SELECT FROM needless)
    FOR NO KEY UPDATE
), seen AS (
    SELECT o.id, o.tenant_id,
        CASE WHEN o.is_held AND :authorized::boolean AND c.outcome = 'AUTHORIZED' AND c.reference = :reference THEN :held
             WHEN o.is_under_way THEN ''
             WHEN NOT o.is_held AND c.reference IS NOT NULL
                 AND (NOT :paid::boolean OR (c.booked AND c.reference = :reference)) THEN :ended
        END AS note
    FROM owner o
    JOIN charge c ON c.id = :charge_id AND (c.psp = :psp) IS TRUE  -- so written, no index on it can be chosen
    WHERE NOT EXISTS (SELECT FROM charge later WHERE later.payment_id = o.id AND later.attempt > c.attempt)
), known AS (
    SELECT s.id, s.tenant_id, nullif(s.note, '') AS note, s.note = '' AS is_read_later FROM seen s WHERE s.note IS NOT NULL
), stored AS (
    INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, kind, reference, payment_id, charge_id, paid,
        status, note, processed_at)
    SELECT :id, k.tenant_id, :psp, :event_id, :type, :payload::jsonb, :kind, :reference, k.id, :charge_id, :paid::boolean,
        CASE WHEN k.is_read_later THEN 'RECEIVED' ELSE 'PROCESSED' END, k.note,
        CASE WHEN NOT k.is_read_later THEN now() END
    FROM known k
    ON CONFLICT (psp, event_id) DO NOTHING
    RETURNING payment_id, status
), named AS (
    -- From now on the charge is asked for by the PSP's name of it.
    UPDATE charge SET reference = :reference
    FROM stored WHERE charge.id = :charge_id AND charge.reference IS NULL
), noted AS (
    -- Unchanged: as lifecycle.noted does.
    UPDATE payment SET version = payment.version
    FROM stored WHERE payment.id = stored.payment_id AND stored.status = 'RECEIVED'
)
SELECT coalesce((SELECT status FROM stored), 'DUPLICATE') AS outcome FROM known
UNION ALL
SELECT 'NEEDLESS' FROM needless
