"""`/v1/disputes`: what a buyer's bank claims back, and the evidence against it."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response

from api import examples
from api.context import DisputesReader, DisputesWriter, IdempotencyKey, RuntimeOf, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.payment import load
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.schemas.dispute import DisputeDetail, DisputeList, EvidenceIn
from api.strict import StrictRoute
from api.views.dispute import dispute_detail, dispute_out
from db.api_key import Principal
from db.core import idempotency
from db.core.database import LockTimeout
from db.dispute import dispute
from db.dispute.dispute import NewEvidence
from db.dispute.record import Dispute
from domain.errors import NotFound, Unavailable
from domain.ids import CLIENT_ID, new_id
from domain.status import DisputeStatus
from runtime.wiring import Runtime

router = APIRouter(prefix="/v1", tags=["disputes"], route_class=StrictRoute)

DisputeId = Annotated[str, Path(description="`dp_…`", examples=["dp_01kafm6e8q9v7s2c4n0b8k6h3j"])]


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
    rows = await runtime.database.read(
        lambda c: dispute.page(
            c,
            who.tenant_id,
            status=status.value if status else None,
            before=int(position) if position else None,
            limit=limit + 1,
        )
    )
    following = encode("dispute", rows[limit - 1]["seq"]) if len(rows) > limit else None
    shown = DisputeList(data=[dispute_out(Dispute(**row)) for row in rows[:limit]], next_cursor=following)
    return Response(shown.model_dump_json(), media_type="application/json")


@router.get("/disputes/{dispute_id}", response_model=DisputeDetail, responses=READ_PROBLEMS, summary="Show a dispute")
async def show_dispute(dispute_id: DisputeId, who: DisputesReader, runtime: RuntimeOf) -> Response:
    """Where it stands, until when evidence can be submitted, and what was."""
    return await _shown(runtime, await _find(runtime, who, dispute_id))


async def _find(runtime: Runtime, who: Principal, dispute_id: str) -> Dispute:
    known = CLIENT_ID.fullmatch(dispute_id) is not None
    found = await runtime.database.read(lambda c: dispute.find(c, who.tenant_id, dispute_id)) if known else None
    if found is None:
        raise NotFound("There is no such dispute.", code="dispute_not_found")
    return found


async def _shown(runtime: Runtime, row: Dispute, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    evidence = await runtime.database.read(lambda c: dispute.evidence_of(c, row.id))
    return Response(dispute_detail(row, evidence).model_dump_json(), status, headers, "application/json")


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
    row = await _find(runtime, who, dispute_id)
    evidence_id = new_id("dpe")
    plain = json.dumps(body.fields, ensure_ascii=False)
    new = NewEvidence(
        id=evidence_id,
        fields=runtime.keyring.encrypt(plain, bound_to=f"{evidence_id}:fields"),
        field_names=sorted(body.fields),
        actor=who.key_id,
    )
    hash_ = keyed(request, key, body).hash
    now = datetime.now(UTC)

    async def once(connection: Any) -> bool:
        claim = await idempotency.claim(connection, who.tenant_id, key, hash_, new.id)
        if not claim.replayed:
            await dispute.store_evidence(connection, row.id, new, now)
        return claim.replayed

    try:
        replayed = await runtime.database.run(once)
    except LockTimeout as error:
        raise idempotency.in_progress(error) from error
    with contextlib.suppress(Unavailable):  # it is stored: the workflow finds it at its next look
        await runtime.workflow_client.start_dispute(await load(runtime, row.payment_id), row.id)
    headers = {"Location": f"/v1/disputes/{row.id}"} | ({"Idempotent-Replayed": "true"} if replayed else {})
    return await _shown(runtime, await _find(runtime, who, dispute_id), 202, headers)
