"""The page of API keys."""

from rich.console import RenderableType
from rich.text import Text

from cli.pages import format as look
from db import api_key
from db.core.database import Database


async def keys_page(database: Database) -> RenderableType:
    rows = await database.read(api_key.every)
    if not rows:
        return Text("There are no API keys: `paysaga keys create --tenant shop --name backend` makes one.", "dim")
    table = look.table("key", "tenant", "name", "scopes", "created (UTC)", "")
    for row in rows:
        revoked = Text(f"revoked {look.time(row.revoked_at)}", "red") if row.revoked_at else Text("active", "green")
        scopes = ", ".join(row.scopes)
        table.add_row(row.id, row.tenant_id, row.name, scopes, look.time(row.created_at), revoked)
    return table
