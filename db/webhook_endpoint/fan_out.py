"""The fan-out: events that are noted for it become deliveries, each exactly once, in one statement."""

# ruff: noqa: S608 - what is put into the statement are constants of the code

from domain.message import Sink

DELIVERY_ID = "'whd_' || substr(o.id, 5, 10) || substr(md5(e.id || o.id), 1, 16)"
"""Of an event `o` for an endpoint `e`: the same however often it is made."""

DELIVERY_COLUMNS = "(id, tenant_id, endpoint_id, event_id, seq, type, object_id, next_attempt_at)"
DELIVERY = f"{DELIVERY_ID}, o.tenant_id, e.id, o.id, o.seq, o.type, o.object_id, now()"

WANTS = "(e.types = '{}' OR o.type = ANY(e.types))"

FAN_OUT = f"""
    WITH taken AS (
        DELETE FROM outbox_todo t
        WHERE t.sink = {int(Sink.FANOUT)} AND t.seq = ANY(ARRAY(
            SELECT first.seq FROM outbox_todo first WHERE first.sink = {int(Sink.FANOUT)} ORDER BY first.seq LIMIT $1
        ))
        RETURNING t.seq
    ), made AS (
        INSERT INTO webhook_delivery {DELIVERY_COLUMNS}
        SELECT {DELIVERY} FROM taken JOIN outbox o USING (seq)
        JOIN webhook_endpoint e ON e.tenant_id = o.tenant_id AND e.status = 'ENABLED' AND {WANTS}
        ON CONFLICT (endpoint_id, event_id) DO NOTHING
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM made) AS deliveries
"""
"""Takes up to $1 events, the first ones. The lowest number of an object is taken first, and delivered first."""
