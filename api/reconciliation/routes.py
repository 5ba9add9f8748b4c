"""`/v1/reconciliations`: compare what the PSP or the bank lists with our records and books; settlement files; what a
run found, as pages of items, as a log and as a page for people."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from temporalio.service import RPCError

from api import examples
from api.context import (
    IdempotencyKey,
    ReconciliationReader,
    ReconciliationWriter,
    RuntimeOf,
    UploadsOf,
    keyed,
)
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.paths import parameter
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.reconciliation import page as reconciliation_page
from api.reconciliation.log import LOG_COLUMNS, log_csv, log_json
from api.reconciliation.schemas import (
    ReconciliationDetail,
    ReconciliationIn,
    ReconciliationItemList,
    ReconciliationList,
    ReconciliationLogEntry,
    SettlementFileOut,
)
from api.reconciliation.views import file_out, item_out, run_detail, run_out
from api.strict import StrictRoute, UnsupportedMediaType
from db.api_key import Principal
from db.core import idempotency
from db.core.database import LockTimeout
from db.core.idempotency import Claim
from db.reconciliation import file as reconciliation_file
from db.reconciliation import log as reconciliation_log
from db.reconciliation import report as reconciliation_report
from db.reconciliation import run as reconciliation
from db.reconciliation.log import Entry
from db.reconciliation.report import Summary
from db.schema.base import PLATFORM_TENANT
from domain.card_data import require_text
from domain.errors import BadRequest, Conflict, Forbidden, NotFound, Unavailable, Unprocessable
from domain.ids import CLIENT_ID, new_id
from domain.reconciliation.reconciliation import LineClass, NewRun, RunStatus, Source, Subject
from domain.statement import csv_line
from runtime.runs import start_stored_reconciliation
from runtime.wiring import Runtime

router = APIRouter(prefix="/v1/reconciliations", tags=["reconciliation"], route_class=StrictRoute)

ONE = "/" + parameter("reconciliation_id", but="files")
RunId = Annotated[str, Path(description="`rec_…`", examples=["rec_01kafm6e8x7f5h9k3n1p4r6t8w"])]

HEADERS: dict[str, Any] = {
    "Location": {"description": "where to ask again", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if the key was seen before: this is the run of then, in its present state",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
_ENDED = (RunStatus.COMPLETED, RunStatus.FAILED)
_START_TIMEOUT_S = 5.0


def answer(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(by_alias=True), status, headers, "application/json")


# --- running ---


@router.post(
    "",
    response_model=ReconciliationDetail,
    status_code=202,
    responses={**WRITE_PROBLEMS, 202: {"description": "Stored, and under way", "headers": HEADERS}},
    summary="Reconcile",
)
async def create_reconciliation(
    request: Request,
    body: Annotated[ReconciliationIn, Body(openapi_examples=examples.RECONCILIATIONS)],
    who: ReconciliationWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
) -> Response:
    """Copies the other side's lines, matches them with our records and the ledger, and says what differs and why.
    Unless `apply` is true nothing is changed but that discrepancies are written down. Where several tenants share the
    PSP account a tenant's file is 403 `account_shared`: what it says would be about all of them."""
    new = _new_run(runtime, who, body, new_id("rec"), datetime.now(UTC))
    hash_ = keyed(request, key, body).hash

    async def once(connection: Any) -> Claim:
        claim = await idempotency.claim(connection, who.tenant_id, key, hash_, new.key)
        if not claim.replayed:
            if body.by_file:
                await _require_alone(connection, who)
            await _open(connection, new)
        return claim

    try:
        claim = await runtime.database.run(once)
    except LockTimeout as error:
        raise idempotency.in_progress(error) from error
    row = await runtime.database.read(lambda c: reconciliation.get(c, claim.object_id))
    await _start(runtime, row)
    headers = {"Location": f"/v1/reconciliations/{row['id']}"}
    return await _shown(runtime, who, row, 202, headers | ({"Idempotent-Replayed": "true"} if claim.replayed else {}))


def _new_run(runtime: Runtime, who: Principal, body: ReconciliationIn, run_id: str, now: datetime) -> NewRun:
    """Raises Unprocessable `window_in_the_future`."""
    since, until = body.since, body.until
    if body.business_date is not None:
        zone = ZoneInfo(runtime.settings.business_zone)
        since = datetime.combine(body.business_date, time(), zone)
        until = datetime.combine(body.business_date + timedelta(days=1), time(), zone)
    if since is not None and since > now:
        raise Unprocessable("The window begins in the future.", code="window_in_the_future")
    return NewRun(
        key=run_id,
        tenant_id=who.tenant_id,
        psp=runtime.psp.name,
        subject=Subject(body.subject),
        source=Source.FILE if body.by_file else Source.API,
        file_id=body.file_id,
        window_from=since,
        window_to=until,
        business_date=body.business_date,
        margin_s=runtime.settings.reconcile_margin_s,
        apply=body.apply,
        by=who.key_id,
        at=now,
    )


async def _require_alone(connection: Any, who: Principal) -> None:
    """A file's words are its sender's: where others share the account, they would open and fix what is the others'."""
    shown = await reconciliation.tenants_shown(connection, who.tenant_id)
    if shown is not None and PLATFORM_TENANT not in shown:
        detail = "Several tenants share this PSP account: its operator reconciles files, with `paysaga reconcile run`."
        raise Forbidden(detail, code="account_shared")


async def _open(connection: Any, new: NewRun) -> None:
    try:
        await reconciliation.open_run(connection, new, new.key)
    except KeyError as error:
        raise Unprocessable("There is no such file of this kind.", code="file_unknown") from error


async def _start(runtime: Runtime, row: dict[str, Any]) -> None:
    """Started again under the same key, it is followed. Raises Unavailable: it is stored, and the same request under
    the same key starts it, or the sweeper."""
    if row["status"] in _ENDED:
        return
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await start_stored_reconciliation(runtime.temporal, runtime.settings, row)
    except (RPCError, TimeoutError) as error:
        detail = "Temporal does not answer; the run is stored, and will be started: the same request starts it too."
        raise Unavailable(detail) from error


# --- files ---

_MEDIA_TYPES = {Subject.PSP: ("text/csv",), Subject.BANK: ("application/xml", "text/xml")}
_NAME_MAX = 200
FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "examples": {"stripe": {"summary": "Stripe's itemized report", "value": examples.SETTLEMENT_FILE}},
            },
            "application/xml": {
                "examples": {"camt": {"summary": "camt.053", "value": examples.BANK_STATEMENT}},
            },
        },
    }
}
"""Without a schema: a file is any bytes, and what is wrong with them is said by the run that reads them."""


@router.post(
    "/files",
    response_model=SettlementFileOut,
    status_code=201,
    responses={
        **WRITE_PROBLEMS,
        200: {"model": SettlementFileOut, "description": "These bytes were here already: the same file"},
        201: {"description": "Stored"},
    },
    openapi_extra=FILE_BODY,
    summary="Upload a settlement file or bank statement",
)
async def upload_settlement_file(
    request: Request,
    who: ReconciliationWriter,
    runtime: RuntimeOf,
    uploads: UploadsOf,
    kind: Annotated[Subject, Query(description="whose lines it has", examples=["psp"])],
    name: Annotated[
        str, Query(min_length=1, max_length=_NAME_MAX, description="as people know it", examples=["november.csv"])
    ],
) -> Response:
    """The file itself is the body: Stripe's itemized balance report as `text/csv`, or a bank's camt.053 statement as
    `application/xml`. It is read when a run uses it. Sending it again is the same file, whatever its name."""
    if not name.isprintable():
        raise Unprocessable("A name is printable.", code="text_invalid")
    require_text(name)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES[kind]:
        raise UnsupportedMediaType(f"A file of the kind {kind.value} is {' or '.join(_MEDIA_TYPES[kind])}.")
    with uploads.place():
        try:
            file_id, new = await reconciliation_file.store(
                runtime.database, who.tenant_id, kind, name, who.key_id, _content(request)
            )
        except ClientDisconnect as error:
            raise BadRequest("The file did not arrive whole.", code="body_incomplete") from error
    row = await runtime.database.read(lambda c: reconciliation_file.find(c, who.tenant_id, file_id))
    assert row is not None, "it was stored a moment ago"
    return answer(file_out(row), 201 if new else 200)


async def _content(request: Request) -> AsyncIterator[bytes]:
    """Raises BadRequest `body_empty`."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        yield chunk
    if not size:
        raise BadRequest("The body is empty.", code="body_empty")


# --- reading ---


@router.get("", response_model=ReconciliationList, responses=READ_PROBLEMS, summary="List the reconciliations")
async def list_reconciliations(
    who: ReconciliationReader,
    runtime: RuntimeOf,
    subject: Annotated[Subject | None, Query(examples=["psp"])] = None,
    status: Annotated[RunStatus | None, Query(examples=["COMPLETED"])] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Newest first, scheduled ones included."""
    position = decode("reconciliation", cursor)

    async def page(connection: Any) -> list[dict[str, Any]]:
        rows = await reconciliation.page(
            connection,
            who.tenant_id,
            subject=subject,
            status=status.value if status else None,
            before=int(position) if position else None,
            limit=limit + 1,
        )
        return [await reconciliation_report.brief(connection, row, who.tenant_id) for row in rows]

    rows = await runtime.database.read(page)
    following = encode("reconciliation", rows[limit - 1]["seq"]) if len(rows) > limit else None
    return answer(ReconciliationList(data=[run_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(ONE, response_model=ReconciliationDetail, responses=READ_PROBLEMS, summary="Show a run")
async def show_reconciliation(reconciliation_id: RunId, who: ReconciliationReader, runtime: RuntimeOf) -> Response:
    """Where it stands; once it is matched, what is of which class, and the totals of both sides by currency."""
    return await _shown(runtime, who, await _find(runtime, who, reconciliation_id))


async def _find(runtime: Runtime, who: Principal, run_id: str) -> dict[str, Any]:
    known = CLIENT_ID.fullmatch(run_id) is not None
    row = await runtime.database.read(lambda c: reconciliation.find(c, who.tenant_id, run_id)) if known else None
    if row is None:
        raise NotFound("There is no such reconciliation.", code="reconciliation_not_found")
    return row


async def _summary(runtime: Runtime, who: Principal, row: dict[str, Any]) -> Summary | None:
    """None before it is matched."""
    if row["matched_at"] is None:
        return None
    return await reconciliation_report.summary(runtime.database, row, who.tenant_id, datetime.now(UTC))


async def _shown(
    runtime: Runtime,
    who: Principal,
    row: dict[str, Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    told = await runtime.database.read(lambda c: reconciliation_report.brief(c, row, who.tenant_id))
    return answer(run_detail(told, await _summary(runtime, who, row)), status, headers)


@router.get(
    f"{ONE}/items",
    response_model=ReconciliationItemList,
    responses=READ_PROBLEMS,
    summary="List what was not plainly matched",
)
async def list_reconciliation_items(
    reconciliation_id: RunId,
    who: ReconciliationReader,
    runtime: RuntimeOf,
    cls: Annotated[
        LineClass | None, Query(alias="class", description="left out: all classes", examples=["missing_here"])
    ] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Each line or record that our own reference did not match to the last cent, with what each side says. What was
    matched by another name has the class `matched`."""
    row = await _find(runtime, who, reconciliation_id)
    after = int(decode("reconciliation_item", cursor) or 0)
    rows = await runtime.database.read(
        lambda c: reconciliation.items(
            c, who.tenant_id, row["id"], cls=cls.value if cls else None, after=after, limit=limit + 1
        )
    )
    following = encode("reconciliation_item", rows[limit - 1]["seq"]) if len(rows) > limit else None
    return answer(ReconciliationItemList(data=[item_out(item) for item in rows[:limit]], next_cursor=following))


# --- the log ---

_CSV, _JSON_LINES = "text/csv", "application/jsonl"
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
    who: ReconciliationReader,
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
    row = await _find(runtime, who, reconciliation_id)
    _require_matched(row)
    shown = await reconciliation_log.view(runtime.database, row, who.tenant_id)
    entries = reconciliation_log.entries(runtime.database, row, shown)
    as_json = form == "jsonl" or (form is None and _JSON_LINES in accept.lower() and _CSV not in accept.lower())
    write, head = (log_json, "") if as_json else (log_csv, csv_line(LOG_COLUMNS))
    name = f"reconciliation-{row['id']}.{'jsonl' if as_json else 'csv'}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_written(head, entries, write), 200, headers, _JSON_LINES if as_json else _CSV)


def _require_matched(row: dict[str, Any]) -> None:
    if row["matched_at"] is None:
        why = f"It FAILED: {row['failure']}" if row["status"] == RunStatus.FAILED else f"It is {row['status']}."
        raise Conflict(why, code="reconciliation_not_matched")


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
async def show_reconciliation_report(
    reconciliation_id: RunId, who: ReconciliationReader, runtime: RuntimeOf
) -> Response:
    """What was compared, how much of it fits, the totals of both sides, what is open and until when, and what was
    settled. It can be printed. `paysaga reconcile report` writes the same page to a file."""
    row = await _find(runtime, who, reconciliation_id)
    told = await runtime.database.read(lambda c: reconciliation_report.brief(c, row, who.tenant_id))
    summary = await _summary(runtime, who, row)
    page = reconciliation_page.render(told, summary, datetime.now(UTC), log_link="log?format=csv")
    return Response(page, 200, reconciliation_page.HEADERS, "text/html; charset=utf-8")
