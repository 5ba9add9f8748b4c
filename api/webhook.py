"""`/webhooks/{psp}`: verify the raw body, store it under its event id, answer, then tell whoever has to hear of it."""

import structlog
from fastapi import APIRouter, Request, Response

from activities.sweep import deliver
from api.context import ServicesOf
from api.problems import PROBLEMS
from db import webhook
from domain.errors import BadRequest, NotFound, Unavailable
from domain.psp import WebhookRejected

router = APIRouter(tags=["webhooks"])
log = structlog.get_logger("paysaga.webhook")


@router.post("/webhooks/{psp}", responses=PROBLEMS, summary="For the PSP alone")
async def receive_webhook(psp: str, request: Request, services: ServicesOf) -> Response:
    """200 once it is stored, also for a duplicate, an unknown type and an unknown object; 400 when it cannot be
    trusted; 503 when it cannot be stored, so that the PSP sends it again."""
    gateway = services.psps.get(psp)
    if gateway is None:
        raise NotFound("There is no such PSP.", code="psp_not_found")
    try:
        event = gateway.read_webhook(await request.body(), {k.lower(): v for k, v in request.headers.items()})
    except WebhookRejected as error:
        raise BadRequest(str(error), code=error.code) from error
    stored = await services.database.run(lambda c: webhook.store(c, psp, event))
    try:
        await deliver(services.database, services.starter, stored)
    except Unavailable:
        log.warning("webhook_delivery_delayed", event_id=event.event_id)  # the sweeper delivers it
    return Response('{"received":true}', media_type="application/json")
