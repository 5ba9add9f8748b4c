"""The document that clients are built from: complete, true, and usable without the network."""

import io
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from api import docs, examples
from api.payment.shapes import PaymentOut
from config.settings import DEVELOPMENT_API_KEY, SANDBOX_STRIPE_KEY, Settings
from domain.access import EVERY_SCOPE
from domain.status import Status
from gateways.bank.camt053 import read_camt053
from gateways.settlement_file import Reading
from gateways.stripe.report_file import read_itemized
from tests.api import objects
from tests.support.deployment import Deployment
from tests.support.payouts import fund
from tests.support.shop import Answer, Shop

OPERATIONS = {
    "create_payment",
    "show_payment",
    "confirm_payment",
    "cancel_payment",
    "capture_payment",
    "explain_payment",
    "create_refund",
    "list_refunds",
    "show_refund",
    "list_disputes",
    "show_dispute",
    "submit_evidence",
    "show_rules",
    "replace_rules",
    "list_reviews",
    "review_payment",
    "create_merchant",
    "change_merchant",
    "show_merchant",
    "list_merchants",
    "show_wallet",
    "list_transactions",
    "list_ledger_transactions",
    "list_accounts",
    "show_account",
    "show_statement",
    "create_payout",
    "set_payout_schedule",
    "show_payout_schedule",
    "list_payouts",
    "show_payout",
    "list_payout_items",
    "cancel_payout",
    "create_reconciliation",
    "upload_settlement_file",
    "list_reconciliations",
    "show_reconciliation",
    "list_reconciliation_items",
    "show_reconciliation_log",
    "show_reconciliation_report",
    "list_discrepancies",
    "show_discrepancy",
    "resolve_discrepancy",
    "list_event_types",
    "create_session",
    "show_session",
    "end_session",
    "enrol",
    "receive_webhook",
    "decode_payloads",
    "encode_payloads",
    "healthz",
    "readyz",
}
"""Names of functions in generated clients: one that is here may not be renamed."""

Document = dict[str, Any]


@pytest.fixture
async def document(paysaga: Deployment) -> Document:
    found: Document = (await paysaga.http.get("/openapi.json")).raise_for_status().json()
    return found


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_operation_ids_are_stable(document: Document) -> None:
    found = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(found) == len(set(found))
    assert set(found) >= OPERATIONS


def test_every_operation_is_described(document: Document) -> None:
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert len(operation["description"]) > 20, (method, path)
        assert all(tags[tag] for tag in operation["tags"]), (method, path)
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                assert parameter["example"], (path, parameter["name"])
        body = operation.get("requestBody")
        if body:
            taken = ["text/csv", "application/xml"] if path.endswith("/files") else ["application/json"]
            assert list(body["content"]) == taken, path
            assert all(described["examples"] for described in body["content"].values()), path


def test_every_operation_says_that_it_is_limited(document: Document) -> None:
    for _, path, operation in operations(document):
        described = operation["responses"].get("429", {"headers": {}})
        expected = set() if path == "/healthz" else {"Retry-After", "RateLimit", "RateLimit-Policy"}
        assert set(described["headers"]) == expected, path


def test_every_operation_names_its_scope(document: Document) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {(scheme["type"], scheme["scheme"]) for scheme in schemes.values()} == {("http", "bearer")}
    scheme, jwt = schemes["apiKey"], schemes["jwt"]
    assert jwt["bearerFormat"] == "JWT"
    assert all(f"`{scope}`" in scheme["description"] for scope in EVERY_SCOPE)
    assert "sk_test_paysaga" in scheme["description"]
    for _, path, operation in operations(document):
        if path.startswith("/v1/sessions/current"):
            assert operation["security"] == [{"session": []}], path
        elif path.startswith(("/v1/", "/codec/")) and path not in ("/v1/sessions", "/v1/event-types"):
            requirements = [(name, *scopes) for one in operation["security"] for name, scopes in one.items()]
            assert {"apiKey", "jwt"} <= {name for name, *_ in requirements} <= schemes.keys(), path
            (scope,) = {scope for _, *scopes in requirements for scope in scopes}
            assert scope in EVERY_SCOPE, path
            assert "admin" in operation["x-roles"], path
        else:
            assert "security" not in operation, path


def test_every_reference_resolves(document: Document) -> None:
    for reference in set(re.findall(r"'\$ref': '([^']+)'", str(document))):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    assert {"type", "title", "status", "code", "detail"} <= set(
        document["components"]["schemas"]["Problem"]["properties"]
    )


def test_errors_are_problems(document: Document) -> None:
    for _, path, operation in operations(document):
        for status, response in operation["responses"].items():
            if status >= "400":
                (media_type,) = response["content"]
                assert media_type == "application/problem+json", (path, status)
    for name in ("HTTPValidationError", "ValidationError"):
        assert name not in document["components"]["schemas"]


def test_the_key_is_required_and_the_statuses_are_listed(document: Document) -> None:
    for step in ("", "confirm", "cancel", "capture", "refunds", "review", "resolve"):
        path = f"/v1/payments/{{payment_id}}/{step}" if step else "/v1/payments"
        parameters = {p["name"]: p for p in document["paths"][path]["post"]["parameters"]}
        assert parameters["Idempotency-Key"]["required"] is True
        assert parameters["Prefer"]["required"] is False
    for path in (
        "/v1/disputes/{dispute_id}/evidence",
        "/v1/payouts",
        "/v1/payouts/{payout_id}/cancel",
        "/v1/reconciliations",
        "/v1/discrepancies/{discrepancy_id}/resolve",
    ):
        required = {p["name"]: p["required"] for p in document["paths"][path]["post"]["parameters"]}
        assert required["Idempotency-Key"] is True, path
    assert document["components"]["schemas"]["Status"]["enum"] == [status.value for status in Status]
    assert document["servers"] == [{"url": "/"}]


# --- the examples work ---


@pytest.fixture
async def sandbox_shop(paysaga: Deployment) -> Shop:
    """A tenant with the sellers that the embedded stack has."""
    return await paysaga.shop(f"docs-{secrets.token_hex(5)}", sellers=("seller_anna", "seller_bo", "seller_chen"))


def test_the_example_of_an_answer_is_one() -> None:
    shown = PaymentOut.model_validate(examples.PAYMENT).model_dump(mode="json")
    assert shown == examples.PAYMENT


def test_the_development_key_is_offered_where_the_psp_is_the_sandbox_of_this_machine() -> None:
    for key, offered in ((None, True), (SANDBOX_STRIPE_KEY, True), ("sk_live_x", False)):
        settings = Settings(stripe_api_key=SecretStr(key) if key else None)
        assert (DEVELOPMENT_API_KEY in docs.page_of(settings)) is offered


def test_the_examples_of_files_can_be_read() -> None:
    (line,) = read_itemized(io.BytesIO(examples.SETTLEMENT_FILE.encode()), Reading())
    assert (line.amount, line.fee, line.currency) == (50_000, 1_000, "INR")
    (entry,) = read_camt053(io.BytesIO(examples.BANK_STATEMENT.encode()), Reading())
    assert (entry.amount, entry.currency) == (49_000, "INR")


@pytest.mark.parametrize("name", examples.PAYMENTS)
async def test_each_payment_example_has_the_outcome_it_promises(sandbox_shop: Shop, name: str) -> None:
    example = examples.PAYMENTS[name]
    promised = re.search(r"→ (\d+) ([A-Z_]+)", example["summary"])
    assert promised is not None
    answer = await sandbox_shop.post("/v1/payments", example["value"])
    assert (answer.status_code, answer.json()["status"]) == (int(promised[1]), promised[2]), answer.text
    if "failure.code" in example["summary"]:
        assert answer.json()["failure"]["code"] in example["summary"]
    if "next_action" in example["summary"]:
        assert answer.json()["next_action"]["url"]
    if "soon SUCCESS" in example["summary"]:
        await sandbox_shop.until(answer.json()["id"], "SUCCESS")


@pytest.mark.usefixtures("boundless")
async def test_the_other_examples_work_after_them(sandbox_shop: Shop, document: Document) -> None:
    """In the order in which a reader would try them: every path's example parameters, every body's examples. Whatever
    changes something has a row in the audit log."""
    told: set[tuple[str, str]] = set()
    for name in ("your_own_ids", "unconfirmed", "authorized"):
        await sandbox_shop.post("/v1/payments", examples.PAYMENTS[name]["value"])
    of_others = ("/v1/payments", "/webhooks/{psp}")  # and of people, whose codes change: test_api_sessions.py
    paths = [(m, p, o) for m, p, o in operations(document) if p not in of_others and not p.startswith("/v1/sessions")]
    for method, path, operation in paths:
        parameters = [p for p in operation.get("parameters", ()) if "example" in p]
        given = {p["name"]: p["example"] for p in parameters}
        for number, (media_type, example) in enumerate(bodies(operation)):
            given |= await made_for(sandbox_shop, method, path, number)
            value = example["value"]
            body: dict[str, Any] = {"content": value} if isinstance(value, str) else {"json": value}
            headers = {"Idempotency-Key": str(uuid4())} | ({"Content-Type": media_type} if value else {})
            before = await recorded(sandbox_shop.paysaga)
            answer = await sandbox_shop.paysaga.http.request(
                method,
                path.format(**given),
                headers=sandbox_shop.headers | headers,
                params={p["name"]: given[p["name"]] for p in parameters if p["in"] == "query"},
                **body,
            )
            holds(answer, example["summary"], settled=path == "/v1/payments/{payment_id}/cancel")
            if await recorded(sandbox_shop.paysaga) > before:
                told.add((method, path))
    assert {(method, path) for method, path, _ in paths if method != "get"} - told == WITHOUT_A_ROW


WITHOUT_A_ROW = {
    ("post", "/codec/encode"),  # nothing is changed by it
    ("post", "/v1/payments/{payment_id}/cancel"),  # the example's payment has settled: test_api_audit_log.py
}


async def recorded(paysaga: Deployment) -> int:
    """How many rows the audit log has, of all tenants: what is about none of them is the platform's."""
    (row,) = await paysaga.sql("SELECT count(*) AS rows FROM audit_log")
    return int(row["rows"])


def bodies(operation: Document) -> list[tuple[str, Document]]:
    """Each example with its media type; one that says nothing where no body is taken."""
    content = operation.get("requestBody", {}).get("content", {})
    found = [(media_type, e) for media_type, described in content.items() for e in described["examples"].values()]
    return found or [("", {"summary": "", "value": None})]


async def made_for(shop: Shop, method: str, path: str, number: int) -> dict[str, str]:
    """Ids that only we or the PSP give, and an object in the state that the example is about where each has its own;
    the kind of a file."""
    if (method, path, number) == ("post", "/v1/payouts", 0):
        await fund(shop, "seller_anna", amount=20_000)
    if path.endswith("/files") and number > 0:
        return {"kind": "bank"}
    for name, make in MAKERS.items():
        if f"{{{name}}}" in path:
            return {name: await make(shop, "seller_anna")}
    if path.endswith("/capture") and number > 0:
        return {"payment_id": await paid(shop, capture="manual")}
    if path == "/v1/payments/{payment_id}/resolve":
        return {"payment_id": await objects.captured_in_part(shop, "seller_anna")}
    if path.endswith("/review"):
        rules = {"rules": [{"name": "all", "type": "amount", "currency": "INR", "above": "0", "then": "review"}]}
        http = shop.paysaga.http
        (await http.put("/v1/risk/rules", json=rules, headers=shop.headers)).raise_for_status()
        payment_id = await paid(shop)
        (await http.put("/v1/risk/rules", json={}, headers=shop.headers)).raise_for_status()
        return {"payment_id": payment_id}
    if "{refund_id}" in path:
        return {"refund_id": (await shop.get(f"/v1/payments/{examples.ORDER}/refunds")).json()["data"][0]["id"]}
    if "{dispute_id}" in path:
        payment_id = await paid(shop)
        await shop.paysaga.sandbox.dispute(await shop.reference(payment_id))
        return {"dispute_id": (await shop.dispute_until(payment_id, "NEEDS_RESPONSE"))["id"]}
    return {}


MAKERS: dict[str, Callable[[Shop, str], Awaitable[str]]] = {
    "payout_id": objects.payout,
    "reconciliation_id": lambda shop, _: objects.reconciliation(shop),
    "discrepancy_id": objects.discrepancy,
    "endpoint_id": objects.webhook_endpoint,
    "delivery_id": objects.webhook_delivery,
    "letter_id": objects.dead_letter,
    "notification_id": objects.notification,
    "suppression_id": objects.suppression,
}


async def paid(shop: Shop, **fields: Any) -> str:
    answer = await shop.post("/v1/payments", examples.PAYMENTS["paid"]["value"] | fields)
    assert answer.status_code in (201, 202), answer.text
    return str(answer.json()["id"])


def holds(answer: Answer, summary: str, *, settled: bool) -> None:
    """The answer is what the example's summary promises; `settled`: of a payment that an example before it ended."""
    promised = re.search(r"→ (\d+)(?: ([A-Z_]{4,}))?(?:, failure.code (\w+))?", summary)
    if promised is None:
        assert answer.status_code in ((409,) if settled else (200, 201, 202)), (answer.url, answer.text)
        return
    assert answer.status_code == int(promised[1]), (answer.url, answer.text)
    assert promised[2] in (None, answer.json()["status"]), answer.text
    assert promised[3] is None or answer.json()["failure"]["code"] == promised[3], answer.text


# --- /docs ---


async def test_the_page_loads_nothing_from_elsewhere(paysaga: Deployment) -> None:
    page = await paysaga.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 4
    for link in links:
        assert "//" not in link
        assert (await paysaga.http.get(f"/{link}")).status_code == 200, link
    script = (await paysaga.http.get("/docs/static/docs.js")).text
    assert not re.search(r"https?://", script)
    assert "validatorUrl: null" in script
    assert examples.IDEMPOTENCY_KEY in page.text
    assert 'data-development-key=""' in page.text, "the key is offered where the PSP is the sandbox's own account alone"


async def test_the_pages_of_fastapi_are_gone(paysaga: Deployment) -> None:
    for path in ("/redoc", "/docs/oauth2-redirect", "/docs/static/", "/docs/static/none.js"):
        assert (await paysaga.http.get(path)).status_code == 404, path
