"""The page of API keys."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from db import api_key
from db.api_key import ApiKey
from db.core.database import Database
from db.people.reseal import MOVED
from domain.access import TENANT_SCOPES
from services.keyring import Rotated


async def keys_page(database: Database) -> Page:
    """All of them, without their secrets."""
    rows = await database.read(api_key.every)
    return Page(_table(rows), lambda: documents.keys(rows))


def created(key_id: str, tenant: str, secret: str) -> RenderableType:
    """The page of a new key, with its secret."""
    return _with_secret(f"{key_id} for {tenant}. Its secret is shown now and never again:", secret)


def rotated(key_id: str, old: str, hours: int, secret: str) -> RenderableType:
    """The page of a key that replaces another, with its secret."""
    words = f"{key_id} replaces {old}, which goes on for {hours} h. Its secret is shown now and never again:"
    return _with_secret(words, secret)


def _with_secret(words: str, secret: str) -> RenderableType:
    return Group(look.text(words), look.whole((secret, "bold green")))


def ring_rotated(made: Rotated) -> RenderableType:
    """The page of encryption keys after everything was encrypted again."""
    table = look.table("column", "encrypted again", "under which keys now", right=("encrypted again",))
    for name, count in made.done.items():
        keys = ", ".join(f"{key} ({rows:,})" for key, rows in sorted(made.in_use[name].items()))
        table.add_row(name, f"{count:,}", keys or "the keys of people" if name in MOVED else keys or "nothing stored")
    words = f"Nothing in PostgreSQL is under an older key than {made.current}."
    if made.left:
        counts = ", ".join(f"{count:,} under {key}" for key, count in sorted(made.left.items()))
        words = f"Not done: {counts}. Restart what still has the older key in front, then run this again."
    return Group(table, "", look.text(words), look.text(_HISTORIES))


_HISTORIES = (
    "Drop an older key once the payments that began under it have left Temporal: its histories stay under the key they "
    "were written with until the namespace's retention has passed."
)


def _state(row: ApiKey, now: datetime) -> tuple[str, str]:
    """Words and their colour."""
    if row.revoked_at is not None:
        return f"revoked {look.time(row.revoked_at)}", "red"
    if row.expires_at is not None and row.expires_at <= now:
        return f"expired {look.time(row.expires_at)}", "red"
    if row.expires_at is not None:
        return f"until {look.time(row.expires_at)}", "yellow"
    return "active", "green"


def _table(rows: Sequence[ApiKey]) -> RenderableType:
    if not rows:
        words = "There are no API keys: `paysaga keys create --tenant shop --name backend` makes one."
        return look.typed(words)
    table = look.table("key", "tenant", "name", "role or scopes", "created (UTC)", "last used")
    now = datetime.now(UTC)
    for row in rows:
        name = look.text(row.id, "\n", f"{row.prefix}… " if row.prefix else "", _state(row, now))
        used = look.time(row.last_used_at) if row.last_used_at else "never"
        table.add_row(name, row.tenant_id, row.name, _may(row), look.time(row.created_at), used)
    return table


def _may(row: ApiKey) -> str:
    if row.role is not None:
        return f"{row.role} {row.seller_account}" if row.seller_account else row.role
    whole = set(row.scopes) >= TENANT_SCOPES
    return ", ".join(["all", *sorted(set(row.scopes) - TENANT_SCOPES)] if whole else row.scopes)
