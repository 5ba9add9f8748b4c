-- The end of a refund of a settled order that the buyer has: its row, what was set aside for it, the ledger, the wallet,
-- the order, event and inbox.
--
-- Guard: nobody has written to the orders of its payment since they were read (whoever sets something of them aside, or
-- ends that, raises their versions), the refund is under way and no answer to it was unclear; nobody has refunded the
-- payment at the PSP, and no person is asked about a refund of it.
WITH locked AS (
    SELECT p.id FROM payment p WHERE p.id = :payment_id FOR NO KEY UPDATE
), orders AS (
    SELECT o.id
    FROM locked l
    JOIN payment_order o ON o.payment_id = l.id
    JOIN unnest(:order_id::text[], :order_version::integer[]) AS t(id, version) ON t.id = o.id AND t.version = o.version
    FOR NO KEY UPDATE OF o
), untouched AS (
    SELECT FROM orders
    HAVING count(*) = cardinality(:order_id::text[])
       AND NOT EXISTS (SELECT FROM refund r WHERE r.payment_id = :payment_id AND r.origin = 'psp')
       AND NOT EXISTS (SELECT FROM operator_task t
                       WHERE t.payment_id = :payment_id AND t.kind = 'refund_failed' AND t.closed_at IS NULL)
), answered AS (
    UPDATE refund SET status = 'SUCCEEDED', reference = :reference, failure = NULL, updated_at = now()
    FROM untouched
    WHERE refund.id = :refund_id AND refund.status = 'REQUESTED' AND refund.attempt = :attempt::integer
      AND refund.unknown_count = 0
    RETURNING refund.id
), taken AS (
    UPDATE reserve SET status = 'TAKEN' FROM answered WHERE reserve.id = :reserve_id
), transactions AS (
    INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, payment_id, order_id, at)
    SELECT t.id, :tenant_id, t.kind, t.source, :payment_id, t.order_id, :at::timestamptz
    FROM answered, unnest(:transaction_id::text[], :transaction_kind::text[], :transaction_source::text[],
        :transaction_order::text[]) AS t(id, kind, source, order_id)
    RETURNING id
), accounts AS (
    INSERT INTO ledger_account (tenant_id, name, currency, kind)
    SELECT :tenant_id, a.name, :currency, a.kind
    FROM answered, unnest(:account_name::text[], :account_kind::text[]) AS a(name, kind)
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
    UPDATE wallet SET reserved = wallet.reserved - :reserved::bigint, updated_at = now()
    FROM answered
    WHERE wallet.tenant_id = :tenant_id AND wallet.seller_account = :seller AND wallet.currency = :currency
), ordered AS (
    UPDATE payment_order SET refund_status = :refund_status, version = payment_order.version + 1, updated_at = now()
    FROM answered WHERE payment_order.id = :refunded_order
), event AS (
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT :event_id, :tenant_id, :event_type, :schema_version::integer, :refund_id, :event_payload::jsonb, :at::timestamptz
    FROM answered
), inbox AS (
    UPDATE webhook_inbox SET status = 'PROCESSED', note = :note, processed_at = now()
    FROM answered
    WHERE webhook_inbox.payment_id = :payment_id AND webhook_inbox.reference = :reference
      AND webhook_inbox.status = 'RECEIVED' AND webhook_inbox.received_at < :asked_at::timestamptz
)
SELECT id FROM answered
