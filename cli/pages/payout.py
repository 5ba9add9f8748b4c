"""Pages about payouts: one, the lists of payouts and of runs; and what one pays, as CSV."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from cli import documents
from cli.connection import ANYBODY
from cli.files import write
from cli.nouns import as_json
from cli.pages import format as look
from cli.pages.page import Page
from cli.pages.task import task_card
from config.settings import Settings
from db import task
from db.core.database import Database
from db.payout import payout, request
from db.payout import run as payout_run
from db.payout.record import Call, Payout, PayoutItem, PayoutRun, PayoutTransition
from domain.ids import payout_workflow_id
from domain.money import to_major
from domain.statement import words
from domain.status import PayoutStatus
from services import payout as payouts
from services.pages import pages
from services.tables import ITEM_COLUMNS, PAYOUT_COLUMNS, item_csv, payout_csv

_ITEMS = 50


async def payouts_page(
    database: Database, *, tenant: str | None, seller: str | None, status: PayoutStatus | None, limit: int
) -> Page:
    """The newest first."""
    wanted = status.value if status else None
    rows = await database.read(lambda c: payout.page(c, tenant, seller_account=seller, status=wanted, limit=limit))
    page = _table(rows)
    if not rows:
        page = look.text(("No payouts." if wanted is None else f"No payouts are {wanted}.", "dim"))
    elif len(rows) == limit:
        page = Group(page, look.text((f"The newest {limit}; --limit shows more.", "dim")))
    return Page(page, lambda: documents.payouts(rows))


def _table(rows: Sequence[Payout]) -> RenderableType:
    table = look.table("payout", "created (UTC)", "amount", "status")
    for row in rows:
        made = f"run of {row.business_date}" if row.business_date else f"by {row.actor}"
        which = look.ids(row.id, f"to {row.seller_account} of {row.tenant_id}, {made}")
        amount = look.amount(row.amount, row.currency)
        table.add_row(which, look.time(row.created_at), amount, look.because(row.status, _note(row)))
    return table


def _note(row: Payout) -> str:
    if row.failure is not None:
        return look.failure(row.failure)
    if row.cancel_requested and not row.ended:
        return "is being cancelled"
    return f"arrives {row.arrival_at:%Y-%m-%d}" if row.arrival_at and row.status is PayoutStatus.IN_TRANSIT else ""


async def payout_page(settings: Settings, database: Database, payout_id: str) -> Page:
    """From the rows alone: it can be read also while no worker runs."""
    found = await payouts.shown(database, (await payouts.find(database, ANYBODY, payout_id)).id)
    row = found.row
    calls = await database.read(lambda c: payout.calls(c, row.id))
    items = await database.read(lambda c: request.items(c, row.id, limit=_ITEMS + 1))
    tasks = await database.read(lambda c: task.open_tasks(c, object_id=row.id))
    page = Group(
        look.text((row.id, "bold"), "  ", look.status(row.status), "  ", look.amount(row.amount, row.currency)),
        _facts(settings, row, found.trace_id),
        *look.section("Waiting for a person", Group(*map(task_card, tasks)) if tasks else None),
        *look.section("At the PSP (UTC)", _calls(calls)),
        *look.section("What happened (UTC)", _steps(found.transitions)),
        *look.section("What it pays", _items(row.id, items)),
    )
    return Page(page, lambda: documents.payout_with_tasks(found, tasks))


def _facts(settings: Settings, row: Payout, trace_id: str | None) -> RenderableType:
    facts = look.facts()
    facts.add_row("seller", f"{row.seller_account} of {row.tenant_id}")
    facts.add_row("to", f"{row.destination} at {row.psp}")
    facts.add_row("asked by", row.actor)
    facts.add_row("created", look.time(row.created_at))
    if row.reference or row.transfer_reference:
        facts.add_row("at the PSP", "\n".join(map(look.psp_id, filter(None, (row.transfer_reference, row.reference)))))
    if row.arrival_at:
        facts.add_row("at the bank", f"{row.arrival_at:%Y-%m-%d}, as the PSP expects")
    if trace_id:
        facts.add_row("trace id", f"{trace_id}, by which the bank knows it")
    if row.failure:
        facts.add_row("why", look.failure(row.failure))
    if row.cancel_requested_at:
        facts.add_row("cancel", f"asked for by {row.cancel_requested_by} at {look.time(row.cancel_requested_at)}")
    if row.cancel_failure:
        facts.add_row("", f"refused: {row.cancel_failure.message}")
    if row.unknown_count:
        facts.add_row("", f"{row.unknown_count} answers could not be trusted")
    if not row.ended:
        facts.add_row("next look", look.time(row.next_check_at))
    workflow_id = payout_workflow_id(row.id)
    facts.add_row("workflow", workflow_id)
    if settings.temporal_ui_url:
        path = f"namespaces/{settings.temporal_namespace}/workflows/{workflow_id.replace(':', '%3A')}"
        facts.add_row("", look.text((f"{settings.temporal_ui_url}/{path}", "cyan")))
    return facts


def _calls(calls: Sequence[Call]) -> RenderableType:
    table = look.table("call", "made", "outcome", "reference", "key", "")
    for call in calls:
        until = "" if call.outcome not in (None, "UNKNOWN") else f"may be sent until {look.time(call.send_until)}"
        name = call.call.value if call.attempt == 1 else f"{call.call} {call.attempt}"
        outcome = call.outcome or "no outcome is known"
        why = look.failure(call.failure) or until
        reference = look.psp_id(call.reference) if call.reference else "–"
        table.add_row(name, look.clock(call.created_at), outcome, reference, call.key, why)
    return table


def _steps(steps: Sequence[PayoutTransition]) -> RenderableType:
    table = look.table("at", "became", "because")
    for step in steps:
        table.add_row(look.time(step.at), look.status(step.to_status), step.reason)
    return table


def _items(payout_id: str, items: Sequence[PayoutItem]) -> RenderableType:
    table = look.table("what", "order", "amount", "")
    for item in items[:_ITEMS]:
        order = look.ids(item.order_id, item.payment_order_id or "") if item.order_id else look.text(item.source_id)
        whole = item.posting_amount
        part = f"of {to_major(whole, item.currency)}" if whole != item.amount else ""
        note = ", ".join(filter(None, (part, "given back" if item.returned else "")))
        table.add_row(words(item.kind), order, look.amount(item.amount, item.currency), note)
    if len(items) <= _ITEMS:
        return table
    return Group(table, look.typed(f"The first {_ITEMS}; `paysaga payouts items {payout_id}` writes all of them."))


async def write_items(database: Database, payout_id: str, path: Path) -> Page | None:
    """As CSV, page by page; the amounts add up to the payout's."""
    row = await payouts.find(database, ANYBODY, payout_id)

    async def read(after: int | None, count: int) -> list[PayoutItem]:
        return await database.read(lambda c: request.items(c, row.id, after=after or 0, limit=count))

    found = pages(read, lambda item: item.posting_seq)
    if as_json() and str(path) == "-":
        return Page("", lambda: documents.payout_items(row, found))
    return await write(path, ITEM_COLUMNS, found, item_csv)


async def write_payouts(
    database: Database, path: Path, *, tenant: str | None, seller: str | None, status: PayoutStatus | None
) -> Page | None:
    """As CSV, page by page."""
    wanted = status.value if status else None

    async def read(before: int | None, count: int) -> list[Payout]:
        return await database.read(
            lambda c: payout.page(c, tenant, seller_account=seller, status=wanted, before=before, limit=count)
        )

    return await write(path, PAYOUT_COLUMNS, pages(read, lambda row: row.seq), payout_csv)


async def runs_page(database: Database, *, limit: int) -> Page:
    """The latest date first."""
    runs = await database.read(lambda c: payout_run.page(c, limit=limit))
    return Page(_runs(runs), lambda: documents.payout_runs(runs))


def _runs(runs: Sequence[PayoutRun]) -> RenderableType:
    if not runs:
        return look.typed("No payouts were ever run: a schedule does it each day, `paysaga payouts run` does it now.")
    table = look.table("date", "run", "by", "began (UTC)", "ended (UTC)", "payouts")
    for run in runs:
        counts = [f"{run.statuses[status]} {status}" for status in PayoutStatus if status in run.statuses]
        ended = look.time(run.ended_at) if run.ended_at else look.text(("runs", "cyan"))
        began = look.time(run.started_at)
        table.add_row(str(run.business_date), run.id, run.actor, began, ended, ", ".join(counts) or "none")
    return table
