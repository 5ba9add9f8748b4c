"""Events on their way out as an invariant (P16): while a sink is there, none waits for it."""

# ruff: noqa: S608 - what is put into the query are constants of the code

from db.audit.invariant import TODO_MAX, Invariant

EVENTS = (
    Invariant(
        "P16",
        "no event waits for a sink that is there",
        "outbox",
        f"""
        SELECT o.tenant_id, o.object_id, format('event %s waits for the %s since %s', o.id, s.name, o.at) AS problem
        FROM event_sink s
        CROSS JOIN LATERAL (SELECT seq FROM outbox_todo t WHERE t.sink = s.sink ORDER BY seq LIMIT 100) AS t
        JOIN outbox o USING (seq)
        WHERE s.reached_at > now() - interval '1 minute' AND o.at < now() - {TODO_MAX}
        """,
    ),
)
