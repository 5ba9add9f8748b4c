"""What operators do about reconciliation: start a run and follow it, write its log and report, decide about what
differs. What changes something is written to the audit log."""

import asyncio
import webbrowser
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text
from temporalio.client import WorkflowFailureError

from activities.reconciliation_fix import Fixer
from api.reconciliation import page as reconciliation_page
from api.reconciliation.log import LOG_COLUMNS, log_csv, log_json
from api.reconciliation.schemas import WINDOW_DAYS_MAX
from cli.operator_ledger import opened, written
from cli.refusals import refusals
from config.settings import Settings
from db import audit_log
from db.core.database import Database
from db.reconciliation import file as reconciliation_file
from db.reconciliation import log as reconciliation_log
from db.reconciliation import report as reconciliation_report
from db.reconciliation import run as reconciliation
from db.schema.base import PLATFORM_TENANT
from domain.ids import new_id
from domain.reconciliation.reconciliation import (
    Decision,
    DiscrepancyStatus,
    NewRun,
    ReconciliationReport,
    ResolveStep,
    RunStatus,
    Source,
    Subject,
)
from domain.statement import csv_line
from embedded.errors import StackError
from runtime.runs import reconciliation_input, start_reconciliation
from runtime.wiring import Runtime

_LOOK_S = 0.2
_READ_BYTES = 1_000_000


@dataclass(frozen=True)
class Wanted:
    """A run as it was asked for; without a day, a window and a file it is about yesterday."""

    day: date | None
    since: datetime | None
    until: datetime | None
    file: Path | None
    subject: Subject | None
    apply: bool
    by: str

    @property
    def whose(self) -> Subject:
        if self.subject is not None:
            return self.subject
        return Subject.BANK if self.file is not None and self.file.suffix.lower() == ".xml" else Subject.PSP


# --- running ---


async def run_now(runtime: Runtime, console: Console, wanted: Wanted) -> int:
    """Start it and follow it to its end; print what it found. How many of its discrepancies are open. Raises
    StackError for what cannot be run, and for a run that FAILED."""
    from cli.pages.reconciliation import run_page

    new = await _new_run(runtime, wanted, datetime.now(UTC))
    await runtime.database.run(lambda c: _store(c, new))
    inp = reconciliation_input(
        runtime.settings,
        run_id=new.key,
        tenant_id=new.tenant_id,
        psp=new.psp,
        subject=new.subject,
        source=new.source,
        apply=new.apply,
        by=new.by,
    )
    handle = await start_reconciliation(runtime.temporal, inp)
    console.print(f"{new.key} runs; it goes on also if you leave with Ctrl-C.", style="dim", markup=False)
    await _followed(runtime.database, console, new.key, asyncio.ensure_future(handle.result()))
    row = await find_run(runtime.database, new.key)
    if row["status"] == RunStatus.FAILED:
        raise StackError(f"{new.key} could not be carried out: {row['failure']}. Nothing was judged.")
    console.print(await run_page(runtime.database, new.key))
    summary = await reconciliation_report.summary(runtime.database, row, None, datetime.now(UTC))
    return summary.open_count


async def _new_run(runtime: Runtime, wanted: Wanted, now: datetime) -> NewRun:
    if wanted.whose is Subject.BANK and wanted.file is None:
        raise StackError("The bank is not asked: name its statement with --file.")
    since, until, day = _window(runtime.settings, wanted, now)
    file_id = await _stored(runtime.database, wanted) if wanted.file is not None else None
    return NewRun(
        key=new_id("rec"),
        tenant_id=PLATFORM_TENANT,
        psp=runtime.psp.name,
        subject=wanted.whose,
        source=Source.API if file_id is None else Source.FILE,
        file_id=file_id,
        window_from=since,
        window_to=until,
        business_date=day,
        margin_s=runtime.settings.reconcile_margin_s,
        apply=wanted.apply,
        by=wanted.by,
        at=now,
    )


def _window(settings: Settings, wanted: Wanted, now: datetime) -> tuple[datetime | None, datetime | None, date | None]:
    """(from, to, business date); a file without any speaks of the time of its lines. Raises StackError."""
    zone = ZoneInfo(settings.business_zone)
    since, until, day = wanted.since, wanted.until, wanted.day
    if since is None and day is None and wanted.file is None:
        day = (now.astimezone(zone) - timedelta(days=1)).date()
    if day is not None:
        try:
            since = datetime.combine(day, time(), zone)
            until = datetime.combine(day + timedelta(days=1), time(), zone)
        except OverflowError as error:
            raise StackError(f"{day} is no day that anything happened on.") from error
    if since is None or until is None:
        return None, None, None
    if since >= until:
        raise StackError("--from is not before --to.")
    if since > now:
        raise StackError("The window begins in the future.")
    if until - since > timedelta(days=WINDOW_DAYS_MAX):
        raise StackError(f"A window has at most {WINDOW_DAYS_MAX} days.")
    return since, until, day


async def _stored(database: Database, wanted: Wanted) -> str:
    path = wanted.file
    assert path is not None, "there is a file"
    try:
        if not path.stat().st_size:
            raise StackError(f"{path} is empty.")
        file_id, _ = await reconciliation_file.store(
            database, PLATFORM_TENANT, wanted.whose, path.name, wanted.by, _content(path)
        )
    except OSError as error:
        raise StackError(f"{path} cannot be read: {error.strerror}.") from error
    return file_id


async def _content(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while part := await asyncio.to_thread(file.read, _READ_BYTES):
            yield part


async def _store(connection: Any, new: NewRun) -> None:
    row = await reconciliation.open_run(connection, new, new.key)
    detail = {"subject": new.subject.value, "apply": new.apply, "file": row["file_name"]}
    await audit_log.record(connection, new.tenant_id, new.by, "reconciliation.run", new.key, detail)


async def _followed(
    database: Database, console: Console, run_id: str, result: "asyncio.Future[ReconciliationReport]"
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("copying lines", total=None, note="")
        while not result.done():
            await asyncio.wait({result}, timeout=_LOOK_S)
            _draw(bar, line, await database.read(lambda c: reconciliation.get(c, run_id)))
    try:
        result.result()
    except WorkflowFailureError as error:
        raise StackError(f"{run_id} has failed: {error.cause}. See it in the Temporal UI.") from error


def _draw(bar: Progress, line: TaskID, row: dict[str, Any]) -> None:
    """How many lines there will be is not known before they are here."""
    copied = f"{row['lines']:,} lines"
    if row["matched_at"] is not None:
        bar.update(line, description="settling what is safe", total=3, completed=2, note=copied)
    elif row["staged_at"] is not None:
        bar.update(line, description="matching", total=3, completed=1, note=copied)
    else:
        bar.update(line, note=copied)


# --- reading ---


async def find_run(database: Database, run_id: str) -> dict[str, Any]:
    """Of any tenant. Raises StackError."""
    row = await database.read(lambda c: reconciliation.find(c, None, run_id)) if run_id.isprintable() else None
    if row is None:
        raise StackError(f"There is no reconciliation {run_id}: `paysaga reconcile list` names them.")
    return row


def require_matched(row: dict[str, Any]) -> None:
    """Raises StackError."""
    if row["matched_at"] is None:
        why = f": {row['failure']}" if row["failure"] else ""
        raise StackError(f"{row['id']} is {row['status']}{why}. There is nothing of it to show.")


async def write_log(database: Database, run_id: str, path: Path, *, as_json: bool = False) -> RenderableType | None:
    """As CSV or JSON lines, line by line as it is read."""
    row = await find_run(database, run_id)
    require_matched(row)
    return written(path, await _write_log(database, row, path, as_json=as_json))


async def _write_log(database: Database, row: dict[str, Any], path: Path, *, as_json: bool = False) -> int:
    shown = await reconciliation_log.view(database, row, None)
    lines = 0
    with opened(path) as file:
        if not as_json:
            file.write(csv_line(LOG_COLUMNS))
        async for entry in reconciliation_log.entries(database, row, shown):
            file.write(log_json(entry) if as_json else log_csv(entry))
            lines += 1
    return lines


async def write_report(database: Database, run_id: str, path: Path, *, open_it: bool) -> RenderableType:
    """The page, and the log beside it, which the page links to."""
    row, now = await find_run(database, run_id), datetime.now(UTC)
    summary, link, log = None, None, path.with_suffix(".csv")
    if row["matched_at"] is not None:
        summary = await reconciliation_report.summary(database, row, None, now)
        link = log.name
        await _write_log(database, row, log)
    with opened(path) as file:
        file.write(reconciliation_page.render(row, summary, now, log_link=link))
    if open_it and not await asyncio.to_thread(_browse, path):
        return Text(f"{path} is written; no browser could be opened.", "yellow")
    return Text(f"{path} is written" + (f", and its log is {log}." if link else "."))


def _browse(path: Path) -> bool:
    return webbrowser.open(path.absolute().as_uri())


# --- deciding ---


async def resolve(runtime: Runtime, discrepancy_id: str, decision: Decision, by: str, note: str) -> str:
    """Raises StackError for what the rules refuse."""
    if not discrepancy_id.isprintable():
        raise StackError("There is no such discrepancy.")
    step = ResolveStep(discrepancy_id=discrepancy_id, decision=decision, by=by, note=note, at=datetime.now(UTC))
    with refusals(discrepancy_id):
        row = await Fixer(runtime.database, runtime.workflow_client).resolve(step)
    if row["status"] == DiscrepancyStatus.OPEN:
        return f"{row['id']}: {row['fix_note']}. It closes when a run, or its fix, finds the fact."
    booked = f", booked as {row['ledger_transaction_id']}" if row["ledger_transaction_id"] else ""
    return f"{row['id']} is {row['status']}: {str(row['resolution']).replace('_', ' ')}{booked}."
