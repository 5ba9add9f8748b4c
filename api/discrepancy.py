"""`/v1/discrepancies`: what differs between the PSP or the bank and us, and what is decided about it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Body, Path, Query, Request, Response
from pydantic import Field

from api import examples
from api.access import ReconciliationReader, ReconciliationWriter, caller, tenant_of
from api.context import IdempotencyKey, RuntimeOf, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.fields import In, Out
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.reconciliation.routes import HEADERS, answer
from api.reconciliation.shapes import Named, Sides, sides_of
from api.routing import Router
from api.strict import StrictRoute
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import report as reports
from db.reconciliation.report import Seen
from domain.limits import Note
from domain.reconciliation.discrepancy import Discrepancy, allowed_decisions
from domain.reconciliation.reconciliation import (
    Decision,
    DiscrepancyStatus,
    Fix,
    LineClass,
    MatchedBy,
    Subject,
    shown,
)
from runtime.wiring import Runtime
from services import discrepancy


class DiscrepancyOut(Named):
    """A break between the other side and us: one, however many runs find it."""

    id: str = Field(examples=["disc_01kafm6e8x7f5h9k3n1p4r6t8w"])
    object: Literal["discrepancy"] = "discrepancy"
    psp: str
    subject: Subject
    cls: LineClass = Field(alias="class")
    kind: str
    status: DiscrepancyStatus
    reason: str = Field(examples=["The PSP lists 490.00 INR for ch_…, and we booked 500.00 INR."])
    object_id: str | None
    payment_id: str | None
    record_status: str | None
    line_reference: str | None
    matched_by: MatchedBy | None
    sides: Sides
    difference: str | None = Field(description="what is there, less what the ledger says")
    currency: str | None
    occurred_at: datetime | None
    due_at: datetime | None = Field(description="a person is called when it is open after this")
    overdue: bool
    proposed_fix: Fix | None
    fix_asked_at: datetime | None
    first_run_id: str
    last_run_id: str
    resolution: str | None
    note: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    ledger_transaction_id: str | None = Field(description="what was booked to settle it")
    opened_at: datetime


class DiscrepancySeen(Named):
    """A discrepancy as one run saw it."""

    run_id: str
    at: datetime
    cls: LineClass = Field(alias="class")
    reason: str


class DiscrepancyDetail(DiscrepancyOut):
    allowed_decisions: list[Decision]
    history: list[DiscrepancySeen] = Field(description="the latest first")


class DiscrepancyList(Out):
    object: Literal["list"] = "list"
    data: list[DiscrepancyOut]
    next_cursor: str | None


class DiscrepancyResolveIn(In):
    decision: Literal["apply_fix", "adjust", "to_suspense", "accept"] = Field(
        description="apply_fix: do what is proposed. adjust: book the difference against `adjustments`. to_suspense: "
        "hold money that came for nobody. accept: book nothing, and the note says why."
    )
    note: Note = Field(default="", examples=["Stripe confirmed by mail, ticket 4711"])


def discrepancy_out(row: Discrepancy, at: datetime) -> DiscrepancyOut:
    return DiscrepancyOut(**_discrepancy(row, at))


def discrepancy_detail(row: Discrepancy, seen: Sequence[Seen], at: datetime) -> DiscrepancyDetail:
    history = [DiscrepancySeen(**s._asdict()) for s in seen]
    return DiscrepancyDetail(**_discrepancy(row, at), allowed_decisions=allowed_decisions(row), history=history)


def _discrepancy(row: Discrepancy, at: datetime) -> dict[str, Any]:
    same = (
        "id", "psp", "subject", "kind", "status", "reason", "object_id", "payment_id", "record_status",
        "line_reference", "currency", "occurred_at", "due_at", "fix_asked_at", "first_run_id", "last_run_id",
        "resolution", "note", "resolved_by", "resolved_at", "ledger_transaction_id", "opened_at",
    )  # fmt: skip
    return {name: getattr(row, name) for name in same} | {
        "cls": row.cls,
        "matched_by": row.how,
        "sides": sides_of(row),
        "difference": shown(row.difference, row.currency),
        "overdue": row.overdue(at),
        "proposed_fix": row.fix if row.open else None,
    }


# --- routes ---

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
