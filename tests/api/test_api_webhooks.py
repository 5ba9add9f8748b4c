"""Webhooks in: only what the PSP signed is stored, each event once, and nothing it says is an error of ours."""

import json
import secrets
import time
from typing import Any

import pytest

from sandbox.webhooks import signature
from tests.api.problem import refused
from tests.support.shop import Answer, Shop

SECRET = "whsec_test"


def event_of(thing: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An event about an object that nobody knows, unless told otherwise."""
    return {
        "id": f"evt_{secrets.token_hex(8)}",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": thing or {"object": "payment_intent", "id": f"pi_{secrets.token_hex(8)}"}},
    } | more


async def deliver(
    shop: Shop, event: Any, *, secret: str = SECRET, age_s: float = 0, psp: str = "stripe", header: str | None = None
) -> Answer:
    payload = event if isinstance(event, str) else json.dumps(event)
    signed = signature(payload, secret, int(time.time() - age_s)) if header is None else header
    headers = {"Stripe-Signature": signed} if signed else {}
    return await shop.paysaga.http.post(f"/webhooks/{psp}", content=payload, headers=headers)


async def inbox(shop: Shop, event: dict[str, Any]) -> list[dict[str, Any]]:
    rows = await shop.paysaga.sql("SELECT * FROM webhook_inbox WHERE event_id = $1", event["id"])
    return [dict(row) for row in rows]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"header": ""}, "webhook_signature_missing"),
        ({"header": "t=1,v1=00"}, "webhook_signature_invalid"),
        ({"header": "nonsense"}, "webhook_signature_invalid"),
        ({"header": "t=,v1="}, "webhook_signature_invalid"),
        ({"header": "t=99999999999999999999999,v1=00"}, "webhook_signature_invalid"),
        ({"secret": "whsec_other"}, "webhook_signature_invalid"),
        ({"age_s": 301}, "webhook_stale"),
        ({"age_s": 86_400 * 3650}, "webhook_stale"),
    ],
)
async def test_what_cannot_be_trusted_is_refused_and_not_stored(shop: Shop, how: dict[str, Any], code: str) -> None:
    event = event_of()
    refused(await deliver(shop, event, **how), 400, code)
    assert await inbox(shop, event) == []


async def test_a_body_that_was_changed_on_its_way(shop: Shop) -> None:
    event = event_of()
    signed = signature(json.dumps(event), SECRET, int(time.time()))
    changed = event | {"type": "charge.succeeded"}
    refused(await deliver(shop, changed, header=signed), 400, "webhook_signature_invalid")
    assert "webhook_refused" in (shop.paysaga.folder / "api.log").read_text(), "an operator can see it"


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "null",
        "[]",
        "{",
        "{}",
        "\x00",
        '"event"',
        "[" * 50_000,
        '{"object":"event"}',
        '{"created":' + "9" * 5000 + "}",
    ],
    ids=range(10),
)
async def test_what_is_no_event(shop: Shop, payload: str) -> None:
    refused(await deliver(shop, payload), 400, "webhook_malformed")


REFUND: dict[str, Any] = {"object": "refund", "id": "re_1", "currency": "usd", "status": "succeeded", "charge": "ch_1"}
THIN: dict[str, Any] = {
    "object": "v2.core.event",
    "type": "v1.payment_intent.succeeded",
    "created": "2026-11-29T02:00:00.000Z",
    "related_object": {"id": "pi_1", "type": "payment_intent", "url": "/v1/payment_intents/pi_1"},
}


async def test_what_is_genuine_is_kept_whatever_it_says(shop: Shop) -> None:
    """The PSP would send it for three days, and then switch the endpoint off."""
    said: list[dict[str, Any]] = [
        {"object": "evento"},
        {"created": "now"},
        {"data": {}},
        {"data": {"object": None}},
        {"data": {"object": {"object": "payment_intent", "id": 5}}},
        {"data": {"object": {"object": "payment_intent", "id": "pi_1", "metadata": {"paysaga_charge": 7}}}},
        {"livemode": True},
        {"account": "acct_other"},
        {"type": "account.application.deauthorized", "account": "acct_other"},
        {"type": "refund.created", "data": {"object": REFUND | {"amount": 2**63}}},
        {"type": "refund.created", "data": {"object": REFUND | {"amount": 10**40}}},
        {"type": "charge.dispute.created", "data": {"object": REFUND | {"object": "dispute", "amount": 2**63}}},
        {"padding": "x" * 1_000_000},
        THIN,
        THIN | {"type": "v2.core.event_destination.ping"},
        THIN | {"type": "v1.refund.updated", "related_object": {"id": "re_1", "type": "refund"}},
        THIN | {"type": "v1.charge.dispute.created", "related_object": {"id": "du_1", "type": "dispute"}},
        THIN | {"type": "v1.payout.paid", "related_object": None, "context": "acct_other"},
    ]
    for more in said:
        event = event_of(**more)
        answer = await deliver(shop, event)
        assert answer.status_code == 200, (more, answer.text)
        (row,) = await inbox(shop, event)
        early = more.get("type") == "refund.created"  # its charge may be ours, under a name that we do not know yet
        assert row["status"] == ("RECEIVED" if early else "IGNORED"), more


async def test_a_thin_event_makes_the_payment_look(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    reference = await shop.reference(payment["id"])
    await shop.paysaga.sandbox.steer(reference, "authenticate")
    event = event_of(**THIN | {"related_object": {"id": reference, "type": "payment_intent"}})
    assert (await deliver(shop, event)).status_code == 200
    await shop.until(payment["id"], "SUCCESS")
    (row,) = await inbox(shop, event)
    assert row["payment_id"] == payment["id"]


async def test_another_psp(shop: Shop) -> None:
    for psp in ("adyen", "%00", "Stripe"):
        refused(await deliver(shop, event_of(), psp=psp), 404, "psp_not_found")


async def test_a_body_that_is_too_large(shop: Shop) -> None:
    refused(await deliver(shop, event_of(padding="x" * 2_200_000)), 413, "body_too_large")


@pytest.mark.parametrize(
    "event",
    [
        event_of(type="some.future_type"),
        event_of({"object": "some_future_object", "id": "sfo_1"}, type="some_future_object.created"),
        event_of(),
        event_of({"object": "refund", "id": "re_nobody"}, type="refund.updated"),
        event_of({"object": "payment_intent", "id": "pi_1", "metadata": {"paysaga_charge": "ch_nobody"}}),
        event_of({"object": "customer"}, type="customer.created"),
    ],
    ids=["type", "object", "intent", "refund", "charge", "no id"],
)
async def test_what_is_not_ours_is_kept_and_moves_nothing(shop: Shop, event: dict[str, Any]) -> None:
    event = event | {"id": f"evt_{secrets.token_hex(8)}"}
    answer = await deliver(shop, event)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    (row,) = await inbox(shop, event)
    assert (row["status"], row["type"], row["psp"], row["payment_id"]) == ("IGNORED", event["type"], "stripe", None)
    kept = json.loads(row["payload"])
    assert (kept["id"], kept["type"], kept["data"]["object"]["object"]) == (
        event["id"],
        event["type"],
        event["data"]["object"]["object"],
    )


async def test_the_inbox_keeps_no_secret_and_nobodys_data(shop: Shop) -> None:
    """What an event says of people, its PaymentIntent's secret, and whatever the shop wrote into the metadata."""
    private = {
        "client_secret": "pi_1_secret_canary",
        "receipt_email": "canary@example.com",
        "description": "4000056655665556",
        "reason": "4000056655665556",
        "metadata": {"note": "canary", "paysaga_charge": "ch_nobody"},
        "billing_details": {"name": "canary", "email": "canary@example.com", "status": "canary"},
        "evidence": {"uncategorized_text": "canary"},
        "charges": {"data": [{"id": "canary"}]},
        "status": "canary " * 100,
    }
    event = event_of({"object": "payment_intent", "id": "pi_1", "amount": 500, "currency": "inr"} | private)
    assert (await deliver(shop, event)).status_code == 200
    (row,) = await inbox(shop, event)
    assert json.loads(row["payload"])["data"]["object"] == {
        "object": "payment_intent",
        "id": "pi_1",
        "amount": 500,
        "currency": "inr",
        "metadata": {"paysaga_charge": "ch_nobody"},
    }


async def test_a_duplicate_is_answered_and_kept_once(shop: Shop) -> None:
    event = event_of()
    answers = [await deliver(shop, event) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(await inbox(shop, event)) == 1


async def test_characters_that_postgresql_cannot_store_do_not_stop_an_event(shop: Shop) -> None:
    """The PSP would send it again for days."""
    event = event_of(api_version="a\x00b", context="\ud800", created=float("nan"), deep=[{"\x00": "\udfff"}])
    answer = await deliver(shop, event)
    assert answer.status_code == 200, answer.text
    (row,) = await inbox(shop, event)
    payload = json.loads(row["payload"])
    assert (payload["api_version"], payload["context"], payload["created"]) == (
        "a\N{REPLACEMENT CHARACTER}b",
        "?",
        None,
    )


async def test_ours_is_delivered_once_however_often_it_comes(shop: Shop) -> None:
    """The buyer authenticates; the PSP's event arrives three times; one settlement."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_threeDSecure2Required")
    reference = await shop.reference(payment["id"])
    await shop.paysaga.sandbox.steer(reference, "authenticate")
    intent = await shop.paysaga.sandbox.stripe(f"/v1/payment_intents/{reference}")
    event = event_of(intent)
    for _ in range(3):
        assert (await deliver(shop, event)).status_code == 200
    await shop.until(payment["id"], "SUCCESS")
    (row,) = await inbox(shop, event)
    assert row["payment_id"] == payment["id"]
    assert row["tenant_id"] == shop.tenant
    assert sorted(await shop.kinds(payment["id"])) == ["capture", "psp_fee"]


async def test_an_event_about_a_payment_that_has_ended_changes_nothing(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    before = await shop.payment(payment["id"])
    intent = await shop.paysaga.sandbox.stripe(f"/v1/payment_intents/{await shop.reference(payment['id'])}")
    event = event_of(intent | {"amount_received": 1, "status": "canceled"}, type="payment_intent.canceled")
    assert (await deliver(shop, event)).status_code == 200
    (row,) = await inbox(shop, event)
    assert row["status"] == "PROCESSED"
    assert await shop.payment(payment["id"]) == before


async def test_an_event_that_says_no_more_than_authorised_wakes_nobody(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), capture="manual", wait=20)
    assert payment["status"] == "AUTHORIZED"
    intent = await shop.paysaga.sandbox.stripe(f"/v1/payment_intents/{await shop.reference(payment['id'])}")
    event = event_of(intent, type="payment_intent.amount_capturable_updated")
    assert (await deliver(shop, event)).status_code == 200
    (row,) = await inbox(shop, event)
    assert (row["status"], row["note"]) == ("PROCESSED", "the payment waits for its capture")
    history = await shop.paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}").fetch_history()
    assert not [e for e in history.events if e.HasField("workflow_execution_signaled_event_attributes")]


async def test_an_event_that_tells_of_no_money_about_a_payment_that_ended_unpaid_is_not_kept(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_chargeDeclined")
    assert payment["status"] == "FAILED"
    intent = await shop.paysaga.sandbox.stripe(f"/v1/payment_intents/{await shop.reference(payment['id'])}")
    event = event_of(intent, type="payment_intent.canceled")
    assert (await deliver(shop, event)).status_code == 200
    assert await inbox(shop, event) == []
