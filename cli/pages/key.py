"""The page of API keys."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from db import api_key
from db.api_key import ApiKey
from db.core.database import Database


async def keys_page(database: Database) -> Page:
    """All of them, without their secrets."""
    rows = await database.read(api_key.every)
    return Page(_table(rows), lambda: documents.keys(rows))


def created(key_id: str, tenant: str, secret: str) -> RenderableType:
    """The only page that shows a secret."""
    return Group(
        look.text(f"{key_id} for {tenant}. Its secret is shown now and never again:"),
        look.whole((secret, "bold green")),
    )


def _table(rows: Sequence[ApiKey]) -> RenderableType:
    if not rows:
        words = "There are no API keys: `paysaga keys create --tenant shop --name backend` makes one."
        return look.typed(words)
    table = look.table("key", "tenant", "name", "scopes", "created (UTC)")
    for row in rows:
        revoked = (
            look.text((f"revoked {look.time(row.revoked_at)}", "red"))
            if row.revoked_at
            else look.text(("active", "green"))
        )
        scopes = ", ".join(row.scopes)
        name = look.text(row.id, "\n", revoked)
        table.add_row(name, row.tenant_id, row.name, scopes, look.time(row.created_at))
    return table
