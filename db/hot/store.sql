-- A checkout: its key, the payment, its orders, charge attempt 1, their history and events, the row of the audit log.
--
-- Guard: each seller is active on the terms that the fees were worked out with, the tenant has no risk rules and, where a
-- return URL names one, this site; the buyer's key is the one that the address was encrypted under.
-- Where the key was used before, the row says by which request.
WITH terms AS (
    SELECT FROM unnest(:terms_seller::text[], :terms_percent::numeric[], :terms_fixed::numeric[]) AS t(seller, percent, fixed)
    JOIN merchant m ON m.tenant_id = :tenant_id AND m.seller_account = t.seller
                   AND m.status = 'ACTIVE' AND m.fee_percent = t.percent AND m.fee_fixed = t.fixed
    HAVING count(*) = cardinality(:terms_seller::text[])
       AND NOT EXISTS (SELECT FROM risk_rule_set r WHERE r.tenant_id = :tenant_id)
       AND (:return_origin::text IS NULL
            OR EXISTS (SELECT FROM tenant t WHERE t.id = :tenant_id AND :return_origin = ANY(t.return_origins)))
), buyer AS (
    -- As key_of does: it is not destroyed before this has committed.
    SELECT FROM person b WHERE b.id = :person_id AND b.key = :person_key::bytea FOR KEY SHARE
), claim AS (
    INSERT INTO idempotency_key (tenant_id, key, request_hash, object_id)
    SELECT :tenant_id, :key, :request_hash, :payment_id FROM terms
    WHERE :person_id::text IS NULL OR :person_is_new::boolean OR EXISTS (SELECT FROM buyer)
    ON CONFLICT DO NOTHING
    RETURNING created_at
), new_buyer AS (
    -- One who came into being meanwhile breaks a unique key, which undoes all of it.
    INSERT INTO person (id, tenant_id, buyer_id, key)
    SELECT :person_id, :tenant_id, :buyer_id, :person_key FROM claim WHERE :person_is_new
), new_address AS (
    INSERT INTO person_email (tenant_id, digest, person_id, email)
    SELECT :tenant_id, :address_digest, :person_id, :address::bytea FROM claim WHERE :address_digest::bytea IS NOT NULL
    ON CONFLICT DO NOTHING
), new_payment AS (
    INSERT INTO payment (id, tenant_id, checkout_id, buyer_id, buyer_email, buyer_phone, amount, currency, status, psp, method, token,
        on_partial_failure, metadata, authorize_only, capture_by_request, capture_on_expiry, buyer_country, return_url,
        statement_descriptor)
    SELECT :payment_id, :tenant_id, :checkout_id, :buyer_id, :buyer_email::bytea, :buyer_phone::bytea, :amount::bigint, :currency,
        :status, :psp, :method, :token::bytea, :on_partial_failure, :metadata::jsonb, :authorize_only::boolean, :capture_by_request::boolean, :capture_on_expiry::boolean,
        :buyer_country, :return_url, :statement_descriptor
    FROM claim
), new_orders AS (
    INSERT INTO payment_order (id, tenant_id, payment_id, position, payment_order_id, seller_account, amount, currency,
        platform_fee, status)
    SELECT o.id, :tenant_id, :payment_id, o.n - 1, o.name, o.seller, o.amount, :currency, o.fee, :status
    FROM claim, unnest(:order_id::text[], :order_name::text[], :order_seller::text[], :order_amount::bigint[],
        :order_fee::bigint[]) WITH ORDINALITY AS o(id, name, seller, amount, fee, n)
    ORDER BY o.n
), new_charge AS (
    INSERT INTO charge (id, tenant_id, payment_id, attempt, psp, key, amount, currency, send_until)
    SELECT :charge_id, :tenant_id, :payment_id, 1, :psp, :charge_key, :amount::bigint, :currency, now() + :send_for::interval
    FROM claim
), history AS (
    INSERT INTO payment_order_transition (tenant_id, payment_id, order_id, to_status, reason, actor, at)
    SELECT :tenant_id, :payment_id, o.id, :status, 'created', :actor, now()
    FROM claim, unnest(:order_id::text[]) WITH ORDINALITY AS o(id, n)
    ORDER BY o.n
), events AS (
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT e.id, :tenant_id, e.type, :schema_version::integer, e.object_id, e.payload::jsonb, now()
    FROM claim, unnest(:event_id::text[], :event_type::text[], :event_object::text[], :event_payload::text[])
        WITH ORDINALITY AS e(id, type, object_id, payload, n)
    ORDER BY e.n
), log AS (
    INSERT INTO audit_log (tenant_id, actor, action, object_id, detail, address)
    SELECT :tenant_id, :actor, 'payment.create', :payment_id,
        :detail::jsonb || coalesce((SELECT jsonb_build_object('key', k.name) FROM api_key k WHERE k.id = :actor), '{}'),
        :client_address
    FROM claim
)
SELECT created_at, created_at + :send_for::interval AS send_until, NULL AS first_id, NULL AS first_hash FROM claim
UNION ALL
-- The first request under the key.
SELECT NULL, NULL, k.object_id, k.request_hash FROM idempotency_key k
WHERE k.tenant_id = :tenant_id AND k.key = :key AND NOT EXISTS (SELECT FROM claim)
