-- A payout, with the time on the database's clock.
SELECT *, clock_timestamp() AS now FROM payout WHERE id = :payout_id
