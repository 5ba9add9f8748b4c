"""The documents of webhooks to shops that `--json` prints, in the shapes of the HTTP API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.documents import Json, of_tenant

if TYPE_CHECKING:
    from db.webhook_endpoint.delivery import Tried
    from domain.webhook_endpoint import Delivery, Endpoint
    from services.webhook_endpoint import WithSecret


async def endpoint(row: "Endpoint") -> Json:
    from api.webhook_endpoint.shapes import endpoint_out

    return of_tenant(row.tenant_id, endpoint_out(row))


async def endpoints(rows: "Sequence[Endpoint]") -> Json:
    return {"object": "list", "data": [await endpoint(row) for row in rows]}


async def endpoint_with_secret(made: "WithSecret") -> Json:
    """The secret is told this once."""
    from api.webhook_endpoint.shapes import endpoint_with_secret as with_secret

    return of_tenant(made.endpoint.tenant_id, with_secret(made.endpoint, made.secret))


async def delivery(row: "Delivery") -> Json:
    from api.webhook_endpoint.shapes import delivery_out

    return of_tenant(row.tenant_id, delivery_out(row))


async def deliveries(rows: "Sequence[Delivery]") -> Json:
    return {"object": "list", "data": [await delivery(row) for row in rows]}


async def delivery_with_attempts(found: "Tried") -> Json:
    from api.webhook_endpoint.shapes import delivery_detail

    return of_tenant(found.delivery.tenant_id, delivery_detail(found))
