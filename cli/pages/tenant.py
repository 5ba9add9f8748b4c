"""The pages of tenants."""

from collections.abc import Sequence

from rich.console import RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page, said
from db import tenant
from db.core.database import Database
from db.tenant import Tenant
from services.tenant import Sites


async def tenants_page(database: Database) -> Page:
    """By id."""
    rows = await database.read(tenant.every)
    return Page(_table(rows), lambda: documents.tenants(rows))


def _table(rows: Sequence[Tenant]) -> RenderableType:
    if not rows:
        return look.typed("There are no tenants: `paysaga keys create --tenant shop --name backend` makes one.")
    table = look.table("tenant", "created (UTC)", "buyers may be sent back to")
    for row in rows:
        table.add_row(row.id, look.time(row.created_at), "\n".join(row.return_origins) or "–")
    return table


def changed(tenant_id: str, done: Sites) -> Page:
    """The sentence after `paysaga tenants allow-return-url` and `paysaga tenants forbid-return-url`."""
    where = ", ".join(done.origins) or "where the deployment says, and nowhere else"
    already = "" if done.changed else " already"
    words = f"{tenant_id}: buyers may{already} be sent back to {where}."
    return said(words, lambda: documents.tenant(tenant_id, done.origins))
