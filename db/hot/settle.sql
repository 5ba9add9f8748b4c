-- The settlement of all orders of a payment: the ledger, the sellers' wallets, the charge, the orders and their end.
--
-- Guard: nobody has written to the payment since it was read (each writer under its lock raises its version), nothing of
-- its charge is booked, and each seller is active on the terms that the postings were worked out with.
WITH locked AS (
    SELECT p.id, p.ctid AS place FROM payment p
    WHERE p.id = :payment_id AND p.version = :version::integer
    FOR NO KEY UPDATE
), untouched AS (
    -- A webhook that was stored since this statement began, before the lock, is not seen by it: its payment's row was
    -- written anew (lifecycle.noted), and is at another place.
    SELECT l.id FROM locked l JOIN payment p ON p.id = l.id AND p.ctid = l.place
), seller AS (
    SELECT FROM untouched,
        unnest(:terms_seller::text[], :terms_payer::text[], :terms_days::integer[]) AS t(seller, payer, days)
    JOIN merchant m ON m.tenant_id = :tenant_id AND m.seller_account = t.seller
                   AND m.status = 'ACTIVE' AND m.psp_fee_payer = t.payer AND m.payout_delay_days = t.days
    HAVING count(*) = cardinality(:terms_seller::text[])
), charged AS (
    UPDATE charge SET outcome = 'SUCCEEDED', reference = :reference, received_amount = :received::bigint,
        received_currency = :currency, fee = coalesce(:fee::jsonb, fee), booked = true, last_answer = :answer::jsonb,
        last_answer_at = now()
    FROM seller WHERE charge.id = :charge_id AND NOT charge.booked
    RETURNING charge.id
), transactions AS (
    INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, payment_id, order_id, at)
    SELECT t.id, :tenant_id, t.kind, t.source, :payment_id, t.order_id, :at::timestamptz
    FROM charged, unnest(:transaction_id::text[], :transaction_kind::text[], :transaction_source::text[],
        :transaction_order::text[]) WITH ORDINALITY AS t(id, kind, source, order_id, n)
    ORDER BY t.n
    RETURNING id
), accounts AS (
    INSERT INTO ledger_account (tenant_id, name, currency, kind)
    SELECT :tenant_id, a.name, :currency, a.kind
    FROM charged, unnest(:account_name::text[], :account_kind::text[]) AS a(name, kind)
    ORDER BY a.name
    ON CONFLICT DO NOTHING
), postings AS (
    INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)
    SELECT :tenant_id, t.id, l.account, :currency, l.amount
    FROM unnest(:line_transaction::text[], :line_account::text[], :line_amount::bigint[]) WITH ORDINALITY
        AS l(transaction_id, account, amount, n)
    JOIN transactions t ON t.id = l.transaction_id
    ORDER BY l.n
), credited AS (
    INSERT INTO wallet (tenant_id, seller_account, currency, pending)
    SELECT :tenant_id, w.seller, :currency, w.pending
    FROM charged, unnest(:wallet_seller::text[], :wallet_pending::bigint[]) AS w(seller, pending)
    ORDER BY w.seller
    ON CONFLICT (tenant_id, seller_account, currency)
    DO UPDATE SET pending = wallet.pending + excluded.pending, updated_at = now()
), ended AS (
    -- An order of which nothing is taken is let go, and has no posting.
    UPDATE payment_order SET status = o.to_status, failure = o.failure::jsonb, wallet_updated = o.captured > 0,
        ledger_updated = o.captured > 0, captured_amount = o.captured, captured_fee = o.fee, pending_amount = o.pending,
        available_at = o.available_at, version = payment_order.version + 1, updated_at = :at::timestamptz
    FROM charged, unnest(:order_id::text[], :order_to::text[], :order_failure::text[], :order_captured::bigint[],
        :order_fee::bigint[], :order_pending::bigint[], :order_available::timestamptz[])
        AS o(id, to_status, failure, captured, fee, pending, available_at)
    WHERE payment_order.id = o.id
), history AS (
    INSERT INTO payment_order_transition (tenant_id, payment_id, order_id, from_status, to_status, reason, actor, at)
    SELECT :tenant_id, :payment_id, o.id, o.from_status, o.to_status, o.reason, 'workflow', :at::timestamptz
    FROM charged, unnest(:order_id::text[], :order_from::text[], :order_to::text[], :order_reason::text[]) WITH ORDINALITY
        AS o(id, from_status, to_status, reason, n)
    ORDER BY o.n
), events AS (
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT e.id, :tenant_id, e.type, :schema_version::integer, e.object_id, e.payload::jsonb, :at::timestamptz
    FROM charged, unnest(:event_id::text[], :event_type::text[], :event_object::text[], :event_payload::text[])
        WITH ORDINALITY AS e(id, type, object_id, payload, n)
    ORDER BY e.n
), inbox AS (
    UPDATE webhook_inbox SET status = 'PROCESSED', note = 'the payment has ended', processed_at = now()
    FROM charged
    WHERE webhook_inbox.payment_id = :payment_id AND webhook_inbox.status = 'RECEIVED' AND NOT webhook_inbox.aftermath
), tasks AS (
    UPDATE operator_task SET closed_at = now(), closed_by = 'workflow', resolution = :resolution
    FROM charged
    WHERE operator_task.payment_id = :payment_id AND operator_task.closed_at IS NULL
        AND operator_task.kind <> ALL(:tasks_kept::text[])
)
UPDATE payment SET status = 'SUCCESS', is_payment_done = :is_done::boolean, version = payment.version + 1,
    updated_at = greatest(:at::timestamptz, payment.updated_at),
    card_fingerprint = coalesce(:card_fingerprint::text, payment.card_fingerprint),
    next_action = NULL, sealed_action = NULL, deadline_at = NULL, next_check_at = NULL
FROM charged WHERE payment.id = :payment_id
RETURNING payment.updated_at, now() AS answered_at
