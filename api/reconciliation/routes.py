"""`/v1/reconciliations`: compare what the PSP or the bank lists with our records and books."""

from typing import Annotated, Any

from fastapi import Body, Path, Query, Request, Response
from pydantic import BaseModel

from api import examples
from api.access import ReconciliationReader, ReconciliationWriter, caller, tenant_of
from api.context import IdempotencyKey, RuntimeOf, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.paths import parameter
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.reconciliation.shapes import (
    ReconciliationDetail,
    ReconciliationIn,
    ReconciliationItemList,
    ReconciliationList,
    item_out,
    run_detail,
    run_out,
)
from api.routing import Router
from api.strict import StrictRoute
from db.reconciliation import report as reports
from db.reconciliation import run as runs
from domain.access import Principal
from domain.reconciliation.reconciliation import LineClass, RunStatus, Subject
from runtime.wiring import Runtime
from services.reconciliation import run as reconciliation

router = Router(prefix="/v1/reconciliations", tags=["reconciliation"], route_class=StrictRoute)

ONE = "/" + parameter("reconciliation_id", but="files")
RunId = Annotated[str, Path(description="`rec_…`", examples=["rec_01kafm6e8x7f5h9k3n1p4r6t8w"])]

HEADERS: dict[str, Any] = {
    "Location": {"description": "where to ask again", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if the key was seen before: this is the run of then, in its present state",
        "schema": {"type": "string", "enum": ["true"]},
    },
}


def answer(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A shape as JSON, its members by the contract's names."""
    return Response(model.model_dump_json(by_alias=True), status, headers, "application/json")


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
    request_ = keyed(request, key, body)
    started = await reconciliation.start(runtime, caller(who), body.wanted, request=request_)
    headers = {"Location": f"/v1/reconciliations/{started.row['id']}"}
    if started.replayed:
        headers["Idempotent-Replayed"] = "true"
    return await _shown(runtime, who, started.row, 202, headers)


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
        rows = await runs.page(
            connection,
            tenant_of(who),
            subject=subject,
            status=status.value if status else None,
            before=int(position) if position else None,
            limit=limit + 1,
        )
        return await reports.briefs(connection, rows, tenant_of(who))

    rows = await runtime.database.read(page)
    following = encode("reconciliation", rows[limit - 1]["seq"]) if len(rows) > limit else None
    return answer(ReconciliationList(data=[run_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(ONE, response_model=ReconciliationDetail, responses=READ_PROBLEMS, summary="Show a run")
async def show_reconciliation(reconciliation_id: RunId, who: ReconciliationReader, runtime: RuntimeOf) -> Response:
    """Where it stands; once it is matched, what is of which class, and the totals of both sides by currency."""
    return await _shown(runtime, who, await reconciliation.find(runtime.database, tenant_of(who), reconciliation_id))


async def _shown(
    runtime: Runtime,
    who: Principal,
    row: dict[str, Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    told = await runtime.database.read(lambda c: reports.brief(c, row, tenant_of(who)))
    return answer(
        run_detail(told, await reconciliation.summary(runtime.database, tenant_of(who), row)), status, headers
    )


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
    row = await reconciliation.find(runtime.reports, tenant_of(who), reconciliation_id)
    after = int(decode("reconciliation_item", cursor) or 0)
    rows = await runtime.reports.read(
        lambda c: runs.items(c, tenant_of(who), row["id"], cls=cls.value if cls else None, after=after, limit=limit + 1)
    )
    following = encode("reconciliation_item", rows[limit - 1].seq) if len(rows) > limit else None
    return answer(ReconciliationItemList(data=[item_out(item) for item in rows[:limit]], next_cursor=following))
