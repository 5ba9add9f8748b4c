"""Who may see and do what: each tenant its own, each key its scopes."""

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from api import examples
from db import api_key
from domain.access import EVERY_SCOPE, SCOPES
from tests.api import objects
from tests.api.problem import refused
from tests.api.rows import rows
from tests.support.deployment import Deployment
from tests.support.payouts import fund, with_account
from tests.support.reconciling import upload
from tests.support.shop import Answer, Shop

pytestmark = pytest.mark.usefixtures("boundless")

ROUTES: list[tuple[str, str, str]] = [
    ("POST", "/v1/payments", "payments:write"),
    ("GET", "/v1/payments/{payment}", "payments:read"),
    ("GET", "/v1/payments/{order}", "payments:read"),
    ("GET", "/v1/payments/{name}", "payments:read"),
    ("GET", "/v1/payments/{payment}/explain", "payments:read"),
    ("POST", "/v1/payments/{payment}/confirm", "payments:write"),
    ("POST", "/v1/payments/{payment}/cancel", "payments:write"),
    ("POST", "/v1/payments/{authorized}/capture", "payments:write"),
    ("POST", "/v1/payments/{paid}/refunds", "refunds:write"),
    ("GET", "/v1/payments/{paid}/refunds", "payments:read"),
    ("GET", "/v1/payments", "payments:read"),
    ("GET", "/v1/refunds", "payments:read"),
    ("GET", "/v1/refunds/{refund}", "payments:read"),
    ("GET", "/v1/disputes", "disputes:read"),
    ("GET", "/v1/disputes/{dispute}", "disputes:read"),
    ("POST", "/v1/disputes/{dispute}/evidence", "disputes:write"),
    ("POST", "/v1/payments/{review}/review", "reviews:write"),
    ("POST", "/v1/payments/{captured}/resolve", "reviews:write"),
    ("GET", "/v1/reviews", "risk:read"),
    ("GET", "/v1/risk/rules", "risk:read"),
    ("PUT", "/v1/risk/rules", "risk:write"),
    ("GET", "/v1/transactions/buyer_1", "payments:read"),
    ("POST", "/v1/merchants", "merchants:write"),
    ("PATCH", "/v1/merchants/anna", "merchants:write"),
    ("GET", "/v1/merchants/anna", "merchants:read"),
    ("GET", "/v1/merchants", "merchants:read"),
    ("GET", "/v1/wallets/anna", "ledger:read"),
    ("GET", "/v1/ledger/transactions", "ledger:read"),
    ("GET", "/v1/ledger/accounts", "ledger:read"),
    ("GET", "/v1/ledger/accounts/{account}", "ledger:read"),
    (
        "GET",
        "/v1/merchants/anna/statement?from=2026-01-01T00:00:00Z&to=2099-01-01T00:00:00Z&currency=INR",
        "ledger:read",
    ),
    ("GET", "/v1/audit-log", "audit:read"),
    ("POST", "/v1/payouts", "payouts:write"),
    ("GET", "/v1/payouts", "payouts:read"),
    ("POST", "/v1/payouts/schedule", "merchants:write"),
    ("GET", "/v1/payouts/schedule/anna", "merchants:read"),
    ("GET", "/v1/payouts/{payout}", "payouts:read"),
    ("GET", "/v1/payouts/{payout}/items", "payouts:read"),
    ("POST", "/v1/payouts/{payout}/cancel", "payouts:write"),
    ("POST", "/v1/reconciliations", "reconciliation:write"),
    ("GET", "/v1/reconciliations", "reconciliation:read"),
    ("POST", "/v1/reconciliations/files?kind=psp&name=november.csv", "reconciliation:write"),
    ("GET", "/v1/reconciliations/{run}", "reconciliation:read"),
    ("GET", "/v1/reconciliations/{run}/items", "reconciliation:read"),
    ("GET", "/v1/reconciliations/{run}/log", "reconciliation:read"),
    ("GET", "/v1/reconciliations/{run}/report", "reconciliation:read"),
    ("GET", "/v1/discrepancies", "reconciliation:read"),
    ("GET", "/v1/discrepancies/{discrepancy}", "reconciliation:read"),
    ("POST", "/v1/discrepancies/{discrepancy}/resolve", "reconciliation:write"),
    ("POST", "/v1/webhook-endpoints", "webhooks:write"),
    ("GET", "/v1/webhook-endpoints", "webhooks:read"),
    ("GET", "/v1/webhook-endpoints/{endpoint}", "webhooks:read"),
    ("PATCH", "/v1/webhook-endpoints/{endpoint}", "webhooks:write"),
    ("POST", "/v1/webhook-endpoints/{endpoint}/rotate", "webhooks:write"),
    ("POST", "/v1/webhook-endpoints/{endpoint}/test", "webhooks:write"),
    ("POST", "/v1/webhook-endpoints/{endpoint}/replay", "webhooks:write"),
    ("GET", "/v1/webhook-endpoints/{endpoint}/deliveries", "webhooks:read"),
    ("GET", "/v1/webhook-deliveries/{delivery}", "webhooks:read"),
    ("POST", "/v1/webhook-deliveries/{delivery}/resend", "webhooks:write"),
    ("GET", "/v1/dead-letters", "dead_letters:read"),
    ("GET", "/v1/dead-letters/counts", "dead_letters:read"),
    ("POST", "/v1/dead-letter-replays", "dead_letters:write"),
    ("GET", "/v1/dead-letters/{letter}", "dead_letters:read"),
    ("POST", "/v1/dead-letters/{letter}/replay", "dead_letters:write"),
    ("POST", "/v1/dead-letters/{letter}/discard", "dead_letters:write"),
    ("GET", "/v1/notifications", "notifications:read"),
    ("GET", "/v1/notifications/{notification}", "notifications:read"),
    ("GET", "/v1/notification-settings", "notifications:read"),
    ("PUT", "/v1/notification-settings", "notifications:write"),
    ("GET", "/v1/notification-contacts", "notifications:read"),
    ("PUT", "/v1/notification-contacts/operator", "notifications:write"),
    ("GET", "/v1/suppressions", "notifications:read"),
    ("POST", "/v1/suppressions/{suppression}/lift", "notifications:write"),
    ("POST", "/codec/decode", "histories:read"),
    ("POST", "/codec/encode", "histories:read"),
]

AUTHENTICATED = ("/v1/", "/codec/")

EVERYTHING_TO_REVIEW = {
    "rules": [{"name": "all", "type": "amount", "currency": "INR", "above": "0", "then": "review"}],
}


async def key_with(shop: Shop, scopes: frozenset[str]) -> dict[str, str]:
    secret = api_key.new_secret()
    await shop.paysaga.database.run(lambda c: api_key.create(c, shop.tenant, "narrow", secret, scopes))
    return {"Authorization": f"Bearer {secret}", "Idempotency-Key": secrets.token_hex(8)}


def body_of(shop: Shop, method: str, path: str) -> Any:
    """What the route takes; `path` as in ROUTES. Text is the content of a file."""
    bodies: dict[tuple[str, str], Any] = {
        ("POST", "payments"): shop.body(shop.checkout()),
        ("POST", "capture"): {"amount": "1.00"},
        ("POST", "refunds"): {"amount": "1.00"},
        ("POST", "evidence"): {"fields": {"product_description": "A doll."}},
        ("POST", "review"): {"decision": "reject"},
        ("PUT", "rules"): EVERYTHING_TO_REVIEW,
        ("POST", "merchants"): {"seller_account": f"s-{secrets.token_hex(4)}"},
        ("PATCH", "anna"): {"name": "Anna"},
        ("PATCH", "of-one"): {"status": "FROZEN"},
        ("POST", "payouts"): {"seller_account": "anna"},
        ("POST", "schedule"): {"seller_account": "anna", "interval": "daily"},
        ("POST", "reconciliations"): {"subject": "psp", "business_date": "2026-01-31"},
        ("POST", "files"): examples.SETTLEMENT_FILE,
        ("POST", "resolve"): {"decision": "accept", "note": "a test of ours"},
        ("POST", "webhook-endpoints"): {"url": f"https://shop.example/{shop.checkout()}"},
        ("PATCH", "{endpoint}"): {"types": ["payment.failed"]},
        ("POST", "replay"): {"since": "2026-01-31T00:00:00Z"},
        ("POST", "dead-letter-replays"): {"limit": 1},
        ("POST", "discard"): {"reason": "a test of ours"},
        ("PUT", "notification-settings"): {"sender_name": "Anna"},
        ("PUT", "operator"): {"email": "ops@shop.example"},
        ("POST", "decode"): examples.PAYLOADS,
        ("POST", "encode"): examples.PAYLOADS,
    }
    if path.startswith("/v1/dead-letters"):
        bodies[("POST", "replay")] = None
    return bodies.get((method, path.partition("?")[0].rpartition("/")[2]))


async def sent(shop: Shop, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
    """The answer to what `body_of` made."""
    if isinstance(body, str):
        headers = headers | {"Content-Type": "text/csv"}
        return await shop.paysaga.http.request(method, path, content=body, headers=headers)
    return await shop.paysaga.http.request(method, path, json=body, headers=headers)


async def made(shop: Shop, method: str, path: str) -> str:
    """The path with the id of a new object in the state that the route is for."""
    if (method, path) == ("POST", "/v1/payouts"):
        await with_account(shop, "anna")
        await fund(shop, "anna", amount=10_000)
    _, _, rest = path.partition("{")
    noun = rest.partition("}")[0]
    return path.format(**{noun: await MAKERS[noun](shop)}) if noun else path


async def _unconfirmed(shop: Shop) -> dict[str, Any]:
    order: dict[str, Any] = (await shop.paid(shop.checkout(), confirm=False))["payment_orders"][0]
    return order


async def _payment(shop: Shop) -> str:
    return str((await _unconfirmed(shop))["payment_id"])


async def _order(shop: Shop) -> str:
    return str((await _unconfirmed(shop))["id"])


async def _name(shop: Shop) -> str:
    return str((await _unconfirmed(shop))["payment_order_id"])


async def _authorized(shop: Shop) -> str:
    return str((await shop.paid(shop.checkout(), capture="manual"))["id"])


async def _paid(shop: Shop) -> str:
    return str((await shop.paid(shop.checkout()))["id"])


async def _refund(shop: Shop) -> str:
    return str((await shop.refunded(await _paid(shop)))["id"])


async def _dispute(shop: Shop) -> str:
    payment_id = await _paid(shop)
    await shop.paysaga.sandbox.dispute(await shop.reference(payment_id))
    return str((await shop.dispute_until(payment_id, "NEEDS_RESPONSE"))["id"])


async def _review(shop: Shop) -> str:
    rules = await shop.paysaga.http.put("/v1/risk/rules", json=EVERYTHING_TO_REVIEW, headers=shop.headers)
    assert rules.status_code == 200, rules.text
    payment = await shop.paid(shop.checkout())
    assert payment["status"] == "IN_REVIEW"
    return str(payment["id"])


async def _account(shop: Shop) -> str:
    """One that no other tenant has: of a seller of its own."""
    seller = f"s-{secrets.token_hex(4)}"
    (await shop.post("/v1/merchants", {"seller_account": seller})).raise_for_status()
    await shop.until((await shop.paid(shop.checkout(), orders=[(seller, "1.00")]))["id"], "SUCCESS")
    return f"wallet:{seller}:pending"


MAKERS: dict[str, Callable[[Shop], Awaitable[str]]] = {
    "payment": _payment,
    "order": _order,
    "name": _name,
    "authorized": _authorized,
    "paid": _paid,
    "refund": _refund,
    "dispute": _dispute,
    "review": _review,
    "account": _account,
    "captured": objects.captured_in_part,
    "payout": objects.payout,
    "run": objects.reconciliation,
    "discrepancy": objects.discrepancy,
    "endpoint": objects.webhook_endpoint,
    "delivery": objects.webhook_delivery,
    "letter": objects.dead_letter,
    "notification": objects.notification,
    "suppression": objects.suppression,
}


def test_the_documented_scopes_are_those_of_the_keys() -> None:
    assert frozenset(SCOPES) == EVERY_SCOPE
    assert {scope for _, _, scope in ROUTES} == EVERY_SCOPE


async def test_every_documented_route_with_its_scope_is_tried_here(paysaga: Deployment) -> None:
    document = (await paysaga.http.get("/openapi.json")).json()
    documented = {
        (method.upper(), re.sub(r"\{[^}]*\}", "…", path), operation["security"][0]["apiKey"][0])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith(AUTHENTICATED) and not path.startswith("/v1/sessions")  # of people: test_api_sessions.py
        if "security" in operation  # the others are for everybody, and tests/api/rules.py has their names
    }
    named = r"\{[^}]*\}|(?<=merchants/)anna|(?<=wallets/)anna|(?<=schedule/)anna|(?<=contacts/)operator|buyer_1"
    tried = {(method, re.sub(named, "…", path.partition("?")[0]), scope) for method, path, scope in ROUTES}
    assert tried == documented


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_each_route_needs_its_one_scope(shop: Shop, method: str, path: str, scope: str) -> None:
    body, path = body_of(shop, method, path), await made(shop, method, path)
    before = await rows(shop)
    for scopes in (EVERY_SCOPE - {scope}, frozenset()):
        headers = await key_with(shop, scopes)
        answer = await sent(shop, method, path, body, headers)
        problem = refused(answer, 403, "scope_missing")
        assert scope in problem["detail"]
    assert await rows(shop) == before
    it_alone = await key_with(shop, frozenset({scope}))
    answer = await sent(shop, method, path, body, it_alone)
    assert answer.status_code in (200, 201, 202), answer.text
    if method != "GET" and path != "/codec/encode":  # which keeps nothing and shows nothing
        await _logged(shop)


async def _logged(shop: Shop) -> None:
    """What the one key did is in the audit log, with the address that it came from, and its refused calls are not."""
    query = "SELECT address FROM audit_log WHERE tenant_id = $1 AND detail->>'key' = 'narrow'"
    assert [row["address"] for row in await shop.paysaga.sql(query, shop.tenant)] == ["127.0.0.1"]


NOT_IN_THE_AUDIT_LOG = {
    ("POST", "/webhooks/{psp}"): "events of a PSP, which has no key: each is kept in the inbox under its own id",
}
"""Route that changes something, and is not tried above → why."""


async def test_every_other_route_that_changes_something_is_excused(paysaga: Deployment) -> None:
    document = (await paysaga.http.get("/openapi.json")).json()
    others = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "get" and not path.startswith(AUTHENTICATED)
    }
    assert others == set(NOT_IN_THE_AUDIT_LOG)


NOT_FOUND = {
    "payments": "payment_not_found",
    "refunds": "refund_not_found",
    "disputes": "dispute_not_found",
    "merchants": "merchant_not_found",
    "ledger": "account_not_found",
    "payouts": "payout_not_found",
    "reconciliations": "reconciliation_not_found",
    "discrepancies": "discrepancy_not_found",
    "webhook-endpoints": "endpoint_not_found",
    "webhook-deliveries": "delivery_not_found",
    "dead-letters": "dead_letter_not_found",
    "notifications": "notification_not_found",
    "suppressions": "suppression_not_found",
}


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path, _ in ROUTES if "{" in path] + [("PATCH", "/v1/merchants/of-one")],
)
async def test_another_tenants_object_is_not_there(paysaga: Deployment, method: str, path: str) -> None:
    one = await paysaga.shop(f"one-{secrets.token_hex(5)}", sellers=("anna", "of-one"))
    other = await paysaga.shop(f"other-{secrets.token_hex(5)}", sellers=("anna",))
    body, path = body_of(other, method, path), await made(one, method, path)
    before = await rows(one), await rows(other)
    headers = other.headers | {"Idempotency-Key": str(uuid4())}
    answer = await paysaga.http.request(method, path, json=body, headers=headers)
    refused(answer, 404, NOT_FOUND[path.split("/")[2]])
    name = path.split("/")[4 if "/ledger/" in path else 3]
    unknown = await paysaga.http.request(method, path.replace(name, "nobody"), json=body, headers=headers)
    assert unknown.content == answer.content, "unknown and another's cannot be told apart"
    assert (await rows(one), await rows(other)) == before


async def test_another_tenants_order_cannot_be_named_in_a_body(paysaga: Deployment) -> None:
    one, other = [await paysaga.shop(f"body-{secrets.token_hex(5)}") for _ in range(2)]
    theirs = (await one.paid(one.checkout()))["payment_orders"][0]
    paid, authorized = await _paid(other), await _authorized(other)
    for name in (theirs["id"], theirs["payment_order_id"]):
        refused(await other.refund(paid, payment_order_id=name), 422, "payment_order_unknown")
        body = {"payment_orders": [{"payment_order_id": name, "amount": "1.00"}]}
        refused(await other.post(f"/v1/payments/{authorized}/capture", body), 422, "payment_order_unknown")


async def test_another_tenants_seller_is_neither_paid_nor_scheduled(paysaga: Deployment) -> None:
    one = await paysaga.shop(f"one-{secrets.token_hex(5)}", sellers=("of-one",))
    other = await paysaga.shop(f"other-{secrets.token_hex(5)}")
    await with_account(one, "of-one")
    await fund(one, "of-one", amount=10_000)
    before = await rows(one), await rows(other)
    for seller in ("of-one", "nobody"):
        refused(await other.post("/v1/payouts", {"seller_account": seller}), 404, "merchant_not_found")
        schedule = {"seller_account": seller, "interval": "daily"}
        refused(await other.post("/v1/payouts/schedule", schedule), 404, "merchant_not_found")
        refused(await other.get(f"/v1/payouts/schedule/{seller}"), 404, "merchant_not_found")
    assert (await rows(one), await rows(other)) == before


async def test_another_tenants_payouts_runs_and_discrepancies_are_not_seen(paysaga: Deployment) -> None:
    one, other = [await paysaga.shop(f"seen-{secrets.token_hex(5)}") for _ in range(2)]
    for make, path, parameters in (
        (objects.payout, "/v1/payouts", {"seller_account": "anna", "status": "IN_TRANSIT"}),
        (objects.reconciliation, "/v1/reconciliations", {"subject": "psp", "status": "COMPLETED"}),
        (objects.discrepancy, "/v1/discrepancies", {"status": "OPEN", "class": "amount"}),
    ):
        for _ in range(2):
            await make(one)
        page = (await one.get(path, limit=1, **parameters)).raise_for_status().json()
        assert (len(page["data"]), bool(page["next_cursor"])) == (1, True), path
        for asked in ({}, parameters, {"cursor": page["next_cursor"]}):
            assert (await other.get(path, **asked)).raise_for_status().json()["data"] == [], path
    assert (await other.get("/v1/transactions/anna", role="seller", type="payout")).json()["data"] == []


async def test_another_tenants_file_is_as_one_that_is_not_there(paysaga: Deployment) -> None:
    """Where tenants share an account none of them reconciles a file, so that they cannot tell whose it is."""
    one, other = [await paysaga.shop(f"file-{secrets.token_hex(5)}") for _ in range(2)]
    file = (await upload(one, examples.SETTLEMENT_FILE)).raise_for_status().json()
    again = await upload(other, examples.SETTLEMENT_FILE)
    assert again.status_code == 201, "the same bytes of another tenant are another file"
    assert again.json()["id"] != file["id"]
    answers = [
        await other.post("/v1/reconciliations", {"subject": "psp", "file_id": file_id})
        for file_id in (file["id"], "sf_none", again.json()["id"])
    ]
    assert {refused(answer, 403, "account_shared")["detail"] for answer in answers} == {answers[0].json()["detail"]}


async def test_another_tenants_disputes_reviews_and_rules_are_not_seen(paysaga: Deployment) -> None:
    one, other = [await paysaga.shop(f"seen-{secrets.token_hex(5)}") for _ in range(2)]
    await _dispute(one)
    await _dispute(one)
    await _review(one)
    page = (await one.get("/v1/disputes", limit=1)).json()
    assert page["next_cursor"]
    for parameters in ({}, {"status": "NEEDS_RESPONSE"}, {"cursor": page["next_cursor"]}):
        assert (await other.get("/v1/disputes", **parameters)).json()["data"] == []
    assert len((await one.get("/v1/reviews")).json()["data"]) == 1
    assert (await other.get("/v1/reviews")).json()["data"] == []
    assert (await other.get("/v1/risk/rules")).json()["version"] == 0
    assert (await other.paid(other.checkout()))["status"] == "SUCCESS"


async def test_another_tenants_history_wallet_and_books_are_empty(paysaga: Deployment) -> None:
    one = await paysaga.shop(f"one-{secrets.token_hex(5)}", sellers=("anna", "of-one"))
    other = await paysaga.shop(f"other-{secrets.token_hex(5)}", sellers=("anna",))
    payment = await one.paid(one.checkout(), orders=[("anna", "500.00"), ("of-one", "1.00")])
    order = payment["payment_orders"][0]
    assert len((await one.get("/v1/ledger/transactions", payment_id=payment["id"])).json()["data"]) > 0
    mine = (await one.get("/v1/ledger/transactions", limit=1)).json()
    for parameters in (
        {},
        {"payment_id": payment["id"]},
        {"payment_order_id": order["id"]},
        {"account": "wallet:anna:pending"},
        {"cursor": mine["next_cursor"]},
    ):
        assert (await other.get("/v1/ledger/transactions", **parameters)).json()["data"] == [], parameters
    for user, role in (("buyer_1", "buyer"), ("anna", "seller"), ("of-one", "seller")):
        assert (await other.get(f"/v1/transactions/{user}", role=role)).json()["data"] == []
    assert (await other.get("/v1/wallets/anna")).json()["balances"] == []
    refused(await other.get("/v1/wallets/of-one"), 404, "merchant_not_found")
    names = [merchant["seller_account"] for merchant in (await other.get("/v1/merchants")).json()["data"]]
    assert names == ["anna"]
    merchant = (await one.get("/v1/merchants/of-one")).json()
    refused(await other.get(f"/v1/merchants/{merchant['id']}"), 404, "merchant_not_found")
    refused(await other.pay(other.checkout(), orders=[("of-one", "1.00")]), 422, "merchant_unknown")
