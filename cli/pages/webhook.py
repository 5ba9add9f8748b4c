"""Webhook: TODO docstring."""

from rich.console import Group, RenderableType
from rich.text import Text

from cli.pages import format as look
from db import webhook
from db.core.database import Database

# --- webhooks ---


async def dead_page(database: Database, *, limit: int) -> RenderableType:
    rows = await database.read(lambda c: webhook.dead(c, limit))
    if not rows:
        return Text("No event was given up.", "green")
    table = look.table("event", "type", "payment", "received (UTC)")
    for row in rows:
        name = look.ids(row["id"], row["event_id"])
        table.add_row(name, row["type"], row["payment_id"] or "–", look.time(row["received_at"]))
    return Group(table, Text("Deliver one again with `paysaga webhooks replay whk_…`.", "dim"))
