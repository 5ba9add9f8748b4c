-- The payouts of a run that are not on their way to the bank yet.
SELECT count(*) AS unsent FROM payout
WHERE run_id = :run_id AND status IN ('REQUESTED', 'TRANSFERRED') AND created_at > now() - :hangs::interval
