-- The wish to capture an authorised payment: its key, the mark on the payment, what is to be taken of each order, the row
-- of the audit log.
--
-- Guard: nobody has written to the payment since it was read, its key is new, and each seller whose order is taken is
-- active.
WITH untouched AS (
    SELECT p.id FROM payment p
    WHERE p.id = :payment_id AND p.version = :version::integer
    FOR NO KEY UPDATE
), allowed AS (
    SELECT u.id FROM untouched u
    WHERE NOT EXISTS (
        SELECT FROM unnest(:order_seller::text[], :order_amount::bigint[]) AS o(seller, amount)
        JOIN merchant m ON m.tenant_id = :tenant_id AND m.seller_account = o.seller
        WHERE o.amount > 0 AND m.status <> 'ACTIVE'
    )
), claim AS (
    INSERT INTO idempotency_key (tenant_id, key, request_hash, object_id)
    SELECT :tenant_id, :key, :request_hash, :payment_id FROM allowed
    ON CONFLICT DO NOTHING
    RETURNING object_id
), orders AS (
    UPDATE payment_order SET capture_amount = o.amount
    FROM claim, unnest(:order_id::text[], :order_amount::bigint[]) AS o(id, amount)
    WHERE payment_order.id = o.id
), log AS (
    INSERT INTO audit_log (tenant_id, actor, action, object_id, detail, address)
    SELECT :tenant_id, :actor, 'payment.capture', :payment_id,
        :detail::jsonb || coalesce((SELECT jsonb_build_object('key', k.name) FROM api_key k WHERE k.id = :actor), '{}'),
        :client_address
    FROM claim
)
UPDATE payment SET capture_requested_at = :at::timestamptz, capture_requested_by = :actor, version = payment.version + 1,
    updated_at = now()
FROM claim WHERE payment.id = :payment_id
RETURNING payment.updated_at
