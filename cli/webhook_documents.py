"""The documents of webhooks to shops that `--json` prints, in the shapes of the HTTP API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from db.webhook_endpoint.delivery import Tried
    from domain.webhook_endpoint import Delivery, Endpoint
    from services.webhook_endpoint import WithSecret

Json = dict[str, object]


def _of(tenant_id: str, shape: BaseModel) -> Json:
    return {"tenant_id": tenant_id, **shape.model_dump(mode="json")}


async def endpoint(row: "Endpoint") -> Json:
    from api.webhook_endpoint.shapes import endpoint_out

    return _of(row.tenant_id, endpoint_out(row))


async def endpoints(rows: "Sequence[Endpoint]") -> Json:
    return {"object": "list", "data": [await endpoint(row) for row in rows]}


async def endpoint_with_secret(made: "WithSecret") -> Json:
    """The secret is told this once."""
    from api.webhook_endpoint.shapes import endpoint_with_secret as with_secret

    return _of(made.endpoint.tenant_id, with_secret(made.endpoint, made.secret))


async def delivery(row: "Delivery") -> Json:
    from api.webhook_endpoint.shapes import delivery_out

    return _of(row.tenant_id, delivery_out(row))


async def deliveries(rows: "Sequence[Delivery]") -> Json:
    return {"object": "list", "data": [await delivery(row) for row in rows]}


async def delivery_with_attempts(found: "Tried") -> Json:
    from api.webhook_endpoint.shapes import delivery_detail

    return _of(found.delivery.tenant_id, delivery_detail(found))
