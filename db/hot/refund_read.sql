-- A refund, and the time on the clock that its own times are of.
SELECT to_jsonb(r)::text AS document, clock_timestamp() AS now FROM refund r WHERE r.id = :refund_id
