-- An event that nothing follows from, except that it may tell the bank's reference of a payout.
--
-- Guard: it is about no charge of ours.
WITH unconcerned AS (
    SELECT WHERE NOT EXISTS (SELECT FROM charge c WHERE c.reference = :reference AND c.psp = :psp)
), traced AS (
    INSERT INTO payout_trace (psp, reference, trace_id)
    SELECT :psp, :reference, :trace_id FROM unconcerned WHERE :reference::text IS NOT NULL AND :trace_id::text IS NOT NULL
    ON CONFLICT DO NOTHING
), stored AS (
    INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, kind, reference, status, note)
    SELECT :id, :tenant_id, :psp, :event_id, :type, :payload::jsonb, :kind, :reference, 'IGNORED', :note FROM unconcerned
    ON CONFLICT (psp, event_id) DO NOTHING
)
SELECT true FROM unconcerned
