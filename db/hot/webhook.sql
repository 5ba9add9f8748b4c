-- An event about a charge of ours that nobody has to be told of now: its payment has ended, or its next step reads the
-- inbox.
--
-- Guard: the payment is under way and not at rest, or it has ended with this charge as the event says. It is locked: one
-- that is being written to is waited for and seen as it is afterwards. Its charge is seen as it was before the wait, which
-- can break the guard and never fulfil it: what is booked, or has its name at the PSP, stays so.
WITH owner AS (
    SELECT p.id, p.tenant_id, p.status = 'EXECUTING' AS is_under_way
    FROM payment p
    WHERE p.id = (SELECT c.payment_id FROM charge c WHERE c.id = :charge_id)
      AND p.status IN ('EXECUTING', 'SUCCESS', 'FAILED', 'CANCELLED')
    FOR NO KEY UPDATE
), known AS (
    SELECT o.id, o.tenant_id, o.is_under_way
    FROM owner o
    JOIN charge c ON c.id = :charge_id AND (c.psp = :psp) IS TRUE  -- so written, no index on it can be chosen
    WHERE (o.is_under_way
           OR (c.reference IS NOT NULL AND (NOT :paid::boolean OR (c.booked AND c.reference = :reference))))
      AND NOT EXISTS (SELECT FROM charge later WHERE later.payment_id = o.id AND later.attempt > c.attempt)
), stored AS (
    INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, kind, reference, payment_id, charge_id, paid,
        status, note, processed_at)
    SELECT :id, k.tenant_id, :psp, :event_id, :type, :payload::jsonb, :kind, :reference, k.id, :charge_id, :paid::boolean,
        CASE WHEN k.is_under_way THEN 'RECEIVED' ELSE 'PROCESSED' END,
        CASE WHEN NOT k.is_under_way THEN :note END,
        CASE WHEN NOT k.is_under_way THEN now() END
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
