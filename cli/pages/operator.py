"""The pages of the people who log in."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from db import operator
from db.core.database import Database
from db.operator import Operator


async def operators_page(database: Database) -> Page:
    """All of them, by tenant and name."""
    rows = await database.read(operator.every)
    return Page(_table(rows), lambda: documents.operators(rows))


def with_password(words: str, name: str, password: str) -> Page:
    """The sentence after a command, with the one-time password that it made."""
    more = "Their first login at /login, within three days, asks for this one-time password, shown now and never again:"
    shown = Group(look.text(f"{words} {more}"), look.whole((password, "bold green")))
    return Page(shown, lambda: documents.plain("operator", name=name, one_time_password=password))


def _state(row: Operator, now: datetime) -> tuple[str, str]:
    """Words and their colour."""
    if row.disabled_at is not None:
        return f"disabled {look.time(row.disabled_at)}", "red"
    if row.enrolled_at is not None:
        return "enrolled", "green"
    if row.password_ends_at is not None and row.password_ends_at <= now:
        return "one-time password expired", "red"
    return "has not enrolled yet", "yellow"


def _table(rows: Sequence[Operator]) -> RenderableType:
    if not rows:
        words = "Nobody may log in: `paysaga operators add NAME --tenant TENANT --role finance` lets somebody."
        return look.typed(words)
    table = look.table("name", "tenant", "role", "added (UTC)", "last login")
    now = datetime.now(UTC)
    for row in rows:
        name = look.text(row.name, "\n", _state(row, now))
        last = look.time(row.last_login_at) if row.last_login_at else "never"
        table.add_row(name, row.tenant_id, row.role, look.time(row.created_at), last)
    return table
