"""`/v1/webhook-endpoints`: where a shop wants its events. `/v1/webhook-deliveries`: what was sent there."""

from typing import Annotated

from fastapi import Body, Path, Query, Request, Response

from api.access import WebhooksReader, WebhooksWriter, caller, tenant_of
from api.context import HEADERS, IdempotencyKey, RuntimeOf, headers, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from api.webhook_endpoint import examples
from api.webhook_endpoint.shapes import (
    ReplayIn,
    WebhookDeliveryDetail,
    WebhookDeliveryList,
    WebhookDeliveryOut,
    WebhookEndpointIn,
    WebhookEndpointList,
    WebhookEndpointOut,
    WebhookEndpointPatch,
    WebhookEndpointWithSecret,
    WebhookReplayOut,
    delivery_detail,
    delivery_out,
    endpoint_out,
    endpoint_with_secret,
)
from domain.webhook_endpoint import DeliveryStatus, EndpointStatus
from runtime.wiring import Runtime
from services import webhook_endpoint as endpoints
from services.webhook_endpoint import Policy

router = Router(prefix="/v1", tags=["webhook endpoints"], route_class=StrictRoute)

EndpointId = Annotated[str, Path(description="`whe_…`", examples=["whe_01kb8x0000example000000000"])]
DeliveryId = Annotated[str, Path(description="`whd_…`", examples=["whd_01kb8x0000example000000000"])]
SENT = {"description": "It is sent now", "headers": HEADERS}


def _policy(runtime: Runtime) -> Policy:
    return Policy(runtime.keyring, runtime.settings.webhooks_to_loopback)


@router.post(
    "/webhook-endpoints",
    response_model=WebhookEndpointWithSecret,
    status_code=201,
    responses=WRITE_PROBLEMS,
    summary="Add an endpoint",
)
async def create_webhook_endpoint(
    body: Annotated[WebhookEndpointIn, Body(openapi_examples=examples.ENDPOINTS)],
    who: WebhooksWriter,
    runtime: RuntimeOf,
) -> Response:
    """Events are sent to it from now on, signed as [Standard Webhooks](https://www.standardwebhooks.com) with the
    `secret`, which is shown this once. A URL that leads to an address that is not public is 422 `url_refused`; a second
    endpoint of the same URL is 409 `endpoint_exists`."""
    tenant_id = tenant_of(who)
    made = await endpoints.create(runtime.database, _policy(runtime), caller(who), tenant_id, body.url, body.types)
    return json_answer(endpoint_with_secret(made.endpoint, made.secret), 201)


@router.get(
    "/webhook-endpoints", response_model=WebhookEndpointList, responses=READ_PROBLEMS, summary="List the endpoints"
)
async def list_webhook_endpoints(who: WebhooksReader, runtime: RuntimeOf) -> Response:
    """All of them, in the order in which they were added."""
    rows = await endpoints.every(runtime.database, caller(who))
    return json_answer(WebhookEndpointList(data=[endpoint_out(row) for row in rows]))


@router.get(
    "/webhook-endpoints/{endpoint_id}",
    response_model=WebhookEndpointOut,
    responses=READ_PROBLEMS,
    summary="Show an endpoint",
)
async def show_webhook_endpoint(endpoint_id: EndpointId, who: WebhooksReader, runtime: RuntimeOf) -> Response:
    """Where its events go, and how that has gone lately."""
    return json_answer(endpoint_out(await endpoints.find(runtime.database, caller(who), endpoint_id)))


@router.patch(
    "/webhook-endpoints/{endpoint_id}",
    response_model=WebhookEndpointOut,
    responses=WRITE_PROBLEMS,
    summary="Change, disable or enable",
)
async def change_webhook_endpoint(
    endpoint_id: EndpointId,
    body: Annotated[WebhookEndpointPatch, Body(openapi_examples=examples.CHANGES)],
    who: WebhooksWriter,
    runtime: RuntimeOf,
) -> Response:
    """DISABLED: what waits for it is skipped, and nothing new is kept for it. ENABLED: events go there from now on; a
    replay sends those of before."""
    status = EndpointStatus(body.status) if body.status else None
    row = await endpoints.change(
        runtime.database, _policy(runtime), caller(who), endpoint_id, url=body.url, types=body.types, status=status
    )
    return json_answer(endpoint_out(row))


@router.post(
    "/webhook-endpoints/{endpoint_id}/rotate",
    response_model=WebhookEndpointWithSecret,
    responses=WRITE_PROBLEMS,
    summary="Replace the secret",
)
async def rotate_webhook_secret(
    request: Request, endpoint_id: EndpointId, who: WebhooksWriter, runtime: RuntimeOf, key: IdempotencyKey
) -> Response:
    """For 24 hours each webhook has a signature by the old secret as well. A second rotation ends the oldest at
    once."""
    under = keyed(request, key, None)
    done = await endpoints.rotate(runtime.database, _policy(runtime), caller(who), endpoint_id, request=under)
    return json_answer(endpoint_with_secret(done.endpoint, done.secret))


@router.post(
    "/webhook-endpoints/{endpoint_id}/test",
    response_model=WebhookDeliveryOut,
    status_code=202,
    responses={**WRITE_PROBLEMS, 202: SENT},
    summary="Send a test event",
)
async def send_test_webhook(
    request: Request, endpoint_id: EndpointId, who: WebhooksWriter, runtime: RuntimeOf, key: IdempotencyKey
) -> Response:
    """One of the type `webhook_endpoint.test`, delivered as every other: ask `GET /v1/webhook-deliveries/{delivery_id}`
    what came of it."""
    done = await endpoints.send_test(runtime.database, caller(who), endpoint_id, request=keyed(request, key, None))
    sent = headers(f"/v1/webhook-deliveries/{done.row.id}", replayed=done.replayed)
    return json_answer(delivery_out(done.row), 202, sent)


@router.post(
    "/webhook-endpoints/{endpoint_id}/replay",
    response_model=WebhookReplayOut,
    status_code=202,
    responses=WRITE_PROBLEMS,
    summary="Send what was not delivered",
)
async def replay_webhooks(
    endpoint_id: EndpointId,
    body: Annotated[ReplayIn, Body(openapi_examples=examples.REPLAYS)],
    who: WebhooksWriter,
    runtime: RuntimeOf,
) -> Response:
    """All that has happened since a moment and has not reached the endpoint: given up, skipped while it was disabled,
    or from before it was there. Nothing that was delivered is sent again."""
    count = await endpoints.replay(runtime.database, caller(who), endpoint_id, body.since)
    return json_answer(WebhookReplayOut(endpoint_id=endpoint_id, deliveries=count), 202)


@router.get(
    "/webhook-endpoints/{endpoint_id}/deliveries",
    response_model=WebhookDeliveryList,
    responses=READ_PROBLEMS,
    summary="List what was sent",
)
async def list_webhook_deliveries(
    endpoint_id: EndpointId,
    who: WebhooksReader,
    runtime: RuntimeOf,
    status: Annotated[DeliveryStatus | None, Query(description="only these")] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """And what is still to be sent; the newest first."""
    before = decode("webhook_delivery", cursor)
    rows = await endpoints.deliveries(
        runtime.database, caller(who), endpoint_id, status=status, before=before, limit=limit + 1
    )
    following = encode("webhook_delivery", rows[limit - 1].id) if len(rows) > limit else None
    return json_answer(WebhookDeliveryList(data=[delivery_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(
    "/webhook-deliveries/{delivery_id}",
    response_model=WebhookDeliveryDetail,
    responses=READ_PROBLEMS,
    summary="Show a delivery and its attempts",
)
async def show_webhook_delivery(delivery_id: DeliveryId, who: WebhooksReader, runtime: RuntimeOf) -> Response:
    """Each attempt with what the receiver answered, or why there was no answer."""
    return json_answer(delivery_detail(await endpoints.show_delivery(runtime.database, caller(who), delivery_id)))


@router.post(
    "/webhook-deliveries/{delivery_id}/resend",
    response_model=WebhookDeliveryOut,
    status_code=202,
    responses={**WRITE_PROBLEMS, 202: SENT},
    summary="Send one again",
)
async def resend_webhook(
    request: Request, delivery_id: DeliveryId, who: WebhooksWriter, runtime: RuntimeOf, key: IdempotencyKey
) -> Response:
    """At once, also one that was delivered, under the same `webhook-id`; a dead one has all attempts before it
    again."""
    done = await endpoints.resend(runtime.database, caller(who), delivery_id, request=keyed(request, key, None))
    sent = headers(f"/v1/webhook-deliveries/{done.row.id}", replayed=done.replayed)
    return json_answer(delivery_out(done.row), 202, sent)
