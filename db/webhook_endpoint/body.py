"""The body of a webhook (Standard Webhooks), made by the database from a row `o` of the outbox."""

WHEN = """to_char({at} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

BODY = f"""
    jsonb_build_object(
        'id', o.id, 'type', o.type, 'version', o.schema_version, 'timestamp', {WHEN.format(at="o.at")},
        'sequence', lpad(o.seq::text, 20, '0'), 'object_id', o.object_id, 'data', o.payload
    )::text
"""
