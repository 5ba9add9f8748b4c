"""`/webhooks/{psp}`: events of a PSP, signed by it."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

from api.context import RuntimeOf
from api.problems import problems
from services import webhook

router = APIRouter(tags=["webhooks"])


class Received(BaseModel):
    received: bool = True


@router.post(
    "/webhooks/{psp}",
    response_model=Received,
    responses=problems(400, 404, 413, 503),
    summary="An event of a PSP, signed by it",
)
async def receive_webhook(
    psp: Annotated[str, Path(examples=["stripe"])], request: Request, runtime: RuntimeOf
) -> Response:
    """200 once it is stored, also for a duplicate, an unknown type and an unknown object; 400 when it cannot be
    trusted; 503 when it cannot be stored, so that the PSP sends it again."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    await webhook.receive(runtime, psp, await request.body(), headers)
    return Response(Received().model_dump_json(), media_type="application/json")
