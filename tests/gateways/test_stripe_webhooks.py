"""Webhooks in: only what the PSP signed gets past `read_webhook`; of that, what is not for us is to be ignored."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from domain.psp import PspEventKind, WebhookRejected
from gateways.guard import Guard
from gateways.stripe.gateway import StripePsp
from gateways.stripe.webhooks import WEBHOOK_TOLERANCE_S

SECRETS = ("whsec_new", "whsec_old")
INTENT = {"object": "payment_intent", "id": "pi_1", "metadata": {"paysaga_charge": "ch_ours"}}


def build(api_key: str = "sk_test_x", account_id: str | None = None) -> StripePsp:
    guard = Guard("webhooks", concurrency_max=1, rate_per_s=1, breaker_failures=1, breaker_open_s=1)
    return StripePsp(api_key=api_key, guard=guard, currencies=["USD"], webhook_secrets=SECRETS, account_id=account_id)


def event(thing: dict[str, Any] = INTENT, **more: Any) -> dict[str, Any]:
    base = {"object": "event", "id": "evt_1", "type": "payment_intent.succeeded", "created": 1_700_000_000}
    return {**base, "livemode": False, "data": {"object": thing}, **more}


def signed(body: bytes, secret: str = SECRETS[0], age_s: float = 0) -> dict[str, str]:
    sign: Callable[..., str] = stripe.WebhookSignature.generate_signature_header
    return {"Stripe-Signature": sign(body.decode("latin-1"), secret, int(time.time() - age_s))}


def rejection(body: bytes, headers: dict[str, str], psp: StripePsp | None = None) -> str:
    with pytest.raises(WebhookRejected) as caught:
        (psp or build()).read_webhook(body, headers)
    return caught.value.code


@pytest.mark.parametrize("secret", SECRETS)
def test_a_genuine_event_under_either_secret(secret: str) -> None:
    body = json.dumps(event()).encode()
    read = build().read_webhook(body, signed(body, secret))
    assert (read.event_id, read.type, read.kind) == ("evt_1", "payment_intent.succeeded", PspEventKind.CHARGE)
    assert (read.reference, read.charge_id, read.paid) == ("pi_1", "ch_ours", True)
    assert read.payload == event()


def test_the_header_is_found_in_any_case() -> None:
    body = json.dumps(event()).encode()
    headers = {"stripe-signature": signed(body)["Stripe-Signature"]}
    assert build().read_webhook(body, headers).event_id == "evt_1"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "webhook_signature_missing"),
        ({"Stripe-Signature": ""}, "webhook_signature_missing"),
        ({"Stripe-Signature": "nonsense"}, "webhook_signature_invalid"),
        ({"Stripe-Signature": "t=1,v1=\u00e9"}, "webhook_signature_invalid"),
        ({"Stripe-Signature": f"t={'9' * 5000},v1=a"}, "webhook_signature_invalid"),
        (signed(b"another body"), "webhook_signature_invalid"),
    ],
)
def test_signatures_that_are_none(headers: dict[str, str], code: str) -> None:
    assert rejection(json.dumps(event()).encode(), headers) == code


def test_unknown_secret_and_bodies_that_are_no_text() -> None:
    body = json.dumps(event()).encode()
    assert rejection(body, signed(body, "whsec_other")) == "webhook_signature_invalid"
    assert rejection(b"\xff\xfe", signed(b"\xff\xfe")) == "webhook_signature_invalid"


def test_without_a_secret_nothing_is_genuine() -> None:
    guard = Guard("webhooks", concurrency_max=1, rate_per_s=1, breaker_failures=1, breaker_open_s=1)
    body = json.dumps(event()).encode()
    psp = StripePsp(api_key="sk_test_x", guard=guard, currencies=["USD"])
    assert rejection(body, signed(body, ""), psp) == "webhook_signature_invalid"


@pytest.mark.parametrize("depth", [30, 200, 900])
def test_what_is_deeper_than_any_event_is_cut_off(depth: int) -> None:
    thing = '{"object":' * depth + "1" + "}" * depth
    body = json.dumps(event()).replace(json.dumps(INTENT), thing).encode()
    read = build().read_webhook(body, signed(body))
    assert (read.kind, read.ignored) == (PspEventKind.OTHER, "its object cannot be read")
    assert len(json.dumps(read.payload)) < 500


@pytest.mark.parametrize("digits", [20, 400, 5_000])
def test_a_number_of_any_length_can_be_read(digits: int) -> None:
    thing = {"object": "refund", "id": "re_1", "amount": 7, "currency": "usd", "charge": "ch_1"}
    body = json.dumps(event(thing)).replace('"amount": 7', f'"amount": {"9" * digits}').encode()
    read = build().read_webhook(body, signed(body))
    assert (read.event_id, read.amount) == ("evt_1", None)


def test_stale() -> None:
    body = json.dumps(event()).encode()
    assert rejection(body, signed(body, age_s=WEBHOOK_TOLERANCE_S + 5)) == "webhook_stale"
    assert build().read_webhook(body, signed(body, age_s=WEBHOOK_TOLERANCE_S - 5)).paid


def why_ignored(body: bytes, psp: StripePsp | None = None) -> str | None:
    """None: it is taken. What is ignored says nothing about an object."""
    read = (psp or build()).read_webhook(body, signed(body))
    if read.ignored is not None:
        assert (read.kind, read.reference, read.charge_id, read.paid) == (PspEventKind.OTHER, None, None, False)
        assert read.payload["id"] == json.loads(body)["id"]
    return read.ignored


@pytest.mark.parametrize(("api_key", "livemode"), [("sk_test_x", True), ("sk_live_x", False), ("rk_live_x", False)])
def test_events_of_the_other_mode_are_ignored(api_key: str, livemode: bool) -> None:
    body = json.dumps(event(livemode=livemode)).encode()
    assert "mode" in (why_ignored(body, build(api_key)) or "")


def test_events_of_another_account_are_ignored() -> None:
    body = json.dumps(event(account="acct_2")).encode()
    assert why_ignored(body) == "it is of another account"
    assert why_ignored(body, build(account_id="acct_1")) == "it is of another account"
    assert build(account_id="acct_2").read_webhook(body, signed(body)).paid


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        json.dumps(event(id="")).encode(),
        json.dumps(event(id=5)).encode(),
        json.dumps(event(type=None)).encode(),
        json.dumps(event(object=["event"])).encode(),
    ],
)
def test_what_is_no_event(body: bytes) -> None:
    assert rejection(body, signed(body)) == "webhook_malformed"


@pytest.mark.parametrize(
    "changed",
    [
        {"object": "v3.event"},
        {"data": {}},
        {"data": {"object": []}},
        {"data": {"object": {"object": ["payment_intent"], "id": "pi_1"}}},
        {"data": {"object": {"object": "payment_intent", "id": 5}}},
        {"data": {"object": {**INTENT, "metadata": "x"}}},
    ],
)
def test_an_event_that_cannot_be_read_is_ignored(changed: dict[str, Any]) -> None:
    assert why_ignored(json.dumps(event(**changed)).encode()) == "its object cannot be read"


def thin(kind_of_event: str, kind: str | None, name: str | None, **more: Any) -> bytes:
    related = {"id": name, "type": kind, "url": f"/v1/{kind}s/{name}"} if kind else None
    base = {"object": "v2.core.event", "id": "evt_1", "type": kind_of_event, "created": "2026-11-29T02:00:00.000Z"}
    return json.dumps({**base, "livemode": False, "related_object": related, **more}).encode()


@pytest.mark.parametrize(
    ("body", "kind", "reference", "paid"),
    [
        (thin("v1.payment_intent.succeeded", "payment_intent", "pi_1"), PspEventKind.CHARGE, "pi_1", True),
        (thin("v1.payment_intent.canceled", "payment_intent", "pi_1"), PspEventKind.CHARGE, "pi_1", False),
        (thin("v1.refund.failed", "refund", "re_1"), PspEventKind.REFUND, "re_1", False),
        (thin("v1.charge.dispute.closed", "dispute", "du_1"), PspEventKind.DISPUTE, "du_1", False),
        (thin("v1.payout.paid", "payout", "po_1"), PspEventKind.PAYOUT, "po_1", False),
        (thin("v1.payout.paid", "payout", "po_1", context="acct_2"), PspEventKind.PAYOUT, "po_1", False),
        (
            thin("v2.core.event_destination.ping", "v2.core.event_destination", "ed_1"),
            PspEventKind.OTHER,
            "ed_1",
            False,
        ),
        (thin("v2.core.event_destination.ping", None, None), PspEventKind.OTHER, None, False),
    ],
)
def test_a_thin_event_names_its_object(body: bytes, kind: PspEventKind, reference: str | None, paid: bool) -> None:
    read = build().read_webhook(body, signed(body))
    assert (read.ignored, read.kind, read.reference, read.paid) == (None, kind, reference, paid)
    assert (read.refund_failed, read.payout_failed) == (read.type == "v1.refund.failed", False)


def test_thin_events_of_the_other_mode_or_another_account_are_ignored() -> None:
    assert why_ignored(thin("v1.charge.succeeded", "charge", "ch_1", livemode=True)) == "it is not of test mode"
    assert why_ignored(thin("v1.charge.succeeded", "charge", "ch_1", context="acct_2")) == "it is of another account"


DISPUTE = {"object": "dispute", "id": "du_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 500}
DISPUTE |= {"currency": "usd", "status": "needs_response", "metadata": {}}
CHARGE = {"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "captured": True, "metadata": {}}


@pytest.mark.parametrize(
    ("kind_of_event", "thing", "kind", "reference", "paid"),
    [
        ("payment_intent.succeeded", INTENT, PspEventKind.CHARGE, "pi_1", True),
        ("payment_intent.payment_failed", INTENT, PspEventKind.CHARGE, "pi_1", False),
        ("charge.succeeded", CHARGE, PspEventKind.CHARGE, "pi_1", True),
        ("charge.succeeded", {**CHARGE, "captured": False}, PspEventKind.CHARGE, "pi_1", False),
        ("charge.captured", CHARGE, PspEventKind.CHARGE, "pi_1", True),
        ("charge.succeeded", {**CHARGE, "payment_intent": None}, PspEventKind.CHARGE, "ch_1", True),
        ("charge.refunded", CHARGE, PspEventKind.CHARGE, "pi_1", False),
        ("refund.failed", {"object": "refund", "id": "re_1"}, PspEventKind.REFUND, "re_1", False),
        ("charge.refunded", {**CHARGE, "refunded": True}, PspEventKind.CHARGE, "pi_1", False),
        ("charge.expired", {**CHARGE, "captured": False}, PspEventKind.CHARGE, "pi_1", False),
        ("payment_intent.canceled", INTENT, PspEventKind.CHARGE, "pi_1", False),
        ("payment_intent.amount_capturable_updated", INTENT, PspEventKind.CHARGE, "pi_1", False),
        ("charge.dispute.created", DISPUTE, PspEventKind.DISPUTE, "du_1", False),
        ("charge.dispute.funds_withdrawn", DISPUTE, PspEventKind.DISPUTE, "du_1", False),
        ("charge.refund.updated", {"object": "refund", "id": "re_1"}, PspEventKind.REFUND, "re_1", False),
        ("balance.available", {"object": "balance"}, PspEventKind.OTHER, None, False),
    ],
)
def test_what_events_are_about(
    kind_of_event: str, thing: dict[str, Any], kind: PspEventKind, reference: str | None, paid: bool
) -> None:
    body = json.dumps(event(thing, type=kind_of_event)).encode()
    read = build().read_webhook(body, signed(body))
    assert (read.kind, read.reference, read.paid) == (kind, reference, paid)


@pytest.mark.parametrize(
    ("kind_of_event", "status", "authorized"),
    [
        ("payment_intent.amount_capturable_updated", "requires_capture", True),
        ("payment_intent.amount_capturable_updated", "succeeded", False),  # told after it was captured
        ("payment_intent.amount_capturable_updated", None, False),
        ("payment_intent.succeeded", "requires_capture", False),
    ],
)
def test_an_event_that_says_no_more_than_authorised(kind_of_event: str, status: str | None, authorized: bool) -> None:
    body = json.dumps(event({**INTENT, "status": status}, type=kind_of_event)).encode()
    assert build().read_webhook(body, signed(body)).authorized is authorized


@pytest.mark.parametrize(
    ("metadata", "refund_id", "charge_id"),
    [
        ({"paysaga_refund": "rf_1", "paysaga_charge": "ch_1"}, "rf_1", "ch_1"),
        ({"paysaga_refund": "rf_1"}, "rf_1", None),
        (None, None, None),
    ],
)
def test_a_refunds_event_names_what_it_carries(
    metadata: dict[str, str] | None, refund_id: str | None, charge_id: str | None
) -> None:
    thing = {"object": "refund", "id": "re_1", "status": "failed", "metadata": metadata}
    body = json.dumps(event(thing, type="refund.failed")).encode()
    read = build().read_webhook(body, signed(body))
    assert (read.refund_id, read.charge_id, read.refund_failed) == (refund_id, charge_id, True)


PAYOUT: dict[str, Any] = {"object": "payout", "id": "po_1", "amount": 500, "metadata": {"paysaga_payout": "pt_1"}}
TRANSFER: dict[str, Any] = {"object": "transfer", "id": "tr_1", "metadata": {"paysaga_payout": "pt_1"}}


@pytest.mark.parametrize(
    ("kind_of_event", "thing", "kind", "payout_id"),
    [
        ("payout.paid", PAYOUT, PspEventKind.PAYOUT, "pt_1"),
        ("payout.failed", PAYOUT, PspEventKind.PAYOUT, "pt_1"),
        ("payout.canceled", {**PAYOUT, "metadata": {}}, PspEventKind.PAYOUT, None),
        ("payout.failed", {**PAYOUT, "metadata": None}, PspEventKind.PAYOUT, None),
        ("transfer.reversed", TRANSFER, PspEventKind.PAYOUT, "pt_1"),
        # What our own call has just made: its answer says so.
        ("payout.created", PAYOUT, PspEventKind.OTHER, "pt_1"),
        ("payout.updated", PAYOUT, PspEventKind.OTHER, "pt_1"),
        ("transfer.created", TRANSFER, PspEventKind.OTHER, "pt_1"),
        ("transfer.reversed", {**TRANSFER, "metadata": {"paysaga_payout": ""}}, PspEventKind.OTHER, ""),
        ("transfer.reversed", {**TRANSFER, "metadata": {}}, PspEventKind.OTHER, None),
        ("charge.refunded", CHARGE, PspEventKind.CHARGE, None),
    ],
)
def test_events_about_money_out(
    kind_of_event: str, thing: dict[str, Any], kind: PspEventKind, payout_id: str | None
) -> None:
    body = json.dumps(event(thing, type=kind_of_event)).encode()
    read = build().read_webhook(body, signed(body))
    reference = thing.get("payment_intent") or thing["id"]
    failed = kind is PspEventKind.PAYOUT and kind_of_event != "payout.paid"
    assert (read.kind, read.reference, read.payout_id, read.paid, read.payout_failed) == (
        kind, reference, payout_id, False, failed,
    )  # fmt: skip


@pytest.mark.parametrize("kind_of_event", ["payout.paid", "payout.updated"])
def test_the_banks_reference_of_a_payout_is_read(kind_of_event: str) -> None:
    told = {**PAYOUT, "trace_id": {"status": "supported", "value": "0910000190001"}}
    body = json.dumps(event(told, type=kind_of_event)).encode()
    read = build().read_webhook(body, signed(body))
    assert (read.reference, read.trace_id) == ("po_1", "0910000190001")


@pytest.mark.parametrize("our_account", [None, "acct_1"])
def test_of_a_sellers_account_only_payouts_are_taken(our_account: str | None) -> None:
    psp = build(account_id=our_account)
    body = json.dumps(event(PAYOUT, type="payout.paid", account="acct_seller")).encode()
    read = psp.read_webhook(body, signed(body))
    assert (read.kind, read.payout_id, read.payload["account"]) == (PspEventKind.PAYOUT, "pt_1", "acct_seller")
    for kind_of_event, thing in [
        ("payment_intent.succeeded", INTENT),
        ("payout.paid", INTENT),
        ("payout.paid", {**PAYOUT, "object": "charge"}),
        ("charge.succeeded", PAYOUT),
        ("transfer.reversed", TRANSFER),
        ("payouts.paid", PAYOUT),
        ("balance.available", {"object": "balance"}),
    ]:
        body = json.dumps(event(thing, type=kind_of_event, account="acct_seller")).encode()
        assert why_ignored(body, psp) == "it is of another account"


@pytest.mark.parametrize("payout_id", [5, ["pt_1"], {"a": 1}])
def test_a_payout_whose_metadata_is_no_text_is_ignored(payout_id: Any) -> None:
    body = json.dumps(event({**PAYOUT, "metadata": {"paysaga_payout": payout_id}}, type="payout.paid")).encode()
    assert why_ignored(body) == "its object cannot be read"


REFUND = {
    "object": "refund",
    "id": "re_1",
    "charge": "ch_1",
    "payment_intent": "pi_1",
    "amount": 500,
    "currency": "usd",
}


@pytest.mark.parametrize(
    ("thing", "of_charge", "amount", "currency"),
    [
        (DISPUTE, "pi_1", 500, "USD"),
        ({**DISPUTE, "payment_intent": None}, "ch_1", 500, "USD"),
        ({**DISPUTE, "payment_intent": None, "charge": None}, None, 500, "USD"),
        ({**DISPUTE, "currency": "isk"}, "pi_1", 5, "ISK"),
        (REFUND, "pi_1", 500, "USD"),
        ({**REFUND, "payment_intent": None}, "ch_1", 500, "USD"),
        ({**REFUND, "payment_intent": ["pi_1"], "charge": None}, None, 500, "USD"),
        ({**REFUND, "amount": None}, "pi_1", None, None),
        ({**REFUND, "currency": "zzz"}, "pi_1", None, None),
        ({**REFUND, "currency": None}, "pi_1", None, None),
        ({**REFUND, "amount": 2**63}, "pi_1", None, None),
        ({**REFUND, "amount": -(2**80)}, "pi_1", None, None),
        ({"object": "refund", "id": "re_1"}, None, None, None),
        # Of a charge both are left to the look-up: the event may tell of an earlier state.
        ({**CHARGE, "amount": 500, "currency": "usd"}, None, None, None),
    ],
)
def test_the_charge_and_the_amount_of_a_refund_or_dispute(
    thing: dict[str, Any], of_charge: str | None, amount: int | None, currency: str | None
) -> None:
    body = json.dumps(event(thing, type="x")).encode()
    read = build().read_webhook(body, signed(body))
    assert (read.charge_reference, read.amount, read.currency) == (of_charge, amount, currency)


@pytest.mark.parametrize(
    "broken",
    [
        {"id": None},
        {"id": 5},
        {"id": ""},
        {"amount": None},
        {"amount": "500"},
        {"currency": None},
        {"currency": "zzz"},
        {"currency": "isk", "amount": 550},
        {"amount": 2**63},
    ],
)
def test_a_dispute_that_cannot_be_read_is_ignored(broken: dict[str, Any]) -> None:
    body = json.dumps(event({**DISPUTE, **broken}, type="charge.dispute.created")).encode()
    assert why_ignored(body) == "its object cannot be read"
