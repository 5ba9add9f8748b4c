"""The page about webhooks: events that were given up."""

from rich.console import Group, RenderableType
from rich.text import Text

from cli.pages import format as look
from db import webhook
from db.core.database import Database


async def dead_page(database: Database, *, limit: int) -> RenderableType:
    """The newest first."""
    events = await database.read(lambda c: webhook.dead(c, limit))
    if not events:
        return Text("No event was given up.", "green")
    table = look.table("event", "type", "payment", "received (UTC)")
    for event in events:
        name = look.ids(event.id, event.event_id)
        table.add_row(name, event.type, event.payment_id or "–", look.time(event.received_at))
    return Group(table, look.typed(f"Deliver the first again with `paysaga webhooks replay {events[0].id}`."))
