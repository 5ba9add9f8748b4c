"""Signed deliveries: order, retries, and every way to get them wrong."""

import time
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.sandbox.conftest import SECRET

if TYPE_CHECKING:
    from tests.sandbox.conftest import Endpoint, Psp

THREE = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


async def test_events_arrive_signed_and_in_order(hooked: "Psp", endpoint: "Endpoint") -> None:
    intent = await hooked.pay(key="k", metadata={"order": "1"})
    assert await endpoint.until(3) == THREE
    event: Any = endpoint.events[2]
    assert event.data.object.id == intent.id
    assert (event.data.object.metadata["order"], event.request.idempotency_key) == ("1", "k")
    await hooked.v1.refunds.create_async({"payment_intent": intent.id})
    assert (await endpoint.until(5))[3:] == ["refund.created", "charge.refunded"]
    await hooked.control("POST", "/webhooks/flush")
    assert (await hooked.v1.events.retrieve_async(event.id)).pending_webhooks == 0


async def test_a_refused_delivery_comes_back_and_blocks_nothing(hooked: "Psp", endpoint: "Endpoint") -> None:
    endpoint.statuses[:] = [500, 302]
    await hooked.pay()
    assert sorted(await endpoint.until(3)) == sorted(THREE)
    assert endpoint.types[0] == "payment_intent.succeeded"
    await hooked.control("POST", "/webhooks/flush")
    deliveries = (await hooked.control("GET", "/webhooks"))["data"]
    assert [(item["state"], item["attempts"]) for item in deliveries] == [("delivered", n) for n in (1, 2, 2)]


async def test_lost_until_resent(hooked: "Psp", endpoint: "Endpoint") -> None:
    await hooked.control("POST", "/webhook_faults", {"kind": "lost", "event_type": "payment_intent.succeeded"})
    await hooked.pay()
    assert await endpoint.until(2) == THREE[:2]
    (event,) = (await hooked.v1.events.list_async({"type": "payment_intent.succeeded"})).data
    assert await hooked.control("POST", "/webhooks/flush") == {"delivered": 0, "pending": 0}
    await hooked.control("POST", f"/events/{event.id}/resend")
    assert await endpoint.until(3) == THREE


async def test_late_until_flushed(hooked: "Psp", endpoint: "Endpoint") -> None:
    spec = {"kind": "late", "event_type": "charge.*", "delay_s": 3600}
    await hooked.control("POST", "/webhook_faults", spec)
    await hooked.pay()
    assert await endpoint.until(2) == [THREE[0], THREE[2]]
    assert await hooked.control("POST", "/webhooks/flush") == {"delivered": 1, "pending": 0}
    assert endpoint.types[2] == "charge.succeeded"


async def test_doubled(hooked: "Psp", endpoint: "Endpoint") -> None:
    spec = {"kind": "doubled", "event_type": "payment_intent.succeeded", "copies": 10}
    await hooked.control("POST", "/webhook_faults", spec)
    await hooked.pay()
    types = await endpoint.until(12)
    assert types.count("payment_intent.succeeded") == 10
    assert len({event.id for event in endpoint.events}) == 3


async def test_out_of_order(hooked: "Psp", endpoint: "Endpoint") -> None:
    spec = {"kind": "out_of_order", "event_type": "charge.succeeded", "delay_s": 60}
    await hooked.control("POST", "/webhook_faults", spec)
    started_at = time.monotonic()
    await hooked.pay()
    assert await endpoint.until(3) == [THREE[0], THREE[2], THREE[1]]
    assert time.monotonic() - started_at < 30


async def test_a_bad_signature_is_refused_and_a_good_one_follows(hooked: "Psp", endpoint: "Endpoint") -> None:
    await hooked.control("POST", "/webhook_faults", {"kind": "bad_signature", "match": {"metadata": {"order": "1"}}})
    await hooked.pay(metadata={"order": "2"})
    await endpoint.until(3)
    assert endpoint.refused == 0
    await hooked.pay(metadata={"order": "1"})
    await endpoint.until(6)
    assert endpoint.refused == 1


async def test_events_can_be_chosen_and_nobody_listening_is_fine(psp: "Psp", endpoint: "Endpoint") -> None:
    await psp.pay()
    await psp.control("PATCH", "/account", {"webhook_url": endpoint.url, "webhook_secret": "whsec_test"})
    await psp.control("PATCH", "/account", {"webhook_events": ["payment_intent.succeeded"]})
    await psp.pay()
    assert await endpoint.until(1) == ["payment_intent.succeeded"]
    assert len((await psp.control("GET", "/webhooks"))["data"]) == 1


@pytest.mark.parametrize("method", ["pm_upi_success", "pm_upi_failure", "pm_card_threeDSecure2Required"])
async def test_what_is_said_along_the_way(hooked: "Psp", endpoint: "Endpoint", method: str) -> None:
    intent = await hooked.pay(method)
    if intent.status == "requires_action":
        await hooked.v1.payment_intents.cancel_async(intent.id)
        expected = ["payment_intent.requires_action", "payment_intent.canceled"]
    else:
        await hooked.control("POST", "/clock/advance", {"seconds": 2})
        end = "succeeded" if method == "pm_upi_success" else "failed"
        last = "payment_intent.succeeded" if end == "succeeded" else "payment_intent.payment_failed"
        expected = ["charge.pending", "payment_intent.processing", f"charge.{end}", last]
    assert await endpoint.until(1 + len(expected)) == ["payment_intent.created", *expected]


async def test_endpoints_over_the_api(hooked: "Psp", endpoint: "Endpoint") -> None:
    """The one of the settings, and another for events of connected accounts."""
    endpoints = hooked.v1.webhook_endpoints
    (own,) = (await endpoints.list_async()).data
    assert (own.enabled_events, own.application, own.status) == (["*"], None, "enabled")
    wanted: Any = {"url": own.url, "enabled_events": ["payout.paid"], "connect": True}
    of_sellers = await endpoints.create_async(wanted)
    assert (of_sellers.application, of_sellers.secret) == ("ca_sandbox", SECRET)
    await endpoints.update_async(own.id, {"enabled_events": ["payment_intent.succeeded", "payout.created"]})
    assert (await endpoints.retrieve_async(own.id)).enabled_events == ["payment_intent.succeeded", "payout.created"]
    await hooked.fund()
    await hooked.send("acct_paysOut")
    payout: Any = {"amount": 10_000, "currency": "usd"}
    await hooked.v1.payouts.create_async(payout, {"stripe_account": "acct_paysOut"})
    await hooked.control("POST", "/clock/advance", {"seconds": 60})
    assert sorted(await endpoint.until(2)) == ["payment_intent.succeeded", "payout.paid"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "https://shop.example/other", "connect": True},
        {"enabled_events": ["payout paid"], "connect": True},
        {"connect": False},
    ],
    ids=["another address", "no type", "twice"],
)
async def test_endpoints_that_are_refused(hooked: "Psp", wrong: dict[str, Any]) -> None:
    (own,) = (await hooked.v1.webhook_endpoints.list_async()).data
    params: Any = {"url": own.url, "enabled_events": ["payout.paid"]} | wrong
    with pytest.raises(stripe.InvalidRequestError):
        await hooked.v1.webhook_endpoints.create_async(params)
    with pytest.raises(stripe.InvalidRequestError, match="No such webhook endpoint"):
        await hooked.v1.webhook_endpoints.retrieve_async("we_none")
