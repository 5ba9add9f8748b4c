"""The fan-out: events that are noted for it become deliveries of webhooks and notifications, each exactly once, in one
statement."""

# ruff: noqa: S608 - what is put into the statement are constants of the code

from db.notification.fan_out import NOTIFIED
from db.webhook_endpoint.fan_out import DELIVERED
from domain.message import Sink

FAN_OUT = f"""
    WITH taken AS (
        DELETE FROM outbox_todo t
        WHERE t.sink = {int(Sink.FANOUT)} AND t.seq = ANY(ARRAY(
            SELECT first.seq FROM outbox_todo first WHERE first.sink = {int(Sink.FANOUT)} ORDER BY first.seq LIMIT $1
        ))
        RETURNING t.seq
    ), happened AS (
        SELECT o.seq, o.id, o.tenant_id, o.type, o.object_id, o.payload FROM taken JOIN outbox o USING (seq)
    ), delivered AS ({DELIVERED}
    ), notified AS ({NOTIFIED}
    )
    SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM delivered) AS deliveries,
        (SELECT count(*) FROM notified) AS notifications
"""
"""Takes up to $1 events, the first ones. The lowest number of an object is taken first, and delivered first."""
