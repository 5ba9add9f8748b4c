"""`/v1/discrepancies`: what differs between the PSP or the bank and us, and what is decided about it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Body, Path, Query, Request, Response

from api import examples
from api.access import ReconciliationReader, ReconciliationWriter, caller, tenant_of
from api.context import IdempotencyKey, RuntimeOf, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.discrepancy.shapes import (
    DiscrepancyDetail,
    DiscrepancyList,
    DiscrepancyResolveIn,
    discrepancy_detail,
    discrepancy_out,
)
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.reconciliation.routes import HEADERS, answer
from api.routing import Router
from api.strict import StrictRoute
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import report as reports
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.reconciliation import Decision, DiscrepancyStatus, LineClass
from runtime.wiring import Runtime
from services import discrepancy

router = Router(prefix="/v1/discrepancies", tags=["reconciliation"], route_class=StrictRoute)

DiscrepancyId = Annotated[str, Path(description="`disc_…`", examples=["disc_01kafm6e8x7f5h9k3n1p4r6t8w"])]


@router.get("", response_model=DiscrepancyList, responses=READ_PROBLEMS, summary="List the discrepancies")
async def list_discrepancies(
    who: ReconciliationReader,
    runtime: RuntimeOf,
    status: Annotated[DiscrepancyStatus | None, Query(examples=["OPEN"])] = None,
    cls: Annotated[LineClass | None, Query(alias="class", examples=["missing_here"])] = None,
    overdue: Annotated[bool, Query(description="only what is open past its `due_at`", examples=[False])] = False,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Newest first, of all runs: the same break is one, however many runs find it."""
    position, now = decode("discrepancy", cursor), datetime.now(UTC)
    rows = await runtime.database.read(
        lambda c: discrepancies.page(
            c,
            tenant_of(who),
            status=status.value if status else None,
            cls=cls.value if cls else None,
            overdue_at=now if overdue else None,
            before=int(position) if position else None,
            limit=limit + 1,
        )
    )
    following = encode("discrepancy", rows[limit - 1].seq) if len(rows) > limit else None
    return answer(DiscrepancyList(data=[discrepancy_out(row, now) for row in rows[:limit]], next_cursor=following))


@router.get(
    "/{discrepancy_id}", response_model=DiscrepancyDetail, responses=READ_PROBLEMS, summary="Show a discrepancy"
)
async def show_discrepancy(discrepancy_id: DiscrepancyId, who: ReconciliationReader, runtime: RuntimeOf) -> Response:
    """Each side of a break and its reason, what is proposed, what can be decided, and what each run saw."""
    return await _shown(runtime, await discrepancy.find(runtime.database, tenant_of(who), discrepancy_id))


async def _shown(runtime: Runtime, row: Discrepancy, headers: dict[str, str] | None = None) -> Response:
    seen = await runtime.database.read(lambda c: reports.history(c, row.id))
    return answer(discrepancy_detail(row, seen, datetime.now(UTC)), headers=headers)


@router.post(
    "/{discrepancy_id}/resolve",
    response_model=DiscrepancyDetail,
    responses={**WRITE_PROBLEMS, 200: {"description": "Decided", "headers": HEADERS}},
    summary="Decide about a discrepancy",
)
async def resolve_discrepancy(
    request: Request,
    discrepancy_id: DiscrepancyId,
    body: Annotated[DiscrepancyResolveIn, Body(openapi_examples=examples.RESOLUTIONS)],
    who: ReconciliationWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
) -> Response:
    """Once: a second decision is 409 `discrepancy_closed` and says who decided and when. One that does not fit is 422
    `decision_not_allowed` and names those that do. After `apply_fix` that asks a workflow it stays OPEN until the fact
    is there."""
    decided = await discrepancy.resolve(
        runtime.database,
        runtime.workflow_client,
        caller(who),
        discrepancy_id,
        Decision(body.decision),
        body.note,
        request=keyed(request, key, body),
    )
    headers = {"Location": f"/v1/discrepancies/{decided.row.id}"}
    if decided.replayed:
        headers["Idempotent-Replayed"] = "true"
    return await _shown(runtime, decided.row, headers)
