"""`/v1/reconciliations/files`: settlement files and bank statements, which runs read."""

from typing import Annotated, Any

from fastapi import Query, Request, Response
from starlette.requests import ClientDisconnect

from api import examples
from api.access import ReconciliationWriter, caller
from api.context import RuntimeOf
from api.problems import WRITE_PROBLEMS
from api.reconciliation.routes import answer
from api.reconciliation.shapes import SettlementFileOut, file_out
from api.routing import Router
from api.strict import StreamRoute, UnsupportedMediaType
from domain.errors import BadRequest
from domain.reconciliation.reconciliation import Subject
from services.reconciliation import run as reconciliation

router = Router(prefix="/v1/reconciliations/files", tags=["reconciliation"], route_class=StreamRoute)

_MEDIA_TYPES = {
    Subject.PSP: ("text/csv", "application/zip"),
    Subject.BANK: ("application/xml", "text/xml", "application/zip"),
}
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
    "",
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
    kind: Annotated[Subject, Query(description="whose lines it has", examples=["psp"])],
    name: Annotated[
        str, Query(min_length=1, max_length=200, description="as people know it", examples=["november.csv"])
    ],
) -> Response:
    """The file itself is the body: Stripe's itemized balance report as `text/csv`, or a bank's camt.053 statement as
    `application/xml`, or either in an `application/zip`. It is read when a run uses it. Sending it
    again is the same file, whatever its name."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES[kind]:
        raise UnsupportedMediaType(f"A file of the kind {kind.value} is {' or '.join(_MEDIA_TYPES[kind])}.")
    try:
        row, new = await reconciliation.upload(runtime, caller(who), kind, name, request.stream())
    except ClientDisconnect as error:
        raise BadRequest("The file did not arrive whole.", code="body_incomplete") from error
    return answer(file_out(row), 201 if new else 200)
