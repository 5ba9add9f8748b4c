"""Shapes of webhook endpoints, deliveries and attempts."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.fields import In, MomentIn, Out
from db.webhook_endpoint.delivery import Tried
from domain.webhook_endpoint import Attempt, Delivery, DeliveryStatus, Endpoint, EndpointStatus
from domain.webhook_url import LENGTH_MAX

Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LENGTH_MAX,
        description="https, at a name or a public address; without a user, and without a `#`",
        examples=["https://shop.example/webhooks"],
    ),
]
Types = Annotated[
    list[Annotated[str, Field(max_length=60)]],
    Field(max_length=100, description="only these; empty: all", examples=[["payment.succeeded"]]),
]


class WebhookEndpointIn(In):
    url: Url
    types: Types = Field(default_factory=list)


class WebhookEndpointPatch(In):
    """A change; a field that is left out stays as it is."""

    url: Url | None = None
    types: Types | None = None
    status: Literal["ENABLED", "DISABLED"] | None = None


class ReplayIn(In):
    since: MomentIn = Field(description="what has happened from this moment on", examples=["2026-11-20T00:00:00Z"])


class WebhookEndpointOut(Out):
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: str
    url: str
    types: list[str] = Field(description="empty: all")
    status: EndpointStatus
    disabled_because: str | None = Field(description="`asked`, `gone` (it answered 410), `failing` (for five days)")
    failures: int = Field(description="in a row; from 5 on it gets a probe a minute")
    failing_since: datetime | None
    old_secret_until: datetime | None = Field(description="so long the secret of before signs as well")
    created_at: datetime


class WebhookEndpointWithSecret(WebhookEndpointOut):
    secret: str | None = Field(
        description="`whsec_…`, told this once; null where the request is replayed under its key"
    )


class WebhookEndpointList(Out):
    object: Literal["list"] = "list"
    data: list[WebhookEndpointOut]


class WebhookDeliveryOut(Out):
    object: Literal["webhook_delivery"] = "webhook_delivery"
    id: str
    endpoint_id: str
    event_id: str
    type: str
    object_id: str
    status: DeliveryStatus
    attempts: int = Field(description="since it was first, or again, to be sent")
    next_attempt_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None


class WebhookAttemptOut(Out):
    """One try. `response`: the first 2 KB of the answer."""

    n: int
    at: datetime
    address: str | None
    status_code: int | None
    latency_ms: int
    error: str | None
    response: str | None


class WebhookDeliveryDetail(WebhookDeliveryOut):
    tries: list[WebhookAttemptOut]


class WebhookDeliveryList(Out):
    object: Literal["list"] = "list"
    data: list[WebhookDeliveryOut]
    next_cursor: str | None


class WebhookReplayOut(Out):
    object: Literal["webhook_replay"] = "webhook_replay"
    endpoint_id: str
    deliveries: int = Field(description="that are sent now")


def endpoint_out(row: Endpoint) -> WebhookEndpointOut:
    return WebhookEndpointOut(**_of(row, WebhookEndpointOut))


def endpoint_with_secret(row: Endpoint, secret: str | None) -> WebhookEndpointWithSecret:
    return WebhookEndpointWithSecret(**_of(row, WebhookEndpointOut), secret=secret)


def delivery_out(row: Delivery) -> WebhookDeliveryOut:
    """The time of the next attempt while there is to be one."""
    return WebhookDeliveryOut(**_delivery(row))


def delivery_detail(found: Tried) -> WebhookDeliveryDetail:
    return WebhookDeliveryDetail(**_delivery(found.delivery), tries=[_attempt(one) for one in found.attempts])


def _delivery(row: Delivery) -> dict[str, object]:
    shown = _of(row, WebhookDeliveryOut)
    return shown if row.status is DeliveryStatus.PENDING else shown | {"next_attempt_at": None}


def _attempt(row: Attempt) -> WebhookAttemptOut:
    return WebhookAttemptOut(**row.model_dump())


def _of(row: Endpoint | Delivery, shape: type[Out]) -> dict[str, object]:
    return row.model_dump(include=set(shape.model_fields))
