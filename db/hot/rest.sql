-- A payment begins to wait, all of its orders with it: the charge's answer, the orders, their history and events, inbox.
--
-- Guard: nobody has written to the payment since it was read, and nothing of its charge is booked.
WITH locked AS (
    SELECT p.id, p.ctid AS place FROM payment p
    WHERE p.id = :payment_id AND p.version = :version::integer
    FOR NO KEY UPDATE
), untouched AS (
    -- As in settle.sql.
    SELECT l.id FROM locked l JOIN payment p ON p.id = l.id AND p.ctid = l.place
), answered AS (
    UPDATE charge SET outcome = :outcome, reference = coalesce(:reference::text, charge.reference),
        last_answer = :answer::jsonb, last_answer_at = now()
    FROM untouched WHERE charge.id = :charge_id AND NOT charge.booked
    RETURNING charge.id
), waiting AS (
    UPDATE payment_order SET status = o.to_status, failure = o.failure::jsonb, version = payment_order.version + 1,
        updated_at = :at::timestamptz
    FROM answered, unnest(:order_id::text[], :order_to::text[], :order_failure::text[]) AS o(id, to_status, failure)
    WHERE payment_order.id = o.id
), history AS (
    INSERT INTO payment_order_transition (tenant_id, payment_id, order_id, from_status, to_status, reason, actor, at)
    SELECT :tenant_id, :payment_id, o.id, o.from_status, o.to_status, o.reason, 'workflow', :at::timestamptz
    FROM answered, unnest(:order_id::text[], :order_from::text[], :order_to::text[], :order_reason::text[]) WITH ORDINALITY
        AS o(id, from_status, to_status, reason, n)
    ORDER BY o.n
), events AS (
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT e.id, :tenant_id, e.type, :schema_version::integer, e.object_id, e.payload::jsonb, :at::timestamptz
    FROM answered, unnest(:event_id::text[], :event_type::text[], :event_object::text[], :event_payload::text[])
        WITH ORDINALITY AS e(id, type, object_id, payload, n)
    ORDER BY e.n
), inbox AS (
    UPDATE webhook_inbox SET status = 'PROCESSED', note = :note, processed_at = now()
    FROM answered
    WHERE webhook_inbox.payment_id = :payment_id AND webhook_inbox.status = 'RECEIVED' AND NOT webhook_inbox.aftermath
    RETURNING webhook_inbox.id
)
UPDATE payment SET status = :status, is_payment_done = false, version = payment.version + 1,
    updated_at = greatest(:at::timestamptz, payment.updated_at), deadline_at = :deadline_at::timestamptz,
    next_check_at = :next_check_at::timestamptz,
    next_action = CASE WHEN :keeps_action::boolean THEN payment.next_action END,
    sealed_action = CASE WHEN :keeps_action::boolean THEN payment.sealed_action END
FROM answered WHERE payment.id = :payment_id
RETURNING payment.updated_at, now() AS answered_at, EXISTS (SELECT FROM inbox) AS nudged
