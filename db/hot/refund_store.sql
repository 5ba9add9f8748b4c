-- A refund of a settled order: its key, the refund, the seller's funds set aside for it, the ledger, the event, the row of
-- the audit log.
--
-- Guard: nobody has written to the order since it was read, the seller's terms say the same about the platform's fee, and
-- the wallet has what is to be set aside. Order and wallet are locked, and looked at as they are then: one that is being
-- written to is waited for. The wallet is, before its postings get their numbers, as wherever available money is posted.
-- Where the key was used before, the row says by which request.
WITH locked AS (
    SELECT p.id FROM payment p WHERE p.id = :payment_id FOR NO KEY UPDATE
), untouched AS (
    SELECT o.id FROM locked l JOIN payment_order o ON o.payment_id = l.id
    WHERE o.id = :order_id AND o.version = :order_version::integer
    FOR NO KEY UPDATE OF o
), purse AS (
    SELECT w.seller_account
    FROM untouched u
    JOIN merchant m ON m.tenant_id = :tenant_id AND m.seller_account = :seller AND m.platform_fee_on_refund = :fee_terms
    JOIN wallet w ON w.tenant_id = :tenant_id AND w.seller_account = :seller AND w.currency = :currency
    WHERE w.pending >= :pending::bigint AND w.available >= :available::bigint
    FOR NO KEY UPDATE OF w
), claim AS (
    INSERT INTO idempotency_key (tenant_id, key, request_hash, object_id)
    SELECT :tenant_id, :key, :request_hash, :refund_id FROM purse
    ON CONFLICT DO NOTHING
    RETURNING created_at
), new_refund AS (
    INSERT INTO refund (id, tenant_id, payment_id, order_id, charge_id, origin, source_id, amount, currency, status,
        send_until, reason, actor, refundable_amount)
    SELECT :refund_id, :tenant_id, :payment_id, :order_id, :charge_id, 'request', :refund_id, :amount::bigint, :currency,
        'REQUESTED', now() + :send_for::interval, :reason, :actor, :refundable::bigint
    FROM claim
), counted AS (
    UPDATE charge SET refund_amount = charge.refund_amount + :amount::bigint FROM claim WHERE charge.id = :charge_id
), set_aside AS (
    INSERT INTO reserve (id, tenant_id, source_id, payment_id, order_id, seller_account, currency, amount, platform_fee,
        pending, available, receivable, status)
    SELECT :reserve_id, :tenant_id, :refund_id, :payment_id, :order_id, :seller, :currency, :amount::bigint,
        :platform_fee::bigint, :pending::bigint, :available::bigint, 0, 'HELD'
    FROM claim
), transactions AS (
    INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, payment_id, order_id, at)
    SELECT t.id, :tenant_id, t.kind, t.source, :payment_id, t.order_id, :at::timestamptz
    FROM claim, unnest(:transaction_id::text[], :transaction_kind::text[], :transaction_source::text[],
        :transaction_order::text[]) AS t(id, kind, source, order_id)
    RETURNING id
), accounts AS (
    INSERT INTO ledger_account (tenant_id, name, currency, kind)
    SELECT :tenant_id, a.name, :currency, a.kind
    FROM claim, unnest(:account_name::text[], :account_kind::text[]) AS a(name, kind)
    ORDER BY a.name
    ON CONFLICT DO NOTHING
), postings AS (
    INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)
    SELECT :tenant_id, t.id, l.account, :currency, l.amount
    FROM unnest(:line_transaction::text[], :line_account::text[], :line_amount::bigint[]) WITH ORDINALITY
        AS l(transaction_id, account, amount, n)
    JOIN transactions t ON t.id = l.transaction_id
    ORDER BY l.n
), moved AS (
    UPDATE wallet SET pending = wallet.pending - :pending::bigint, available = wallet.available - :available::bigint,
        reserved = wallet.reserved + :pending::bigint + :available::bigint, updated_at = now()
    FROM claim
    WHERE wallet.tenant_id = :tenant_id AND wallet.seller_account = :seller AND wallet.currency = :currency
), ordered AS (
    UPDATE payment_order SET refund_amount = payment_order.refund_amount + :amount::bigint,
        pending_amount = payment_order.pending_amount - :pending::bigint, refund_status = :refund_status,
        version = payment_order.version + 1, updated_at = now()
    FROM claim WHERE payment_order.id = :order_id
), event AS (
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT :event_id, :tenant_id, :event_type, :schema_version::integer, :refund_id, :event_payload::jsonb, :at::timestamptz
    FROM claim
), log AS (
    INSERT INTO audit_log (tenant_id, actor, action, object_id, detail, address)
    SELECT :tenant_id, :actor, 'refund.create', :refund_id,
        :detail::jsonb || coalesce((SELECT jsonb_build_object('key', k.name) FROM api_key k WHERE k.id = :actor), '{}'),
        :client_address
    FROM claim
)
SELECT created_at, created_at + :send_for::interval AS send_until, NULL AS first_id, NULL AS first_hash FROM claim
UNION ALL
-- The first request under the key.
SELECT NULL, NULL, k.object_id, k.request_hash FROM idempotency_key k
WHERE k.tenant_id = :tenant_id AND k.key = :key AND NOT EXISTS (SELECT FROM claim)
