"""Answers and events of the sandbox, held against Stripe's own OpenAPI: required members, nulls, types and enums.

`stripe_facts.json` has those facts of the objects that the sandbox shows; of each member whether it is required, may be
null, its type and its values.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.sandbox.conftest import Psp

FACTS: dict[str, dict[str, dict[str, Any]]] = json.loads((Path(__file__).parent / "stripe_facts.json").read_text())[
    "objects"
]
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "number": (int, float),
    "array": (list,),
    "id or object": (str, dict),
}


def faults(kind: str, thing: dict[str, Any], where: str) -> Iterator[str]:
    """Everything about an object, and what is inside it, that Stripe's would not be."""
    for name, fact in FACTS[kind].items():
        value = thing.get(name)
        if name not in thing:
            if fact.get("required"):
                yield f"{where}.{name} is missing"
        elif value is None:
            if not fact.get("nullable"):
                yield f"{where}.{name} is null"
        else:
            yield from _value_faults(fact, value, f"{where}.{name}")


def _value_faults(fact: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    allowed = TYPES.get(fact.get("type", ""))
    if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
        yield f"{where} is {value!r}"
    if "enum" in fact and value not in fact["enum"]:
        yield f"{where} is {value!r}, none of {fact['enum']}"
    if "object" in fact and isinstance(value, dict):
        yield from faults(fact["object"], value, where)
    if "items" in fact:
        for item in value:
            yield from faults(fact["items"], item, f"{where}[]")
    if fact.get("type") == "id or object" and isinstance(value, dict):
        yield from faults(value["object"], value, where)


async def shown(psp: "Psp", path: str, **headers: str) -> list[dict[str, Any]]:
    status, answer, _ = await psp.raw("GET", path, **headers)
    assert status == 200, (path, answer)
    return list(answer["data"]) if answer["object"] == "list" else [answer]


async def many_things(psp: "Psp") -> None:
    """One of everything that the sandbox has."""
    await psp.fund()
    intent = await psp.pay(amount=9_000, currency="usd")
    await psp.v1.refunds.create_async({"payment_intent": intent.id, "amount": 1_000})
    for method in ("pm_upi_success", "pm_netbanking_success", "pm_wallet_success", "pm_usBankAccount_processing"):
        await psp.pay(method)
    await psp.pay("pm_card_threeDSecure2Required")
    await psp.pay(capture_method="manual")
    await psp.pay("pm_card_createDispute", amount=5_000, currency="usd")
    transfer = await psp.send("acct_paysOut")
    await psp.v1.transfers.reversals.create_async(transfer.id, {"amount": 100})
    await psp.pay_out("acct_paysOut", 500)
    await psp.pay_out(None, 500)


async def test_answers_and_events_are_such_as_stripe_gives(psp: "Psp") -> None:
    await many_things(psp)

    async def told() -> list[dict[str, Any]] | None:
        events = await shown(psp, "/v1/events?limit=100")
        return events if any(event["type"] == "charge.dispute.created" for event in events) else None

    events = await eventually(told, what="the dispute is opened")
    seen: list[dict[str, Any]] = [*events, *(event["data"]["object"] for event in events)]
    for noun in ("payment_intents", "charges", "refunds", "disputes", "transfers", "payouts", "balance_transactions"):
        seen += await shown(psp, f"/v1/{noun}")
    there = {"Stripe-Account": "acct_paysOut"}
    for path in ("/v1/charges", "/v1/refunds", "/v1/payouts", "/v1/balance_transactions", "/v1/balance"):
        seen += await shown(psp, path, **there)
    seen += await shown(psp, "/v1/balance") + await shown(psp, "/v1/accounts/acct_paysOut")
    endpoint = await psp.v1.webhook_endpoints.create_async(
        {"url": "https://shop.example/hooks", "enabled_events": ["payout.updated"]}
    )
    seen.append(endpoint.to_dict())
    seen += await shown(psp, "/v1/webhook_endpoints")
    charges = [thing for thing in seen if thing["object"] == "charge"]
    for method in {charge["payment_method"] for charge in charges if charge.get("payment_method")}:
        seen += await shown(psp, f"/v1/payment_methods/{method}")
    kinds = {thing["object"] for thing in seen}
    assert kinds >= {"event", "payment_intent", "charge", "refund", "dispute", "transfer", "payout", "payment_method"}
    found = {fault for thing in seen for fault in faults(thing["object"], thing, thing["object"])}
    assert sorted(found) == []


async def test_refusals_are_such_as_stripe_gives(psp: "Psp") -> None:
    declined = "amount=500&currency=usd&confirm=true&payment_method=pm_card_chargeDeclined&payment_method_types[]=card"
    asked = [
        ("GET", "/v1/charges/ch_none", "", 404, "invalid_request_error"),
        ("GET", "/v1/nothing", "", 404, "invalid_request_error"),
        ("POST", "/v1/payment_intents", "amount=500", 400, "invalid_request_error"),
        ("POST", "/v1/payment_intents", declined, 402, "card_error"),
        ("POST", "/v1/payment_intents", declined + "&description=another", 400, "idempotency_error"),
    ]
    found = []
    for method, path, text, status, kind in asked:
        key = {"Idempotency-Key": "one"} if method == "POST" else {}
        answered, answer, _ = await psp.raw(method, path, text, **key)
        assert (answered, answer["error"]["type"]) == (status, kind), answer
        found += list(faults("api_errors", answer["error"], path))
    assert found == []
