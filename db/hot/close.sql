-- The end of a payment of which nothing was taken: its charge's last answer, its orders and their end.
--
-- Guard: nobody has written to the payment since it was read.
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
), ended AS (
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
    -- One that says "paid" is left for the sweeper: it is a late charge.
    UPDATE webhook_inbox SET status = 'PROCESSED', note = 'the payment has ended', processed_at = now()
    FROM answered
    WHERE webhook_inbox.payment_id = :payment_id AND webhook_inbox.status = 'RECEIVED' AND NOT webhook_inbox.aftermath
        AND NOT webhook_inbox.paid
), tasks AS (
    UPDATE operator_task SET closed_at = now(), closed_by = 'workflow', resolution = :resolution
    FROM answered
    WHERE operator_task.payment_id = :payment_id AND operator_task.closed_at IS NULL
        AND operator_task.kind <> ALL(:tasks_kept::text[])
)
UPDATE payment SET status = :status, version = payment.version + 1, updated_at = greatest(:at::timestamptz, payment.updated_at),
    next_action = NULL, sealed_action = NULL, deadline_at = NULL, next_check_at = NULL
FROM answered WHERE payment.id = :payment_id
RETURNING payment.updated_at, now() AS answered_at
