"""`/v1/disputes`: what a buyer's bank claims back, and the evidence against it."""

from typing import Annotated

from fastapi import Body, Path, Query, Request, Response

from api import examples
from api.access import DisputesReader, DisputesWriter, caller
from api.context import IdempotencyKey, RuntimeOf, headers, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.dispute.shapes import DisputeDetail, DisputeList, EvidenceIn, dispute_detail, dispute_out
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from db.dispute import evidence
from db.dispute.record import Dispute
from domain.status import DisputeStatus
from runtime.wiring import Runtime
from services import dispute as service

router = Router(prefix="/v1", tags=["disputes"], route_class=StrictRoute)

DisputeId = Annotated[
    str, Path(description="our id, `dp_…`, or the PSP's own", examples=["dp_01kafm6e8q9v7s2c4n0b8k6h3j"])
]


@router.get("/disputes", response_model=DisputeList, responses=READ_PROBLEMS, summary="List the disputes")
async def list_disputes(
    who: DisputesReader,
    runtime: RuntimeOf,
    status: Annotated[DisputeStatus | None, Query(examples=["NEEDS_RESPONSE"])] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Newest first; by status, for those that wait for evidence."""
    position = decode("dispute", cursor)
    rows = await service.page(
        runtime.database,
        caller(who),
        status=status.value if status else None,
        before=int(position) if position else None,
        limit=limit + 1,
    )
    following = encode("dispute", rows[limit - 1].seq) if len(rows) > limit else None
    shown = DisputeList(data=[dispute_out(row) for row in rows[:limit]], next_cursor=following)
    return json_answer(shown)


@router.get("/disputes/{dispute_id}", response_model=DisputeDetail, responses=READ_PROBLEMS, summary="Show a dispute")
async def show_dispute(dispute_id: DisputeId, who: DisputesReader, runtime: RuntimeOf) -> Response:
    """Where it stands, until when evidence can be submitted, and what was."""
    return await _shown(runtime, await service.find(runtime.database, caller(who), dispute_id))


async def _shown(runtime: Runtime, row: Dispute, status: int = 200, sent: dict[str, str] | None = None) -> Response:
    pieces = await runtime.database.read(lambda c: evidence.of_dispute(c, row.id))
    return json_answer(dispute_detail(row, pieces), status, sent)


@router.post(
    "/disputes/{dispute_id}/evidence",
    response_model=DisputeDetail,
    status_code=202,
    responses=WRITE_PROBLEMS,
    summary="Submit evidence to the buyer's bank",
)
async def submit_evidence(
    request: Request,
    dispute_id: DisputeId,
    body: Annotated[EvidenceIn, Body(openapi_examples=examples.EVIDENCE)],
    who: DisputesWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
) -> Response:
    """Before `evidence_due_at`, once: the bank does not take more. It is stored encrypted, and submitted by the
    dispute's workflow; what the PSP made of it is shown with the dispute."""
    under = keyed(request, key, body)
    done = await service.submit_evidence(runtime, caller(who), dispute_id, body.fields, request=under)
    sent = headers(f"/v1/disputes/{done.dispute.id}", replayed=done.replayed)
    return await _shown(runtime, done.dispute, 202, sent)
