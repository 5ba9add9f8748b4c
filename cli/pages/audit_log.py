"""The audit log, as a page or as CSV."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from cli import documents
from cli.files import write
from cli.pages import format as look
from cli.pages.page import Page
from db.audit_log import AuditEntry, Wanted
from db.core.database import Database
from services import audit_log
from services.audit_log import AUDIT_COLUMNS, entry_csv
from services.pages import pages


async def audit_log_page(
    database: Database, tenant: str | None, wanted: Wanted, *, before: int | None, limit: int
) -> Page:
    """The newest that match."""
    rows = await audit_log.page(database, tenant, wanted, before=before, limit=limit)
    following = rows[-1].seq if len(rows) == limit else None
    page = _table(rows)
    if not rows:
        page = look.text(("Nothing of this kind was done.", "dim"))
    elif following is not None:
        page = Group(page, look.text((f"These are {limit}; --before {following} shows the next, --csv all.", "dim")))
    return Page(page, lambda: documents.audit_log(rows, following))


def _table(rows: Sequence[AuditEntry]) -> RenderableType:
    table = look.table("at (UTC)", "who", "did")
    for row in rows:
        who = look.ids(row.key or row.actor, row.address or "")
        about = f"{row.object_id} of {row.tenant_id}"
        table.add_row(look.time(row.at), who, look.ids(f"{row.action}\n{about}", _detail(row)))
    return table


def _detail(row: AuditEntry) -> str:
    said = (
        f"{name} {v if isinstance(v, str) else json.dumps(v)}" for name, v in row.detail.items() if v not in ("", None)
    )
    return ", ".join(said)


async def write_audit_log(database: Database, tenant: str | None, wanted: Wanted, path: Path) -> Page | None:
    """Write all that matches as CSV, page by page as it is read."""

    async def read(before: int | None, count: int) -> list[AuditEntry]:
        return await audit_log.page(database, tenant, wanted, before=before, limit=count)

    return await write(path, AUDIT_COLUMNS, pages(read, lambda row: row.seq), entry_csv)
