"""Which events Stripe is asked for, and the endpoints that are sent them."""

import inspect
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from stripe.params import WebhookEndpointCreateParams

from domain.endpoint import EndpointOutcome as Outcome
from domain.endpoint import EventEndpoint, EventScope, compared
from domain.psp import PspEventKind
from gateways.stripe.events import SUBSCRIPTIONS
from gateways.stripe.webhooks import is_of_seller, read_event
from tests.gateways.wire import Server, T, answer, served

if TYPE_CHECKING:
    from tests.gateways.conftest import Account

URL = "https://shop.example/webhooks/stripe"
ALL = [(scope, kind) for scope, kinds in SUBSCRIPTIONS.items() for kind in kinds]


def event(kind: str) -> dict[str, Any]:
    noun = {"charge": "dispute"}.get(kind.partition(".")[0], kind.partition(".")[0])
    thing = {"object": noun, "id": "x_1", "amount": 1, "currency": "usd", "metadata": {"paysaga_payout": "pt_1"}}
    traced = {"trace_id": {"status": "supported", "value": "T1"}} if noun == "payout" else {}
    return {"id": "evt_1", "object": "event", "type": kind, "data": {"object": thing | traced}}


def test_every_type_is_one_of_stripes() -> None:
    known = inspect.getsource(WebhookEndpointCreateParams)
    assert [kind for _, kind in ALL if f'"{kind}",' not in known] == []


@pytest.mark.parametrize(("scope", "kind"), ALL)
def test_something_is_made_of_every_event(scope: EventScope, kind: str) -> None:
    read = read_event(event(kind))
    assert read.kind is not PspEventKind.OTHER or read.trace_id is not None
    assert scope is EventScope.ACCOUNT or is_of_seller(event(kind)), "of sellers no other is taken"


def endpoint(scope: EventScope, *types: str, enabled: bool = True) -> EventEndpoint:
    return EventEndpoint(reference="we_1", url=URL, scope=scope, types=types, enabled=enabled)


@pytest.mark.parametrize(
    ("types", "enabled", "missing", "superfluous"),
    [
        (("a", "b"), True, (), ()),
        (("b", "a"), True, (), ()),
        (("a", "c"), True, ("b",), ("c",)),
        (("*",), True, (), ("*",)),
        (("a", "b"), False, ("a", "b"), ()),
        ((), True, ("a", "b"), ()),
    ],
)
def test_endpoints_are_compared(
    types: tuple[str, ...], enabled: bool, missing: tuple[str, ...], superfluous: tuple[str, ...]
) -> None:
    others = endpoint(EventScope.SELLERS, "a", "b")
    found = compared(EventScope.ACCOUNT, ["a", "b"], [others, endpoint(EventScope.ACCOUNT, *types, enabled=enabled)])
    assert (found.missing, found.superfluous) == (missing, superfluous)
    assert found.as_wanted is (not missing and not superfluous)


async def test_endpoints_are_made_found_and_changed(account: "Account") -> None:
    psp = account.psp
    assert (await psp.list_endpoints(timeout_s=T)).endpoints == ()
    made = {scope: await psp.add_endpoint(scope, URL, timeout_s=T) for scope in SUBSCRIPTIONS}
    assert all(one.outcome is Outcome.DONE and (one.secret or "").startswith("whsec_") for one in made.values())
    found = await psp.list_endpoints(timeout_s=T)
    assert {one.scope: one.types for one in found.endpoints} == SUBSCRIPTIONS
    assert {(one.url, one.enabled) for one in found.endpoints} == {(URL, True)}
    await account.control("PATCH", "account", {"webhook_seller_events": ["payout.created"]})
    (of_sellers,) = [
        one for one in (await psp.list_endpoints(timeout_s=T)).endpoints if one.scope is EventScope.SELLERS
    ]
    assert of_sellers.types == ("payout.created",)
    changed = await psp.change_endpoint(of_sellers, timeout_s=T)
    assert changed.endpoints == (of_sellers.model_copy(update={"types": SUBSCRIPTIONS[EventScope.SELLERS]}),)
    assert changed.secret is None


async def test_what_is_refused_and_what_is_not_answered(account: "Account") -> None:
    psp = account.psp
    await psp.add_endpoint(EventScope.ACCOUNT, URL, timeout_s=T)
    again = await psp.add_endpoint(EventScope.ACCOUNT, URL, timeout_s=T)
    assert (again.outcome, again.endpoints) == (Outcome.REFUSED, ())
    assert again.failure is not None
    gone = endpoint(EventScope.ACCOUNT).model_copy(update={"reference": "we_none"})
    assert (await psp.change_endpoint(gone, timeout_s=T)).outcome is Outcome.REFUSED
    await account.fault("http_503", "webhook_endpoints.list")
    assert (await psp.list_endpoints(timeout_s=T)).outcome is Outcome.UNKNOWN


async def test_the_request_says_whose_events_and_in_which_version() -> None:
    body = '{"id": "we_1", "url": "u", "enabled_events": ["a"], "status": "enabled", "secret": "whsec_1"}'
    server = Server(answer(200, body))
    async with served(server) as psp:
        made = await psp.add_endpoint(EventScope.SELLERS, URL, timeout_s=T)
        lost = await psp.change_endpoint(made.endpoints[0], timeout_s=T)
    assert (made.secret, lost.outcome) == ("whsec_1", Outcome.DONE)
    assert "connect=true" in server.requests[0]
    assert f"api_version={stripe.api_version}" in server.requests[0]
    assert "enabled_events[0]=payout.canceled" in server.requests[0].replace("%5B", "[").replace("%5D", "]")


async def test_an_endpoint_that_cannot_be_read_is_no_answer() -> None:
    async with served(Server(answer(200, '{"object": "list", "has_more": false, "data": [{"id": "we_1"}]}'))) as psp:
        assert (await psp.list_endpoints(timeout_s=T)).reason == "malformed"
