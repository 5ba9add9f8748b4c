"""`/v1/reconciliations/{id}/log` and `…/report`: a run's log as a file, and its report as a page for people."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Header, Query, Response
from fastapi.responses import StreamingResponse

from api.context import RuntimeOf
from api.problems import READ_PROBLEMS
from api.reconciliation.link import PageRoute, ReportReader
from api.reconciliation.routes import ONE, RunId
from api.routing import Router
from api.tables import MEDIA_TYPES, chosen
from db.reconciliation import log as logs
from db.reconciliation import report as reports
from db.reconciliation.log import Entry
from domain.statement import csv_line
from services.reconciliation import report_page
from services.reconciliation import run as reconciliation
from services.reconciliation.log_file import LOG_COLUMNS, ReconciliationLogEntry, log_csv, log_json

router = Router(prefix="/v1/reconciliations", tags=["reconciliation"], route_class=PageRoute)

_CSV, _JSON_LINES = MEDIA_TYPES["csv"], MEDIA_TYPES["jsonl"]
_BATCH = 500
"""Entries that are sent at once."""


@router.get(
    f"{ONE}/log",
    response_model=ReconciliationLogEntry,
    responses=READ_PROBLEMS
    | {
        200: {
            "content": {
                _CSV: {"schema": {"type": "string"}, "example": csv_line(LOG_COLUMNS)},
                _JSON_LINES: {"schema": {"type": "string"}},
            },
            "description": "as CSV, or where `format=jsonl` or `Accept: application/jsonl` asks for it, as JSON lines",
        },
        409: READ_PROBLEMS[404] | {"description": "Not matched yet, or FAILED"},
    },
    response_class=StreamingResponse,
    summary="The whole log of a run",
)
async def show_reconciliation_log(
    reconciliation_id: RunId,
    reader: ReportReader,
    runtime: RuntimeOf,
    form: Annotated[
        Literal["csv", "jsonl"] | None,
        Query(alias="format", description="left out, `Accept` decides", examples=["csv"]),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = _CSV,
) -> Response:
    """Every line with its class, the name it was matched by, our ids, the amounts of the three sides, and why; then
    every record of ours that has no line. It is sent as it is read, however long it is. Where others share the PSP
    account it has what is yours, without what our own reference matched plainly."""
    row = await reconciliation.find(runtime.reports, reader.tenant_id, reconciliation_id)
    reconciliation.require_matched(row)
    shown = await logs.view(runtime.reports, row, reader.tenant_id)
    entries = logs.entries(runtime.reports, row, shown)
    as_json = chosen(form, accept, ("csv", "jsonl")) == "jsonl"
    write, head = (log_json, "") if as_json else (log_csv, csv_line(LOG_COLUMNS))
    name = f"reconciliation-{row['id']}.{'jsonl' if as_json else 'csv'}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_written(head, entries, write), 200, headers, _JSON_LINES if as_json else _CSV)


async def _written(head: str, entries: AsyncIterator[Entry], write: Callable[[Entry], str]) -> AsyncIterator[str]:
    held = [head] if head else []
    async for entry in entries:
        held.append(write(entry))
        if len(held) >= _BATCH:
            yield "".join(held)
            held = []
    yield "".join(held)


# --- the page ---


@router.get(
    f"{ONE}/report",
    responses=READ_PROBLEMS
    | {
        200: {
            "content": {"text/html": {"schema": {"type": "string"}}},
            "description": "HTML without scripts, which loads nothing",
        }
    },
    response_class=Response,
    summary="The report of a run, for people",
)
async def show_reconciliation_report(reconciliation_id: RunId, reader: ReportReader, runtime: RuntimeOf) -> Response:
    """The window that was compared, how much of it fits, the totals of both sides, what is open and until when,
    what was settled. It can be printed. `paysaga reconcile report ID` writes the same page to a file, and prints a link
    that opens this one in a browser, without a key, for a day."""
    row = await reconciliation.find(runtime.reports, reader.tenant_id, reconciliation_id)
    told = await runtime.reports.read(lambda c: reports.brief(c, row, reader.tenant_id))
    summary = await reconciliation.summary(runtime.reports, reader.tenant_id, row)
    log = replace(reader.link, path=f"{reader.link.path.removesuffix('report')}log")
    log_link = f"log?format=csv&{log.query(runtime.keyring)}"  # followed in a browser, which has no key either
    page = report_page.render(told, summary, datetime.now(UTC), log_link=log_link)
    return Response(page, 200, report_page.HEADERS, "text/html; charset=utf-8")
