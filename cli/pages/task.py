"""Pages of what waits for a person, and of what a person does about it."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.hints import hint
from cli.pages import format as look
from cli.pages.dead_letter import pointer
from cli.pages.page import Page
from db import dead_letter, task
from db.core.database import Database
from db.payment.record import Payment
from db.task import Task


async def tasks_section(database: Database, row: Payment) -> list[RenderableType]:
    """The questions about a payment that wait for a person."""
    tasks = await database.read(lambda c: task.open_tasks(c, payment_id=row.id))
    return look.section("Waiting for a person", Group(*map(task_card, tasks)) if tasks else None)


def task_card(row: Task) -> RenderableType:
    """One task, with the command that answers it."""
    card = look.facts()
    card.add_row(row.kind, (row.detail.removeprefix(f"{row.kind}: "), "magenta"))
    card.add_row("", (f"{row.id}, since {look.time(row.opened_at)}", "dim"))
    return Group(card, look.typed(f"→ {hint(row)}", "cyan"))


async def tasks_page(database: Database) -> Page:
    """The oldest first, each with what a person does about it."""
    rows = await database.read(task.open_tasks)
    letters = pointer(await database.read(lambda c: dead_letter.counts(c, None)))
    shown = _cards(rows) if rows or letters is None else look.text("No task waits for a person.")
    return Page(Group(shown, *([] if letters is None else [letters])), lambda: documents.tasks(rows))


def _cards(rows: Sequence[Task]) -> RenderableType:
    if not rows:
        return look.text(("Nothing waits for a person.", "green"))
    parts: list[RenderableType] = []
    for row in rows:
        about = row.payment_id or row.object_id or "–"
        parts.append(look.text((about, "bold"), (f"  of {row.tenant_id}", "dim")))
        parts += [task_card(row), ""]
    count = f"{len(rows)} task{'s wait' if len(rows) > 1 else ' waits'} for a person."
    first = next((row.payment_id for row in rows if row.payment_id), None)
    explains = f" `paysaga payments show {first}` explains the first payment's." if first else ""
    return Group(*parts, look.typed(count + explains))
