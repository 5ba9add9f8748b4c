"""Events: the record of what happened, and the body of every webhook."""

from sandbox.context import Context
from sandbox.errors import Doc
from sandbox.store import new_id
from sandbox.wire import public


def emit(ctx: Context, kind: str, subject: Doc, previous: Doc | None = None) -> Doc:
    """Store an event with a snapshot of `subject` and queue its delivery, in the caller's transaction."""
    data: Doc = {"object": public(subject)}
    if previous is not None:
        data["previous_attributes"] = previous
    event: Doc = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": ctx.api_version,
        "created": ctx.account.now,
        "data": data,
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": ctx.request_id, "idempotency_key": ctx.idempotency_key},
        "type": kind,
    }
    if ctx.account.connected:
        event["account"] = ctx.account.connected
    # The stored snapshot says how many deliveries it started with, as the delivered body does.
    event["pending_webhooks"] = ctx.enqueue(ctx.account, event)
    ctx.insert("events", event)
    return event


def with_pending(ctx: Context, event: Doc) -> Doc:
    """The event as `GET /v1/events` shows it: with the deliveries that are still to succeed."""
    query = "SELECT count(*) FROM deliveries WHERE event = ? AND state = 'pending'"
    (pending,) = ctx.store.db.execute(query, (event["id"],)).fetchone()
    return event | {"pending_webhooks": pending}
