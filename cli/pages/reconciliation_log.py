"""The log and the report of a run, written to files."""

import asyncio
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from cli import documents
from cli.connection import keyring_of
from cli.files import Unwritable, opened, written
from cli.pages import format as look
from cli.pages.page import Page, as_line
from cli.refusals import refusals
from config.settings import Settings
from db.core.database import Database
from db.reconciliation import log as logs
from db.reconciliation import report as reports
from domain.statement import csv_line
from embedded.ports import local_url
from services.reconciliation import report_page
from services.reconciliation import run as reconciliation
from services.reconciliation.log_file import LOG_COLUMNS, log_csv, log_json
from services.signed_link import SignedLink


async def write_log(database: Database, run_id: str, path: Path, *, as_json: bool = False) -> Page | None:
    """Write a run's log as CSV or JSON lines, line by line as it is read."""
    with refusals(run_id):
        row = await reconciliation.find(database, None, run_id)
        reconciliation.require_matched(row)
    return written(path, await _write_log(database, row, path, as_json=as_json))


async def _write_log(
    database: Database, row: dict[str, Any], path: Path, *, as_json: bool = False, tenant: str | None = None
) -> int:
    shown = await logs.view(database, row, tenant)
    lines = 0
    with opened(path) as file:
        if not as_json:
            file.write(csv_line(LOG_COLUMNS))
        async for entry in logs.entries(database, row, shown):
            file.write(as_line(log_json(entry)) if as_json else log_csv(entry))
            lines += 1
    return lines


async def report(
    settings: Settings, database: Database, run_id: str, path: Path | None, *, tenant: str | None, open_it: bool
) -> Page:
    """Write a run's report as `write_report` does, and print a link to the same page of the API. `path` None:
    `rec_….html` here, if it can be written."""
    page, log = path or Path(f"{run_id}.html"), None
    written_to: Path | None = page
    try:
        log = await write_report(database, run_id, page, tenant=tenant)
        words = look.whole(await _written(page, log, open_it=open_it))
    except Unwritable as error:
        if path is not None:
            raise
        written_to = None
        words = look.whole((str(error), "yellow"))  # a container's folder is closed to writing: the link is left
    link = _link(settings, run_id, tenant)
    return Page(Group(words, *_shown(link)), lambda: documents.report(written_to, log, link))


async def write_report(database: Database, run_id: str, path: Path, *, tenant: str | None = None) -> Path | None:
    """Write a run's report as a page, and the log beside it, which the page links to. `tenant`: as it sees the run;
    None: all of it. Returns where the log is; a run that was not matched has none."""
    with refusals(run_id):
        row = await reconciliation.find(database, tenant, run_id)
    now, log = datetime.now(UTC), path.with_suffix(".csv")
    told = await database.read(lambda c: reports.brief(c, row, tenant))
    summary = await reconciliation.summary(database, tenant, row)
    link = log.name if summary is not None else None
    if link is not None:
        await _write_log(database, row, log, tenant=tenant)
    with opened(path) as file:
        file.write(report_page.render(told, summary, now, log_link=link))
    return log if link is not None else None


async def _written(path: Path, log: Path | None, *, open_it: bool) -> str:
    if open_it and not await asyncio.to_thread(_browse, path):
        return f"{path} is written; no browser could be opened."
    return f"{path} is written" + (f", and its log is {log}." if log else ".")


def _link(settings: Settings, run_id: str, tenant: str | None) -> str | None:
    keyring = keyring_of(settings)
    if keyring is None:
        return None
    link = SignedLink.from_now(f"/v1/reconciliations/{run_id}/report", tenant)
    api = (settings.public_url or local_url(settings.api_host, settings.api_port)).rstrip("/")
    return f"{api}{link.path}?{link.query(keyring)}"


def _shown(link: str | None) -> list[RenderableType]:
    if link is None:
        return [look.text(("No link to it can be signed: PAYSAGA_ENCRYPTION_KEYS is not set.", "yellow"))]
    return [look.text("For a day it opens in a browser too, for whoever has this link:"), look.whole((link, "cyan"))]


def _browse(path: Path) -> bool:
    return webbrowser.open(path.absolute().as_uri())
