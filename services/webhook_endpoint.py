"""Webhooks to shops: their endpoints, test events, and sending again what was not delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from db import audit_log, tenant
from db.core.keyring import Keyring
from db.webhook_endpoint import delivery, endpoint
from db.webhook_endpoint.delivery import Tried
from domain.errors import Conflict, NotFound, Unprocessable
from domain.event_types import event_types
from domain.ids import new_id
from domain.webhook_endpoint import Delivery, DeliveryStatus, Endpoint, EndpointStatus, new_secret
from domain.webhook_url import LENGTH_MAX, WebhookUrlError
from gateways.shop.target import check_target
from services import access
from services.command import Caller, Done, once

if TYPE_CHECKING:
    from db.core.database import Connection, Database
    from db.core.idempotency import Request

_REPLAY_S = 120.0


@dataclass(frozen=True)
class Policy:
    """The rules of a deployment: http://127.0.0.1 is allowed too where `loopback`."""

    keyring: Keyring
    loopback: bool


@dataclass(frozen=True)
class Sent:
    """A delivery that is to be sent. `replayed`: the key had been used before."""

    row: Delivery
    replayed: bool


@dataclass(frozen=True)
class WithSecret:
    """An endpoint with its new secret, which is told now and never again."""

    endpoint: Endpoint
    secret: str | None


def _whose(caller: Caller) -> str | None:
    """The tenant whose endpoints are reached; None: a person reaches all."""
    return None if caller.tenant_id is None else access.whole_tenant(caller)


async def create(
    database: Database, policy: Policy, caller: Caller, tenant_id: str, url: str, types: Sequence[str]
) -> WithSecret:
    """A new endpoint of a tenant, which gets the events of these types from now on; none: of all.

    Raises Unprocessable `url_refused`, `event_type_unknown`; NotFound `tenant_not_found`; Conflict `endpoint_exists`,
    `endpoints_too_many`.
    """
    await _check(policy, url, types)
    secret = new_secret()

    async def work(connection: Connection) -> Endpoint:
        if not await tenant.exists(connection, tenant_id):
            raise NotFound(f"There is no tenant {tenant_id}.", code="tenant_not_found")
        row = await endpoint.create(connection, policy.keyring, tenant_id, url, _sorted(types), secret)
        await _log(connection, caller, "create", row, url=row.url, types=list(row.types))
        return row

    return WithSecret(await database.run(work), secret)


async def every(database: Database, caller: Caller, tenant_id: str | None = None) -> list[Endpoint]:
    """The caller's endpoints, or those of a tenant that a person names."""
    whose = _whose(caller) or tenant_id
    return await database.read(lambda c: endpoint.page(c, whose))


async def find(database: Database, caller: Caller, endpoint_id: str) -> Endpoint:
    """Raises NotFound `endpoint_not_found`."""
    return await database.read(lambda c: endpoint.find(c, endpoint_id, _whose(caller)))


async def change(
    database: Database,
    policy: Policy,
    caller: Caller,
    endpoint_id: str,
    *,
    url: str | None = None,
    types: Sequence[str] | None = None,
    status: EndpointStatus | None = None,
) -> Endpoint:
    """Change what is not None; where all of it is so already, nothing is written.

    Raises NotFound `endpoint_not_found`; Unprocessable `url_refused`, `event_type_unknown`; Conflict
    `endpoint_exists`.
    """
    await _check(policy, url, types or ())

    async def work(connection: Connection) -> Endpoint:
        row = before = await endpoint.find(connection, endpoint_id, _whose(caller), lock=True)
        wanted = None if types is None else _sorted(types)
        if url not in (None, row.url) or wanted not in (None, row.types):
            row = await endpoint.change(connection, row, url=url, types=wanted)
            await _log(connection, caller, "change", row, url=row.url, types=list(row.types))
        if status not in (None, before.status):
            assert status is not None, "just looked at"
            row = await endpoint.set_status(connection, row, status, "asked")
            verb = "enable" if status is EndpointStatus.ENABLED else "disable"
            await _log(connection, caller, verb, row)
        return row

    return await database.run(work)


async def rotate(
    database: Database, policy: Policy, caller: Caller, endpoint_id: str, *, request: Request | None = None
) -> WithSecret:
    """A new secret; the old one signs as well for a day. One that was replaced before ends now. A replayed request is
    not told the secret. Raises NotFound `endpoint_not_found`."""
    secret = new_secret()

    async def work(connection: Connection) -> Endpoint:
        row = await endpoint.find(connection, endpoint_id, _whose(caller), lock=True)
        row = await endpoint.rotate(connection, policy.keyring, row, secret)
        await _log(connection, caller, "rotate", row)
        return row

    found = await find(database, caller, endpoint_id)
    done = await once(database, found.tenant_id, request, found.id, work)
    return WithSecret(found, None) if done.result is None else WithSecret(done.result, secret)


async def send_test(database: Database, caller: Caller, endpoint_id: str, *, request: Request | None = None) -> Sent:
    """Send an endpoint a test event. Raises NotFound `endpoint_not_found`, Conflict `endpoint_disabled`."""
    found, delivery_id = await find(database, caller, endpoint_id), new_id("whd")

    async def work(connection: Connection) -> None:
        row = await _enabled(connection, caller, endpoint_id)
        await delivery.add_test(connection, row, delivery_id)
        await _log(connection, caller, "test", row, delivery=delivery_id)

    return await _sent(database, await once(database, found.tenant_id, request, delivery_id, work))


async def _sent(database: Database, done: Done[None]) -> Sent:
    return Sent(await database.read(lambda c: delivery.find(c, done.object_id, None)), done.replayed)


async def deliveries(
    database: Database,
    caller: Caller,
    endpoint_id: str,
    *,
    status: DeliveryStatus | None = None,
    before: str | None = None,
    limit: int,
) -> list[Delivery]:
    """Deliveries to an endpoint, the newest first. Raises NotFound `endpoint_not_found`."""
    row = await find(database, caller, endpoint_id)
    return await database.read(lambda c: delivery.page(c, row.id, status=status, before=before, limit=limit))


async def show_delivery(database: Database, caller: Caller, delivery_id: str) -> Tried:
    """A delivery with its attempts. Raises NotFound `delivery_not_found`."""
    return await database.read(lambda c: delivery.tried(c, delivery_id, _whose(caller)))


async def resend(database: Database, caller: Caller, delivery_id: str, *, request: Request | None = None) -> Sent:
    """Send one again, also one that was delivered, with all attempts before it. One that waits for an attempt is sent
    at once. Raises NotFound `delivery_not_found`; Conflict `endpoint_disabled`."""
    found = await database.read(lambda c: delivery.find(c, delivery_id, _whose(caller)))

    async def work(connection: Connection) -> None:
        row = await _enabled(connection, caller, found.endpoint_id)
        await delivery.resend(connection, found.id, caller.actor)
        await _log(connection, caller, "resend", row, delivery=found.id)

    return await _sent(database, await once(database, found.tenant_id, request, found.id, work))


async def replay(database: Database, caller: Caller, endpoint_id: str, since: datetime) -> int:
    """Send what has happened since then and was not delivered. Returns how many events that is. Raises NotFound
    `endpoint_not_found`, Conflict `endpoint_disabled`."""

    async def work(connection: Connection) -> int:
        # Not locked: it may take long, and what is delivered meanwhile has to be written.
        row = require_enabled(await endpoint.find(connection, endpoint_id, _whose(caller)))
        count = await delivery.replay(connection, row, since, caller.actor)
        await _log(connection, caller, "replay", row, since=since.isoformat(), deliveries=count)
        return count

    return await database.run_long(work, timeout_s=_REPLAY_S)


async def _enabled(connection: Connection, caller: Caller, endpoint_id: str) -> Endpoint:
    return require_enabled(await endpoint.find(connection, endpoint_id, _whose(caller), lock=True))


def require_enabled(row: Endpoint) -> Endpoint:
    """Raises Conflict `endpoint_disabled`."""
    if row.status is not EndpointStatus.ENABLED:
        raise Conflict("The endpoint is disabled: enable it first.", code="endpoint_disabled")
    return row


def _sorted(types: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(types)))


async def _check(policy: Policy, url: str | None, types: Sequence[str]) -> None:
    known = {name for name, _ in event_types()}
    for name in types:
        if name not in known:
            raise Unprocessable(
                f"There is no event type {name[:60]}: GET /v1/event-types lists them.", code="event_type_unknown"
            )
    if url is None:
        return
    try:
        await check_target(url[: LENGTH_MAX + 1], loopback=policy.loopback)
    except WebhookUrlError as error:
        raise Unprocessable(f"No webhook is sent to this URL: {error}.", code="url_refused") from error


async def _log(connection: Connection, caller: Caller, verb: str, row: Endpoint, **detail: object) -> None:
    action = f"webhook_endpoint.{verb}"
    await audit_log.record(connection, row.tenant_id, caller.actor, action, row.id, detail)
