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
    table = look.table("tenant", "created (UTC)", "buyers may be sent back to", "pages may call from")
    for row in rows:
        lists = ("\n".join(sites) or "–" for sites in (row.return_origins, row.page_origins))
        table.add_row(row.id, look.time(row.created_at), *lists)
    return table


def returns(tenant_id: str, done: Sites) -> Page:
    """The sentence after `paysaga tenants allow-return-url` and `paysaga tenants forbid-return-url`."""
    where = ", ".join(done.origins) or "where the deployment says, and nowhere else"
    already = "" if done.changed else " already"
    words = f"{tenant_id}: buyers may{already} be sent back to {where}."
    return said(words, lambda: documents.tenant(tenant_id, return_origins=done.origins))


def pages(tenant_id: str, done: Sites) -> Page:
    """The sentence after `paysaga tenants allow-origin` and `paysaga tenants forbid-origin`."""
    where = f"from {', '.join(done.origins)}" if done.origins else "from nowhere"
    already = "" if done.changed else " already"
    words = f"{tenant_id}: pages may{already} call {where}."
    return said(words, lambda: documents.tenant(tenant_id, page_origins=done.origins))
