-- The payouts of some sellers, each of all that its wallet had when it was read, or a part of it: the payout with its
-- first call at the PSP, history and event; the ledger, the wallet, and which postings it pays.
--
-- Guard, for each seller alone: it is active and has an account at the PSP, it owes nothing, its balance is as it was
-- read, nobody is writing to its wallet, and its open postings amount to what is paid. The others are left out.
WITH wanted AS (
    SELECT * FROM unnest(:payout_id::text[], :tenant_id::text[], :seller::text[], :currency::text[],
        :available::bigint[], :amount::bigint[], :account::text[], :key::text[], :event_id::text[], :payload::text[],
        :transaction_id::text[])
        AS w(payout_id, tenant_id, seller, currency, available, amount, account, key, event_id, payload, transaction_id)
), locked AS MATERIALIZED (
    SELECT n.*, m.payout_account, w.payable_from, w.ctid AS place
    FROM wanted n
    JOIN merchant m ON (m.tenant_id, m.seller_account) = (n.tenant_id, n.seller)
    JOIN wallet w ON (w.tenant_id, w.seller_account, w.currency) = (n.tenant_id, n.seller, n.currency)
    WHERE m.status = 'ACTIVE' AND m.payout_account IS NOT NULL AND w.available = n.available AND w.receivable = 0
    FOR SHARE OF m SKIP LOCKED FOR UPDATE OF w SKIP LOCKED
), untouched AS MATERIALIZED (
    -- Postings that were committed since this statement began are not seen by it: their wallet is at another place.
    SELECT l.* FROM locked l
    JOIN wallet w ON (w.tenant_id, w.seller_account, w.currency) = (l.tenant_id, l.seller, l.currency) AND w.ctid = l.place
), postings AS MATERIALIZED (
    SELECT u.payout_id, u.payable_from, p.seq, -p.amount AS amount, t.kind, t.source_id
    FROM untouched u
    JOIN ledger_posting p ON (p.tenant_id, p.account, p.currency) = (u.tenant_id, u.account, u.currency)
                         AND p.seq >= u.payable_from
    JOIN ledger_transaction t ON t.id = p.transaction_id
), open AS (
    -- As in db.payout.request, of each seller.
    SELECT payout_id, seq, sum(amount)::bigint AS unpaid
    FROM (
        SELECT payout_id, seq, amount FROM postings WHERE kind NOT IN ('payout', 'payout_reversal')
        UNION ALL
        SELECT o.payout_id, i.posting_seq, -i.amount FROM postings o JOIN payout_item i ON i.payout_id = o.source_id
        WHERE o.kind = 'payout' AND NOT i.released AND i.posting_seq >= o.payable_from
    ) AS parts
    GROUP BY payout_id, seq HAVING sum(amount) <> 0
), ordered AS MATERIALIZED (
    SELECT o.payout_id, o.seq, o.unpaid, u.amount,
        sum(o.unpaid) OVER (PARTITION BY o.payout_id ORDER BY o.unpaid > 0, o.seq) AS upto
    FROM open o JOIN untouched u USING (payout_id)
), parts AS MATERIALIZED (
    SELECT payout_id, seq, CASE WHEN unpaid < 0 THEN unpaid ELSE least(unpaid, amount - (upto - unpaid)) END AS part
    FROM ordered WHERE unpaid < 0 OR upto - unpaid < amount
), exact AS (
    SELECT u.* FROM untouched u
    WHERE u.amount = (SELECT sum(p.part) FROM parts p WHERE p.payout_id = u.payout_id)
), made AS (
    INSERT INTO payout (id, tenant_id, seller_account, amount, currency, psp, destination, run_id, business_date,
        status, next_check_at, actor)
    SELECT payout_id, tenant_id, seller, amount, currency, :psp, payout_account, :run_id, :business_date::date,
        'REQUESTED', now(), :actor
    FROM exact
    ON CONFLICT DO NOTHING
    RETURNING *
), written AS (
    SELECT n.* FROM wanted n JOIN made ON made.id = n.payout_id
), calls AS (
    INSERT INTO payout_call (key, tenant_id, payout_id, call, attempt, send_until)
    SELECT key, tenant_id, payout_id, 'transfer', 1, now() + :send_for::interval FROM written
), history AS (
    INSERT INTO payout_transition (tenant_id, payout_id, to_status, reason, at)
    SELECT tenant_id, payout_id, 'REQUESTED', 'requested', :at::timestamptz FROM written
), events AS (
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    SELECT event_id, tenant_id, 'payout.requested', :schema_version::integer, payout_id, payload::jsonb, :at::timestamptz
    FROM written
), transactions AS (
    INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)
    SELECT transaction_id, tenant_id, 'payout', payout_id, :at::timestamptz FROM written
    RETURNING id
), accounts AS (
    INSERT INTO ledger_account (tenant_id, name, currency, kind)
    SELECT DISTINCT n.tenant_id, l.account, n.currency, l.kind
    FROM written n JOIN unnest(:line_payout::text[], :line_account::text[], :line_kind::text[]) AS l(payout, account, kind)
        ON l.payout = n.payout_id
    WHERE NOT EXISTS (
        SELECT FROM ledger_account k WHERE (k.tenant_id, k.name, k.currency) = (n.tenant_id, l.account, n.currency)
    )
    ORDER BY n.tenant_id, l.account, n.currency
    ON CONFLICT DO NOTHING
), lines AS (
    INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)
    SELECT n.tenant_id, t.id, l.account, n.currency, l.amount
    FROM unnest(:line_payout::text[], :line_account::text[], :line_amount::bigint[]) WITH ORDINALITY
        AS l(payout, account, amount, n)
    JOIN written n ON n.payout_id = l.payout JOIN transactions t ON t.id = n.transaction_id
    ORDER BY l.n
    RETURNING seq, transaction_id, account
), items AS (
    INSERT INTO payout_item (tenant_id, payout_id, posting_seq, amount)
    SELECT n.tenant_id, n.payout_id, p.seq, p.part FROM written n JOIN parts p USING (payout_id)
), taken AS (
    UPDATE wallet SET available = wallet.available - n.amount, updated_at = now(),
        payable_from = coalesce(
            (SELECT min(o.seq) FROM ordered o WHERE o.payout_id = n.payout_id AND o.unpaid > 0 AND o.upto > n.amount),
            l.seq + 1)
    FROM written n JOIN lines l ON (l.transaction_id, l.account) = (n.transaction_id, n.account)
    WHERE (wallet.tenant_id, wallet.seller_account, wallet.currency) = (n.tenant_id, n.seller, n.currency)
)
SELECT * FROM made
