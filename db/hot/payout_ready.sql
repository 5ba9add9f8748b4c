-- The transfer of a new payout is marked as sent: from now on the PSP may have it.
--
-- Guard: the payout waits for its first transfer, whose key is good; nobody wants it cancelled or is asked about it, and
-- its seller is active.
WITH locked AS MATERIALIZED (
    SELECT p.* FROM payout p JOIN merchant m ON (m.tenant_id, m.seller_account) = (p.tenant_id, p.seller_account)
    WHERE p.id = :payout_id AND p.status = 'REQUESTED' AND p.cancel_requested_at IS NULL AND p.unknown_count = 0
      AND p.ends_as IS NULL AND m.status = 'ACTIVE'
      AND NOT EXISTS (SELECT FROM operator_task k WHERE k.object_id = p.id AND k.closed_at IS NULL)
    FOR NO KEY UPDATE OF p
), sent AS (
    UPDATE payout_call c SET sent_at = coalesce(c.sent_at, now()) FROM locked
    WHERE c.key = :key AND clock_timestamp() < c.send_until AND NOT EXISTS (
        SELECT FROM payout_call later
        WHERE (later.payout_id, later.call) = (c.payout_id, c.call) AND later.attempt > c.attempt
    )
    RETURNING c.send_until
)
SELECT locked.*, clock_timestamp() AS now, sent.send_until FROM locked CROSS JOIN sent
