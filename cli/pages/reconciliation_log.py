"""The log and the report of a run, written to files."""

import asyncio
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cli.files import opened, written
from cli.refusals import refusals
from db.core.database import Database
from db.reconciliation import log as logs
from domain.statement import csv_line
from services.reconciliation import report_page
from services.reconciliation import run as reconciliation
from services.reconciliation.log_file import LOG_COLUMNS, log_csv, log_json


async def write_log(database: Database, run_id: str, path: Path, *, as_json: bool = False) -> RenderableType | None:
    """Write a run's log as CSV or JSON lines, line by line as it is read."""
    with refusals(run_id):
        row = await reconciliation.find(database, None, run_id)
        reconciliation.require_matched(row)
    return written(path, await _write_log(database, row, path, as_json=as_json))


async def _write_log(database: Database, row: dict[str, Any], path: Path, *, as_json: bool = False) -> int:
    shown = await logs.view(database, row, None)
    lines = 0
    with opened(path) as file:
        if not as_json:
            file.write(csv_line(LOG_COLUMNS))
        async for entry in logs.entries(database, row, shown):
            file.write(log_json(entry) if as_json else log_csv(entry))
            lines += 1
    return lines


async def write_report(database: Database, run_id: str, path: Path, *, open_it: bool) -> RenderableType:
    """Write a run's report as a page, and the log beside it, which the page links to."""
    with refusals(run_id):
        row = await reconciliation.find(database, None, run_id)
    now, log = datetime.now(UTC), path.with_suffix(".csv")
    summary = await reconciliation.summary(database, None, row)
    link = log.name if summary is not None else None
    if link is not None:
        await _write_log(database, row, log)
    with opened(path) as file:
        file.write(report_page.render(row, summary, now, log_link=link))
    if open_it and not await asyncio.to_thread(_browse, path):
        return Text(f"{path} is written; no browser could be opened.", "yellow")
    return Text(f"{path} is written" + (f", and its log is {log}." if link else "."))


def _browse(path: Path) -> bool:
    return webbrowser.open(path.absolute().as_uri())
