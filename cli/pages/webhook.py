"""The page about webhooks: events that were given up."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from db import webhook
from db.core.database import Database
from db.webhook import StoredEvent


async def dead_page(database: Database, *, limit: int) -> Page:
    """The newest first."""
    events = await database.read(lambda c: webhook.dead(c, limit))
    return Page(_table(events), lambda: documents.dead_events(events))


def _table(events: Sequence[StoredEvent]) -> RenderableType:
    if not events:
        return look.text(("No event was given up.", "green"))
    table = look.table("event", "type", "payment", "received (UTC)")
    for event in events:
        name = look.ids(event.id, event.event_id)
        table.add_row(name, event.type, event.payment_id or "–", look.time(event.received_at))
    return Group(table, look.typed(f"Deliver the first again with `paysaga webhooks replay {events[0].id}`."))
