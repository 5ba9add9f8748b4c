"""`/v1/discrepancies`: what differs between the PSP or the bank and us, and what is decided about it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response

from activities.reconciliation_fix import Fixer, Refused
from api import examples
from api.context import IdempotencyKey, ReconciliationReader, ReconciliationWriter, RuntimeOf, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.reconciliation.routes import HEADERS, answer
from api.reconciliation.schemas import DiscrepancyDetail, DiscrepancyList, DiscrepancyResolveIn
from api.reconciliation.views import discrepancy_detail, discrepancy_out
from api.strict import StrictRoute
from db.api_key import Principal
from db.core import idempotency
from db.core.database import LockTimeout
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import report as reconciliation_report
from domain.errors import Conflict, NotFound
from domain.ids import CLIENT_ID
from domain.reconciliation.reconciliation import Decision, DiscrepancyStatus, LineClass, ResolveStep
from runtime.wiring import Runtime

router = APIRouter(prefix="/v1/discrepancies", tags=["reconciliation"], route_class=StrictRoute)

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
            who.tenant_id,
            status=status.value if status else None,
            cls=cls.value if cls else None,
            overdue_at=now if overdue else None,
            before=int(position) if position else None,
            limit=limit + 1,
        )
    )
    following = encode("discrepancy", rows[limit - 1]["seq"]) if len(rows) > limit else None
    return answer(DiscrepancyList(data=[discrepancy_out(row, now) for row in rows[:limit]], next_cursor=following))


@router.get(
    "/{discrepancy_id}", response_model=DiscrepancyDetail, responses=READ_PROBLEMS, summary="Show a discrepancy"
)
async def show_discrepancy(discrepancy_id: DiscrepancyId, who: ReconciliationReader, runtime: RuntimeOf) -> Response:
    """What each side says and why it is a break, what is proposed, what can be decided, and what each run saw."""
    return await _shown(runtime, await _find(runtime, who, discrepancy_id))


async def _find(runtime: Runtime, who: Principal, discrepancy_id: str) -> dict[str, Any]:
    known = CLIENT_ID.fullmatch(discrepancy_id) is not None
    row = await runtime.database.read(lambda c: discrepancies.find(c, who.tenant_id, discrepancy_id)) if known else None
    if row is None:
        raise NotFound("There is no such discrepancy.", code="discrepancy_not_found")
    return row


async def _shown(runtime: Runtime, row: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    seen = await runtime.database.read(lambda c: reconciliation_report.history(c, row["id"]))
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
    row = await _find(runtime, who, discrepancy_id)
    step = ResolveStep(
        discrepancy_id=row["id"],
        decision=Decision(body.decision),
        by=who.key_id,
        note=body.note,
        at=datetime.now(UTC),
    )
    try:
        replayed = await _decide(runtime, who, step, key, keyed(request, key, body).hash)
    except LockTimeout as error:
        raise idempotency.in_progress(error) from error
    except Conflict as error:
        raise await _by_whom(runtime, who, error, row["id"]) from error
    headers = {"Location": f"/v1/discrepancies/{row['id']}"} | ({"Idempotent-Replayed": "true"} if replayed else {})
    return await _shown(runtime, await _find(runtime, who, discrepancy_id), headers)


async def _decide(runtime: Runtime, who: Principal, step: ResolveStep, key: str, hash_: bytes) -> bool:
    """The key commits with the decision. Whether this is a replay; a fix that was not carried out then, is now: twice
    is as once."""
    apply = step.decision is Decision.APPLY_FIX

    async def once(connection: Any) -> bool:
        claim = await idempotency.claim(connection, who.tenant_id, key, hash_, step.discrepancy_id)
        if claim.replayed:
            return True
        if apply:
            row = await discrepancies.check(connection, step, who.tenant_id)
            await discrepancies.audit(connection, row, step, None)
        else:
            await discrepancies.resolve(connection, step, who.tenant_id)
        return False

    replayed = await runtime.database.run(once)
    if apply:
        row = await runtime.database.read(lambda c: discrepancies.get(c, step.discrepancy_id))
        if row["status"] == DiscrepancyStatus.OPEN and not (replayed and row["fix_asked_at"]):
            await _fix(runtime, row, step)
    return replayed


async def _fix(runtime: Runtime, row: dict[str, Any], step: ResolveStep) -> None:
    try:
        await Fixer(runtime.database, runtime.workflow_client).fix(row, step.at, by=step.by, note=step.note or None)
    except Refused as error:
        raise Conflict(f"The fix does not fit any more: {error}.", code="fix_refused") from error


async def _by_whom(runtime: Runtime, who: Principal, error: Conflict, discrepancy_id: str) -> Conflict:
    """A second decision is told of the first."""
    if error.code != "discrepancy_closed":
        return error
    row = await runtime.database.read(lambda c: discrepancies.find(c, who.tenant_id, discrepancy_id))
    if row is None or row["resolved_at"] is None:
        return error
    when = row["resolved_at"].isoformat()
    return Conflict(
        error.detail,
        code=error.code,
        resolved_by=row["resolved_by"],
        resolved_at=when,
        resolution=row["resolution"],
    )
