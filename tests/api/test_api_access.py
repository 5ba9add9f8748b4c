"""Tenant × role × operation, generated from the OpenAPI document: who may, who may not, and who is not told."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import cycle
from typing import Any
from uuid import uuid4

import pytest

from api.app import create_app
from config.settings import Settings
from db import api_key
from domain.access import ROLES
from tests.api import objects
from tests.api.problem import refused
from tests.api.rules import MAY, RULES, Merchant, Operation, unruled
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.provider import Provider
from tests.support.shop import Answer, Shop

pytestmark = pytest.mark.usefixtures("boundless")

ANNAS, BOS, TOGETHER = "123.45", "67.89", "191.34"
SECRET = "the-shops-own-words"


@dataclass(frozen=True)
class World:
    """A tenant with an object of each kind, most of them anna's alone; credentials of each role in it, and another
    tenant."""

    shop: Shop
    other: Shop
    document: dict[str, Any]
    ids: dict[str, str]
    shared: dict[str, Any]
    keys: dict[str, str]
    provider: Provider

    def operations(self) -> Iterator[tuple[Operation, str]]:
        """Each that needs a scope, with an address: that of an object of anna's, or of the tenant."""
        for (method, path), rule in RULES.items():
            if rule.scope is not None:
                yield (method, path), self.address(method, path)

    def address(self, method: str, path: str, **ids: str) -> str:
        told = self.document["paths"][path][method.lower()].get("parameters", ())
        needed = {p["name"]: p["example"] for p in told if p["in"] == "query" and p.get("required")}
        if path.startswith("/v1/transactions/"):
            needed["role"] = "seller"
        query = "&".join(f"{name}={value}" for name, value in needed.items())
        return path.format(**self.ids | ids) + (f"?{query}" if query else "")

    def token(self, **claims: Any) -> str:
        return self.provider.token(**{"tenant": self.shop.tenant} | claims)

    async def asked(self, operation: Operation, address: str, credential: str | None) -> Answer:
        """Without a body or a key for the request: whoever may ask for a change is told that it lacks something."""
        headers = {"Authorization": f"Bearer {credential}"} if credential is not None else {}
        return await self.shop.paysaga.http.request(operation[0], address, headers=headers)


@pytest.fixture(scope="module")
async def world(paysaga: Deployment, provider: Provider) -> World:
    shop = await paysaga.shop(f"one-{secrets.token_hex(5)}")
    other = await paysaga.shop(f"other-{secrets.token_hex(5)}")
    orders = [("anna", ANNAS), ("bo", BOS)]
    shared = await shop.paid(shop.checkout(), orders=orders, metadata={"note": SECRET})
    paid = await shop.paid(shop.checkout(), orders=[("anna", ANNAS)])
    refund = await shop.refunded(paid["id"], amount="1.11")
    await paysaga.sandbox.dispute(await shop.reference(shared["id"]))
    dispute = await shop.dispute_until(shared["id"], "NEEDS_RESPONSE")
    alone = await shop.paid(shop.checkout(), orders=[("anna", "2.22")])
    await paysaga.sandbox.dispute(await shop.reference(alone["id"]))
    discrepancy = await objects.discrepancy(shop)
    run = (await shop.get(f"/v1/discrepancies/{discrepancy}")).json()["first_run_id"]
    ids = {
        "payment_id": paid["id"],
        "refund_id": refund["id"],
        "dispute_id": (await shop.dispute_until(alone["id"], "NEEDS_RESPONSE"))["id"],
        "payout_id": await objects.payout(shop),
        "reconciliation_id": run,
        "discrepancy_id": discrepancy,
        "endpoint_id": await objects.webhook_endpoint(shop),
        "delivery_id": await objects.webhook_delivery(shop),
        "letter_id": await objects.dead_letter(shop),
        "notification_id": await objects.notification(shop),
        "suppression_id": await objects.suppression(shop),
        "recipient": "operator",
        "seller_account": "anna",
        "user_id": "anna",
        "account": "wallet:anna:pending",
    }
    keys = {role: await key(shop, role, "anna" if role == "merchant" else None) for role in ROLES}
    keys |= {"bo": await key(shop, "merchant", "bo"), "nothing": await key(shop, None, None)}
    document = (await paysaga.http.get("/openapi.json")).json()
    return World(shop, other, document, ids, shared | {"dispute": dispute["id"]}, keys, provider)


async def key(shop: Shop, role: str | None, seller: str | None, *, life: timedelta | None = None) -> str:
    secret, nothing = api_key.new_secret(), frozenset[str]()
    await shop.paysaga.database.run(
        lambda c: api_key.create(
            c, shop.tenant, role or "none", secret, nothing, role=role, seller_account=seller, life=life
        )
    )
    return secret


def code(answer: Answer) -> tuple[int, str | None]:
    """The status, and the code of a problem."""
    told = answer.headers.get("content-type") == "application/problem+json"
    return answer.status_code, answer.json()["code"] if told else None


# --- the rules ---


def test_every_operation_has_a_rule_and_a_new_one_without_is_found() -> None:
    app = create_app(Settings())
    app.add_api_route("/v1/planted/{payment_id}", lambda payment_id: payment_id, methods=["POST"])
    assert unruled(app.openapi()) == ["POST /v1/planted/{payment_id} has no rule"]


def test_a_rule_that_says_another_scope_is_found(world: World) -> None:
    told = world.document["paths"]["/v1/audit-log"]["get"]
    for other in (None, [{"apiKey": ["payments:read"]}, {"jwt": ["payments:read"]}]):
        planted = {**world.document["paths"], "/v1/audit-log": {"get": {**told, "security": other}}}
        (found,) = unruled({"paths": planted})
        assert found.startswith("GET /v1/audit-log needs")


# --- each operation as each role ---


async def test_each_operation_as_each_role(world: World) -> None:
    """By API key and by token, in turns: who may is asked for what is missing, who may not hears of the scope."""
    wrong: list[Any] = []
    by_key = cycle([True, False])
    for operation, address in world.operations():
        rule = RULES[operation]
        assert rule.scope is not None, "the others are left out"
        for role in ROLES:
            seller = "anna" if role == "merchant" else None
            token = world.token(role=role, seller_account=seller)
            told = code(await world.asked(operation, address, world.keys[role] if next(by_key) else token))
            if role not in MAY[rule.scope]:
                good = told == (403, "scope_missing")
            elif role == "merchant" and rule.merchant is Merchant.REFUSED:
                good = told == (403, "role_not_allowed")
            else:
                good = told[0] == 200 if operation[0] == "GET" else told[0] in (400, 415, 422)
            if not good:
                wrong.append((role, operation, told))
    assert wrong == []


async def test_another_tenant_is_told_nothing(world: World) -> None:
    """An admin of it: the answer about an object of ours is the answer about none. The user and the seller `anna` it
    has too."""
    wrong = []
    credentials = cycle([world.other.secret, world.token(tenant=world.other.tenant, role="admin")])
    for operation, address in world.operations():
        if operation[0] != "GET" or not re.search(r"\{(?!seller|user)\w+\}", operation[1]):
            continue
        credential = next(credentials)
        answer = await world.asked(operation, address, credential)
        unknown = await world.asked(operation, world.address(*operation, **dict.fromkeys(world.ids, "x")), credential)
        if answer.status_code != 404 or answer.content != unknown.content:
            wrong.append((operation, code(answer)))
    assert wrong == []


async def test_a_merchant_of_another_seller_is_told_nothing(world: World) -> None:
    wrong = []
    credentials = cycle([world.keys["bo"], world.token(role="merchant", seller_account="bo")])
    for operation, address in world.operations():
        merchant, credential = RULES[operation].merchant, next(credentials)
        answer = await world.asked(operation, address, credential)
        if merchant is Merchant.OWN:
            nobodys = world.address(*operation, **dict.fromkeys(world.ids, "x"))
            unknown = await world.asked(operation, nobodys, credential)
            good = answer.status_code == 404 and answer.content == unknown.content
        elif merchant is Merchant.LIST:
            ours = [*world.ids.values(), ANNAS, TOGETHER, "buyer_1", SECRET]
            good = answer.status_code == 200 and not [name for name in ours if f'"{name}' in answer.text]
        else:
            good = answer.status_code == 403
        if not good:
            wrong.append((operation, code(answer), answer.text))
    assert wrong == []


# --- credentials that are none ---


async def test_no_operation_takes_a_credential_that_is_not_good(world: World) -> None:
    expired = await key(world.shop, "admin", None, life=timedelta(hours=1))
    await world.shop.paysaga.sql(
        "UPDATE api_key SET expires_at = now() WHERE secret_hash = $1", api_key.hash_of(expired)
    )
    shop = {"tenant": world.shop.tenant, "role": "admin"}
    bad = {
        None: "api_key_missing",
        "sk_live_nobody": "api_key_invalid",
        expired: "api_key_invalid",
        world.token(role="admin", iss="https://evil.example"): "token_invalid",
        world.token(role="admin", aud="another-api"): "token_invalid",
        world.token(role="admin", exp=1_800_000_000 - 10**9): "token_invalid",
        world.token(role="admin", tenant="nobody"): "token_invalid",
        world.token(role="root"): "token_invalid",
        world.provider.forged("none", **shop): "token_invalid",
        world.provider.forged("HS256", **shop): "token_invalid",
        world.token(role="admin")[:-6] + "AAAAAA": "token_invalid",
    }
    wrong = []
    for operation, address in world.operations():
        for credential, wanted in bad.items():
            told = code(await world.asked(operation, address, credential))
            if told != (401, wanted):
                wrong.append((operation, wanted, told))
    assert wrong == []


async def test_operations_that_need_no_credential_are_those_of_the_rules(world: World) -> None:
    for (method, path), rule in RULES.items():
        if rule.scope is None:
            answer = await world.asked((method, path), path.format(psp="stripe"), None)
            wanted = {401} if rule.session else {400, 415} if method == "POST" else {200}
            assert answer.status_code in wanted, path


async def test_scopes_are_checked_before_a_body_is_read(world: World) -> None:
    """The body never arrives, and the refusal does; likewise of a file."""
    settings, wrong = world.shop.paysaga.settings, []
    for (method, path), address in world.operations():
        if "requestBody" not in world.document["paths"][path][method.lower()]:
            continue
        for credential, status in ((world.keys["nothing"], b"403"), (world.token(), b"403"), ("sk_nobody", b"401")):
            reader, writer = await asyncio.open_connection(settings.api_host, settings.api_port)
            head = [f"{method} {address} HTTP/1.1", "Host: x", f"Authorization: Bearer {credential}"]
            head += ["Content-Type: application/json", "Content-Length: 1000", "", ""]
            writer.write("\r\n".join(head).encode())
            line = await asyncio.wait_for(reader.readline(), timeout=5)
            writer.close()
            if line.split()[1:2] != [status]:
                wrong.append((method, path, line))
    assert wrong == []


# --- a merchant's own part ---


async def test_a_merchant_sees_its_part_of_a_payment_that_it_shares(world: World) -> None:
    shared, bo = world.shared, {"Authorization": f"Bearer {world.keys['bo']}"}
    annas, bos = shared["payment_orders"]

    async def got(path: str, **query: str) -> Any:
        answer = await world.shop.paysaga.http.get(path, headers=bo, params=query)
        assert answer.status_code == 200, answer.text
        for hidden in (ANNAS, TOGETHER, "anna", "buyer_1", SECRET, annas["id"], annas["payment_order_id"]):
            assert f'"{hidden}' not in answer.text, (path, hidden)
        return answer.json()

    payment = await got(f"/v1/payments/{shared['id']}")
    assert (payment["amount"], payment["buyer"], payment["metadata"]) == (BOS, None, {})
    assert [order["id"] for order in payment["payment_orders"]] == [bos["id"]]
    assert (await got(f"/v1/payments/{bos['payment_order_id']}"))["amount"] == BOS
    for name in (annas["id"], annas["payment_order_id"]):
        answer = await world.shop.paysaga.http.get(f"/v1/payments/{name}", headers=bo)
        refused(answer, 404, "payment_not_found")

    explained = await got(f"/v1/payments/{shared['id']}/explain")
    assert (explained["attempts"], explained["tasks"], explained["workflow_url"]) == ([], [], None)
    assert [dispute["amount"] for dispute in explained["disputes"]] == [BOS]
    steps = explained["transitions"]
    assert {(step["payment_order_id"], step["actor"]) for step in steps} == {(bos["payment_order_id"], "shop")}
    assert (await got(f"/v1/disputes/{shared['dispute']}"))["amount"] == BOS
    assert [dispute["id"] for dispute in (await got("/v1/disputes"))["data"]] == [shared["dispute"]]
    assert (await got(f"/v1/payments/{shared['id']}/refunds"))["data"] == []

    for query in (
        {},
        {"amount": BOS, "currency": "INR"},
        {"seller_account": "bo"},
        {"reference": bos["payment_order_id"]},
    ):
        assert [one["id"] for one in (await got("/v1/payments", **query))["data"]] == [shared["id"]], query
    for query in (
        {"amount": TOGETHER, "currency": "INR"},
        {"seller_account": "anna"},
        {"reference": annas["payment_order_id"]},
    ):
        assert (await got("/v1/payments", **query))["data"] == [], query
    books = (await got("/v1/ledger/transactions"))["data"]
    assert books
    assert {line["account"].split(":")[1] for one in books for line in one["postings"]} == {"bo"}
    assert (await got("/v1/ledger/transactions", account="wallet:anna:pending"))["data"] == []
    assert (await got("/v1/ledger/transactions", account="psp_clearing:stripe"))["data"] == []
    history = (await got("/v1/transactions/bo", role="seller"))["data"]
    assert {entry["amount"] for entry in history} == {BOS}
    assert [one["seller_account"] for one in (await got("/v1/merchants"))["data"]] == ["bo"]
    await got("/v1/wallets/bo")


async def test_a_merchant_is_not_told_of_buyers(world: World) -> None:
    for path, query in (
        ("/v1/transactions/buyer_1", {"role": "buyer"}),
        ("/v1/transactions/bo", {}),
        ("/v1/payments", {"buyer_id": "buyer_1"}),
        ("/v1/refunds", {"buyer_id": "buyer_1"}),
        ("/v1/ledger/accounts", {}),
    ):
        headers = {"Authorization": f"Bearer {world.keys['bo']}"}
        answer = await world.shop.paysaga.http.get(path, headers=headers, params=query)
        refused(answer, 403, "role_not_allowed")


async def test_a_refund_of_a_whole_charge_is_shown_by_its_shares(world: World) -> None:
    """One that was made in the PSP's dashboard."""
    shop = world.shop
    payment = await shop.paid(shop.checkout(), orders=[("anna", "10.00"), ("bo", "30.00")])
    await shop.paysaga.sandbox.refund_by_hand(await shop.reference(payment["id"]), 2_000)
    path = f"/v1/payments/{payment['id']}/refunds"

    async def seen(credential: str) -> list[Any]:
        headers = {"Authorization": f"Bearer {credential}"}
        shown: list[Any] = (await shop.paysaga.http.get(path, headers=headers)).raise_for_status().json()["data"]
        return shown

    async def both() -> tuple[Any, Any] | None:
        annas, bos = [await seen(world.keys[name]) for name in ("merchant", "bo")]
        return (annas[0], bos[0]) if annas and bos else None

    annas, bos = await eventually(both, what="the seller's shares")
    (whole,) = await seen(shop.secret)
    assert annas["id"] == bos["id"] == whole["id"]
    assert whole["amount"] == "20.00"
    assert Decimal(annas["amount"]) + Decimal(bos["amount"]) == 20
    assert min(Decimal(annas["amount"]), Decimal(bos["amount"])) > 0
    headers = {"Authorization": f"Bearer {world.keys['bo']}"}
    for amount, found in ((bos["amount"], [whole["id"]]), ("20.00", [])):
        query = {"amount": amount, "currency": "INR"}
        listed = (await shop.paysaga.http.get("/v1/refunds", headers=headers, params=query)).raise_for_status().json()
        assert [one["id"] for one in listed["data"]] == found, "a sum that others share in cannot be guessed"


async def test_what_a_token_does_is_written_down_under_its_subject(world: World) -> None:
    name = f"s-{secrets.token_hex(4)}"
    token = world.token(role="operator", sub="olga@example")
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}
    made = await world.shop.paysaga.http.post("/v1/merchants", json={"seller_account": name}, headers=headers)
    assert made.status_code == 201, made.text
    (row,) = (await world.shop.get("/v1/audit-log", object_id=made.json()["id"])).json()["data"]
    assert (row["actor"], row["action"], row["key"]) == ("jwt:olga@example", "merchant.create", None)
