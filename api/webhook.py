"""`/webhooks/{psp}`: verify the raw body, store it under its event id, answer, then tell whoever has to hear of it."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

from activities.sweep import deliver
from api.context import RuntimeOf
from api.problems import problems
from db import webhook
from domain.errors import BadRequest, NotFound, Unavailable
from domain.psp import PspEvent, WebhookRejected

router = APIRouter(tags=["webhooks"])
log = structlog.get_logger("paysaga.webhook")


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
    gateway = runtime.psps.get(psp)
    if gateway is None:
        raise NotFound("There is no such PSP.", code="psp_not_found")
    try:
        event = gateway.read_webhook(await request.body(), {k.lower(): v for k, v in request.headers.items()})
    except WebhookRejected as error:
        raise BadRequest(str(error), code=error.code) from error
    event = PspEvent.model_validate(_storable(event.model_dump()))
    stored = await runtime.database.run(lambda c: webhook.store(c, psp, event))
    try:
        await deliver(runtime.database, runtime.workflow_client, stored)
    except Unavailable:
        log.warning("webhook_delivery_delayed", event_id=event.event_id)  # the sweeper delivers it
    return Response(Received().model_dump_json(), media_type="application/json")


def _storable(value: Any) -> Any:
    """The value with a replacement character for what JSONB refuses: refused, a genuine event would come for ever."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float) and value - value != 0:  # NaN and infinity are no JSON
        return None
    if isinstance(value, dict):
        return {_storable(name): _storable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
