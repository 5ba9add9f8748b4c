-- An event about a refund of a settled order that nobody has to be told of now: the refund is done, or the PSP is being
-- asked for it.
--
-- Guard: the refund is known to be the event's, by our id and, once it is done, by the PSP's name of it. It and its payment
-- are locked: a refund that is being written to is waited for and seen as it is afterwards.
WITH owner AS (
    SELECT p.id, p.tenant_id FROM payment p
    WHERE p.id = (SELECT r.payment_id FROM refund r WHERE r.id = :refund_id)
    FOR NO KEY UPDATE
), known AS (
    SELECT o.id, o.tenant_id, r.charge_id, r.status = 'SUCCEEDED' AS is_done
    FROM owner o
    JOIN refund r ON r.payment_id = o.id
    JOIN charge c ON c.id = r.charge_id AND (c.psp = :psp) IS TRUE  -- as in webhook.sql
    WHERE r.id = :refund_id AND r.origin = 'request'
      AND (r.reference = :reference AND r.status = 'SUCCEEDED'
           OR r.reference IS NULL AND r.status = 'REQUESTED'
              AND NOT EXISTS (SELECT FROM refund other WHERE other.payment_id = o.id AND other.reference = :reference))
    FOR NO KEY UPDATE OF r
), stored AS (
    INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, kind, reference, amount, currency, payment_id,
        charge_id, refund_id, charge_reference, status, note, processed_at)
    SELECT :id, k.tenant_id, :psp, :event_id, :type, :payload::jsonb, :kind, :reference, :amount::bigint, :currency, k.id,
        k.charge_id, :refund_id, :charge_reference,
        CASE WHEN k.is_done THEN 'PROCESSED' ELSE 'RECEIVED' END,
        CASE WHEN k.is_done THEN :note END,
        CASE WHEN k.is_done THEN now() END
    FROM known k
    ON CONFLICT (psp, event_id) DO NOTHING
    RETURNING status
)
SELECT coalesce((SELECT status FROM stored), 'DUPLICATE') AS outcome FROM known
