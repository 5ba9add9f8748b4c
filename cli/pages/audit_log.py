"""The audit log, as a table, CSV or JSON lines."""

import json
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from cli.files import write
from cli.pages import format as look
from db.audit_log import AuditEntry, Wanted
from db.core.database import Database
from services import audit_log
from services.audit_log import AUDIT_COLUMNS, entry_csv, entry_json
from services.pages import pages


async def audit_log_page(database: Database, tenant: str | None, wanted: Wanted, *, limit: int) -> RenderableType:
    rows = await audit_log.page(database, tenant, wanted, limit=limit)
    if not rows:
        return Text("Nothing of this kind was done.", "dim")
    table = look.table("at (UTC)", "who", "did", "to")
    for row in rows:
        who = look.ids(row.key or row.actor, row.address or "")
        what = look.ids(row.action, _detail(row))
        table.add_row(look.time(row.at), who, what, look.ids(row.object_id, row.tenant_id))
    more = [Text(f"The newest {limit}; --limit shows more, --csv all.", "dim")] if len(rows) == limit else []
    return Group(table, *more)


def _detail(row: AuditEntry) -> str:
    said = (
        f"{name} {v if isinstance(v, str) else json.dumps(v)}" for name, v in row.detail.items() if v not in ("", None)
    )
    return ", ".join(said)


async def write_audit_log(
    database: Database, tenant: str | None, wanted: Wanted, path: Path, *, as_json: bool
) -> RenderableType | None:
    """Write all that matches, page by page as it is read."""

    async def read(before: int | None, count: int) -> list[AuditEntry]:
        return await audit_log.page(database, tenant, wanted, before=before, limit=count)

    found = pages(read, lambda row: row.seq)
    return await write(path, None if as_json else AUDIT_COLUMNS, found, entry_json if as_json else entry_csv)
