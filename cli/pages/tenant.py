"""The page of tenants."""

from rich.console import RenderableType
from rich.text import Text

from cli.pages import format as look
from db import tenant
from db.core.database import Database


async def tenants_page(database: Database) -> RenderableType:
    """By id."""
    rows = await database.read(tenant.every)
    if not rows:
        return Text("There are no tenants: `paysaga keys create --tenant T --name N` makes one.", "dim")
    table = look.table("tenant", "created (UTC)", "buyers may be sent back to")
    for row in rows:
        table.add_row(row.id, look.time(row.created_at), "\n".join(row.return_origins) or "–")
    return table
