"""The part of the fan-out that makes deliveries of events, for the endpoints that want them."""

# ruff: noqa: S608 - what is put into the statement are constants of the code

DELIVERY_ID = "'whd_' || substr(o.id, 5, 10) || substr(md5(e.id || o.id), 1, 16)"
"""Of an event `o` for an endpoint `e`: the same however often it is made."""

DELIVERY_COLUMNS = "(id, tenant_id, endpoint_id, event_id, seq, type, object_id, next_attempt_at)"
DELIVERY = f"{DELIVERY_ID}, o.tenant_id, e.id, o.id, o.seq, o.type, o.object_id, now()"

WANTS = "(e.types = '{}' OR o.type = ANY(e.types))"

DELIVERED = f"""
    INSERT INTO webhook_delivery {DELIVERY_COLUMNS}
    SELECT {DELIVERY} FROM happened o
    JOIN webhook_endpoint e ON e.tenant_id = o.tenant_id AND e.status = 'ENABLED' AND {WANTS}
    ON CONFLICT (endpoint_id, event_id) DO NOTHING
    RETURNING 1
"""
"""Of the events `happened`."""
