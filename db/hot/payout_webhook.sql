-- An event about a payout of ours that has not failed: kept, with the bank's reference if it tells it. A payout on its way
-- has to be told of it; one that is being sent reads it with its next step; one that is paid does not need it.
--
-- Guard: it is one of these.
WITH owner AS (
    SELECT p.* FROM payout p
    WHERE p.id = :payout_id AND p.psp = :psp AND p.status IN ('REQUESTED', 'TRANSFERRED', 'IN_TRANSIT', 'PAID')
    FOR NO KEY UPDATE
), traced AS (
    INSERT INTO payout_trace (psp, reference, trace_id)
    SELECT :psp, :reference, :trace_id FROM owner
    WHERE :reference::text IS NOT NULL AND :trace_id::text IS NOT NULL
    ON CONFLICT DO NOTHING
), stored AS (
    INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, kind, reference, payout_id, status, note,
        processed_at)
    SELECT :id, tenant_id, :psp, :event_id, :type, :payload::jsonb, :kind, :reference, id,
        CASE WHEN status = 'PAID' THEN 'PROCESSED' ELSE 'RECEIVED' END,
        CASE WHEN status = 'PAID' THEN :note END,
        CASE WHEN status = 'PAID' THEN now() END
    FROM owner
    ON CONFLICT (psp, event_id) DO NOTHING
    RETURNING status
)
SELECT owner.*, coalesce((SELECT status FROM stored), 'DUPLICATE') AS outcome FROM owner
