"""A run that is started at the terminal, and followed to its end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from temporalio.client import WorkflowFailureError

from cli.pages import format as look
from cli.pages.page import Page
from cli.pages.reconciliation import run_page
from cli.refusals import refusals
from db.core.database import Database
from db.reconciliation import run as runs
from domain.reconciliation.reconciliation import ReconciliationReport, RunStatus, Subject
from embedded.errors import StackError
from runtime.wiring import Runtime
from services.command import Caller
from services.reconciliation import run as reconciliation
from services.reconciliation.run import Started, Wanted

_LOOK_S = 0.2
_READ_BYTES = 1_000_000


async def run_now(
    runtime: Runtime, console: Console, caller: Caller, wanted: Wanted, file: Path | None
) -> tuple[Page, int]:
    """Start it and follow it to its end: the page of what it found, and how many of its discrepancies are open. Without
    a day, a window and a file it is about yesterday. Raises StackError for what cannot be run, or FAILED."""
    if file is None and wanted.since is None and wanted.business_date is None:
        day = reconciliation.yesterday(runtime.settings.business_zone, datetime.now(UTC))
        wanted = replace(wanted, business_date=day)
    with refusals("The run"):
        started = await _started(runtime, caller, wanted, file)
    assert started.workflow is not None, "it was stored just now, and has not ended"
    run_id = started.row["id"]
    console.print(f"{run_id} runs; it goes on also if you leave with Ctrl-C.", style="dim")
    await _followed(runtime.database, console, run_id, asyncio.ensure_future(started.workflow.result()))
    row = await runtime.database.read(lambda c: runs.get(c, run_id))
    if row["status"] == RunStatus.FAILED:
        raise StackError(f"{run_id} could not be carried out: {row['failure']}. Nothing was judged.")
    page = await run_page(runtime.database, run_id)
    summary = await reconciliation.summary(runtime.database, None, row)
    assert summary is not None, "it is COMPLETED"
    count = summary.open_count
    sentence = look.text(f"{count} open." if count else "Nothing of it is open.")
    return replace(page, shown=Group(page.shown, sentence)), count


def subject_of_path(file: Path | None) -> Subject:
    """The side whose lines a file has, by its content. Raises StackError for one that cannot be read."""
    if file is None:
        return Subject.PSP
    with _opened(file) as opened:
        return reconciliation.subject_of(opened)


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise StackError(f"{file} cannot be read: {error.strerror}.") from error


async def _started(runtime: Runtime, caller: Caller, wanted: Wanted, file: Path | None) -> Started:
    if file is None:
        return await reconciliation.start(runtime, caller, wanted)
    with _opened(file) as opened:
        return await reconciliation.start_over_file(runtime, caller, wanted, file.name, _content(opened))


async def _content(file: BinaryIO) -> AsyncIterator[bytes]:
    while part := await asyncio.to_thread(file.read, _READ_BYTES):
        yield part


async def _followed(
    database: Database, console: Console, run_id: str, result: "asyncio.Future[ReconciliationReport]"
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("copying lines", total=None, note="")
        while not result.done():
            await asyncio.wait({result}, timeout=_LOOK_S)
            _draw(bar, line, await database.read(lambda c: runs.get(c, run_id)))
    try:
        result.result()
    except WorkflowFailureError as error:
        raise StackError(f"{run_id} has failed: {error.cause}. See it in the Temporal UI.") from error


def _draw(bar: Progress, line: TaskID, row: dict[str, Any]) -> None:
    """Show how far a run is: how many lines there will be is not known before they are here."""
    copied = f"{row['lines']:,} lines"
    if row["matched_at"] is not None:
        bar.update(line, description="settling what is safe", total=3, completed=2, note=copied)
    elif row["staged_at"] is not None:
        bar.update(line, description="matching", total=3, completed=1, note=copied)
    else:
        bar.update(line, note=copied)
