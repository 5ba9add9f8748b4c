"""The endpoints that the PSP sends its events to: compared with the events that change something here, and set up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from db import audit_log
from db.schema.base import PLATFORM_TENANT
from domain.endpoint import EndpointAnswer, EndpointOutcome, EventEndpoint, Subscription, compared
from domain.errors import Conflict, Unavailable, Unprocessable

if TYPE_CHECKING:
    from db.core.database import Connection
    from gateways.protocol import Psp
    from runtime.wiring import Runtime
    from services.command import Caller

_TIMEOUT_S = 10.0
_URL_MAX = 2_000


@dataclass(frozen=True)
class SetUp:
    """An endpoint that was made or changed. `secret`: of a new one, for PAYSAGA_STRIPE_WEBHOOK_SECRET."""

    endpoint: EventEndpoint
    is_new: bool
    secret: str | None


async def check(runtime: Runtime, url: str | None = None) -> list[Subscription]:
    """Compare the endpoints at the PSP with what is wanted: those at `url`, or at whatever address that ends as ours
    does. Raises Unavailable."""
    psp = runtime.psp
    if url is not None:
        _require_ours(psp, url)
    return _compared(psp, await _endpoints(psp), url)


async def set_up(runtime: Runtime, caller: Caller, url: str) -> list[SetUp]:
    """Have the wanted events, and no others, sent to `url`: what was made or changed, nothing if all was well.

    Raises Unprocessable `url_invalid`, Conflict `endpoint_refused` with what the PSP says, Unavailable. What was made
    before that stays, and a second call goes on from there.
    """
    psp = runtime.psp
    _require_ours(psp, url)
    done = []
    for subscription in _compared(psp, await _endpoints(psp), url):
        if subscription.endpoints and subscription.as_wanted:
            continue
        if subscription.endpoints:
            answer = await psp.change_endpoint(subscription.endpoints[0], timeout_s=_TIMEOUT_S)
        else:
            answer = await psp.add_endpoint(subscription.scope, url, timeout_s=_TIMEOUT_S)
        (endpoint,) = _done(answer)
        done.append(SetUp(endpoint, is_new=not subscription.endpoints, secret=answer.secret))
        await runtime.database.run(partial(_record, caller=caller, endpoint=endpoint))
    return done


async def _record(connection: Connection, *, caller: Caller, endpoint: EventEndpoint) -> None:
    detail = {"url": endpoint.url, "scope": endpoint.scope.value, "types": list(endpoint.types)}
    await audit_log.record(connection, PLATFORM_TENANT, caller.actor, "webhook.endpoint", endpoint.reference, detail)


def _compared(psp: Psp, endpoints: tuple[EventEndpoint, ...], url: str | None) -> list[Subscription]:
    ours = [one for one in endpoints if one.url == url or (url is None and urlsplit(one.url).path == _path(psp))]
    return [compared(scope, wanted, ours) for scope, wanted in psp.subscriptions.items()]


async def _endpoints(psp: Psp) -> tuple[EventEndpoint, ...]:
    return _done(await psp.list_endpoints(timeout_s=_TIMEOUT_S))


def _done(answer: EndpointAnswer) -> tuple[EventEndpoint, ...]:
    if answer.outcome is EndpointOutcome.REFUSED:
        said = answer.failure.message if answer.failure else "no reason"
        raise Conflict(f"The PSP refuses the endpoint: {said}", code="endpoint_refused")
    if answer.outcome is EndpointOutcome.UNKNOWN:
        raise Unavailable(f"The PSP does not answer ({answer.reason}); try again.")
    return answer.endpoints


def _path(psp: Psp) -> str:
    return f"/webhooks/{psp.name}"


def _require_ours(psp: Psp, url: str) -> None:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        whole = False
    if not whole or parts.path != _path(psp) or len(url) > _URL_MAX or not url.isprintable():
        raise Unprocessable(
            f"The address of the endpoint is https://<the API's host>{_path(psp)}, as the PSP reaches it.",
            code="url_invalid",
        )
