"""Webhook endpoints at Stripe: https://docs.stripe.com/api/webhook_endpoints"""

from collections.abc import Mapping, Sequence
from functools import partial

import stripe

from domain.endpoint import EndpointAnswer, EndpointOutcome, EventEndpoint, EventScope
from gateways.call import Refusal, Unanswered
from gateways.stripe.events import SUBSCRIPTIONS
from gateways.stripe.failures import failure_of
from gateways.stripe.objects import UNREADABLE, Object, carried
from gateways.stripe.wire import StripeCalls, fresh, path_of

ENDPOINTS = "/v1/webhook_endpoints"
_SCOPE = "paysaga_scope"
_WHOSE = {EventScope.ACCOUNT: "the account", EventScope.SELLERS: "the sellers' accounts"}


class StripeEndpoints(StripeCalls):
    """The part of the adapter that says which events are sent where."""

    subscriptions: Mapping[EventScope, Sequence[str]] = SUBSCRIPTIONS

    async def list_endpoints(self, *, timeout_s: float) -> EndpointAnswer:
        return await self._run("list_endpoints", timeout_s, _unknown, self._list_endpoints)

    async def _list_endpoints(self, deadline: float) -> EndpointAnswer:
        return _answer(await self._find(deadline, ENDPOINTS, {}, lambda _: True))

    async def add_endpoint(self, scope: EventScope, url: str, *, timeout_s: float) -> EndpointAnswer:
        return await self._run("add_endpoint", timeout_s, _unknown, partial(self._add_endpoint, scope, url))

    async def _add_endpoint(self, scope: EventScope, url: str, deadline: float) -> EndpointAnswer:
        params: Object = {
            "url": url,
            "enabled_events": list(SUBSCRIPTIONS[scope]),
            "connect": "true" if scope is EventScope.SELLERS else "false",
            # As the adapter reads them, whatever the account's own version is.
            "api_version": stripe.api_version,
            "description": f"Paysaga: events of {_WHOSE[scope]}",
            "metadata": {_SCOPE: scope.value},
        }
        try:
            made = await self._send(deadline, "post", ENDPOINTS, params, key=fresh(f"endpoint:{scope}"))
        except Refusal as refusal:
            return EndpointAnswer(outcome=EndpointOutcome.REFUSED, failure=failure_of(refusal.error))
        secret = made.get("secret")
        return _answer([made]).model_copy(update={"secret": secret if isinstance(secret, str) else None})

    async def change_endpoint(self, endpoint: EventEndpoint, *, timeout_s: float) -> EndpointAnswer:
        return await self._run("change_endpoint", timeout_s, _unknown, partial(self._change_endpoint, endpoint))

    async def _change_endpoint(self, endpoint: EventEndpoint, deadline: float) -> EndpointAnswer:
        params = {"enabled_events": list(SUBSCRIPTIONS[endpoint.scope]), "disabled": "false"}
        key = fresh(f"endpoint:{endpoint.scope}")
        try:
            changed = await self._send(deadline, "post", path_of(ENDPOINTS, endpoint.reference), params, key=key)
        except Refusal as refusal:
            return EndpointAnswer(outcome=EndpointOutcome.REFUSED, failure=failure_of(refusal.error))
        return _answer([changed])


def _answer(found: Sequence[Object]) -> EndpointAnswer:
    try:
        endpoints = tuple(_endpoint(thing) for thing in found)
    except UNREADABLE:
        raise Unanswered("malformed") from None
    return EndpointAnswer(outcome=EndpointOutcome.DONE, endpoints=endpoints)


def _unknown(reason: str) -> EndpointAnswer:
    return EndpointAnswer(outcome=EndpointOutcome.UNKNOWN, reason=reason)


def _endpoint(thing: Object) -> EventEndpoint:
    """Stripe says of a Connect endpoint which application it belongs to, and nothing of any other."""
    of_sellers = thing.get("application") or carried(thing, _SCOPE) == EventScope.SELLERS
    return EventEndpoint(
        reference=thing["id"],
        url=thing["url"],
        scope=EventScope.SELLERS if of_sellers else EventScope.ACCOUNT,
        types=tuple(thing["enabled_events"]),
        enabled=thing.get("status") == "enabled",
    )
