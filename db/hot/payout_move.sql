-- A step of a payout: its row, the answer to its call at the PSP, history, event, ledger, the webhooks that are thereby
-- read, and the next call, marked as sent.
--
-- Guard: it stands where the step begins; nothing was unknown, nobody wants it cancelled or is asked about it, and its
-- seller is active, unless it has arrived.
WITH locked AS MATERIALIZED (
    SELECT p.* FROM payout p JOIN merchant m ON (m.tenant_id, m.seller_account) = (p.tenant_id, p.seller_account)
    WHERE p.id = :payout_id AND p.status = :before AND p.cancel_requested_at IS NULL AND p.unknown_count = 0
      AND p.ends_as IS NULL AND (m.status = 'ACTIVE' OR :after::text = 'PAID')
      AND NOT EXISTS (SELECT FROM operator_task k WHERE k.object_id = p.id AND k.closed_at IS NULL)
    FOR NO KEY UPDATE OF p
), moved AS (
    UPDATE payout p SET status = :after, failure = NULL, updated_at = now(),
        transfer_reference = coalesce(:transfer_reference::text, p.transfer_reference),
        reference = coalesce(:reference::text, p.reference), arrival_at = coalesce(:arrival_at::timestamptz, p.arrival_at),
        next_check_at = CASE WHEN :looks::boolean THEN :next_check_at::timestamptz ELSE p.next_check_at END
    FROM locked WHERE p.id = locked.id
    RETURNING p.*
), answered AS (
    UPDATE payout_call SET outcome = :outcome, reference = :answered, failure = NULL FROM locked WHERE key = :key::text
), read AS (
    UPDATE webhook_inbox w SET status = 'PROCESSED', note = :note, processed_at = now() FROM locked
    WHERE w.payout_id = locked.id AND w.status = 'RECEIVED' AND w.received_at < :asked_at::timestamptz
), traced AS (
    INSERT INTO payout_trace (psp, reference, trace_id)
    SELECT psp, :reference::text, :trace_id::text FROM locked
    WHERE :reference::text IS NOT NULL AND :trace_id::text IS NOT NULL
    ON CONFLICT DO NOTHING
), history AS (
    INSERT INTO payout_transition (tenant_id, payout_id, from_status, to_status, reason, at)
    SELECT tenant_id, id, :before, :after, :reason, :at::timestamptz FROM locked
), event AS (
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT :event_id, tenant_id, :type, :schema_version::integer, id, :payload::jsonb, :at::timestamptz FROM locked
), posted AS (
    INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)
    SELECT :transaction_id, tenant_id, :kind, id, :at::timestamptz FROM locked WHERE cardinality(:accounts::text[]) > 0
    RETURNING id, tenant_id
), accounts AS (
    INSERT INTO ledger_account (tenant_id, name, currency, kind)
    SELECT t.tenant_id, a.name, :currency, a.kind
    FROM posted t, unnest(:accounts::text[], :kinds::text[]) AS a(name, kind)
    WHERE NOT EXISTS (
        SELECT FROM ledger_account k WHERE (k.tenant_id, k.name, k.currency) = (t.tenant_id, a.name, :currency)
    )
    ORDER BY a.name
    ON CONFLICT DO NOTHING
), lines AS (
    INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)
    SELECT t.tenant_id, t.id, l.account, :currency, l.amount
    FROM posted t, unnest(:accounts::text[], :amounts::bigint[]) WITH ORDINALITY AS l(account, amount, n)
    ORDER BY l.n
), following AS (
    INSERT INTO payout_call (key, tenant_id, payout_id, call, attempt, send_until, sent_at)
    SELECT :next_key, tenant_id, id, 'payout', 1, now() + :send_for::interval, now() FROM locked
    WHERE :next_key::text IS NOT NULL
    RETURNING send_until
)
SELECT moved.*, clock_timestamp() AS now, following.send_until FROM moved LEFT JOIN following ON true
