"""The envelope of an event, a CloudEvent 1.0 as structured JSON, made by the database from a row `o` of the outbox."""

from domain.event_types import PREFIX, SCHEMAS, SPEC_VERSION

CLOUD_EVENT = f"""
    jsonb_build_object(
        'specversion', '{SPEC_VERSION}',
        'id', o.id,
        'source', '/paysaga/' || o.tenant_id,
        'type', '{PREFIX}' || o.type || '.v' || o.schema_version,
        'subject', o.object_id,
        'time', to_char(o.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'datacontenttype', 'application/json',
        'dataschema', '{SCHEMAS}' || o.type || ':' || o.schema_version,
        'tenantid', o.tenant_id,
        'sequence', lpad(o.seq::text, 20, '0'),
        'partitionkey', o.object_id,
        'data', o.payload
    )::text
"""

MESSAGE = f"o.seq, o.id, o.tenant_id, o.type, o.object_id, {CLOUD_EVENT} AS body"
"""The columns of a `domain.message.Message`."""
