"""The API's description: FastAPI's own, with what FastAPI cannot say."""

import json
from functools import cache
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from api.context import KEY_LENGTH_MAX, KEY_PATTERN
from api.problems import MEDIA_TYPE, Problem, problems
from domain.access import ROLES

_REFERENCES = "#/components/schemas/{model}"

DESCRIPTION = """
A payment system that a shop or marketplace runs itself.

* **Amounts** are decimal strings in major units: `"500.00"`, with at most the decimals of their currency.
* **Retry safely.** Every POST that moves money needs an `Idempotency-Key`. The same request under the same key is
  answered with the same payment, in its current state, and `Idempotent-Replayed: true`. A refused request does not
  burn its key. On this page the example key stands for a new one at each click.
* **201** means that the payment has ended, **202** that it waits: for the buyer, the PSP, a person or more time. Ask
  `GET /v1/payments/{payment_id}` again. `Prefer: wait=N` says how long an answer may take.
* **A declined payment is a created payment**: `201`, status `FAILED`, `failure.code`.
* **Limits** are told with each answer: `RateLimit-Policy: "key";q=500;w=1` (500 requests in windows of a second) and
  `RateLimit: "key";r=499;t=1` (499 are left, until it begins anew in a second). Beyond them it is `429` with
  `Retry-After`, and nothing was read or stored. `503` has a `Retry-After` too, which grows with the crowd.
* **`Request-Timeout: N`** says for how many seconds you wait at all: what could not be begun by then is not begun
  (`503` `deadline_passed`, nothing is stored), nor is what you have hung up on. What has begun is finished.
* **Errors** are `application/problem+json` (RFC 9457): `code` is stable and for programs, `detail` is for people.
* **A checkout page** has no API key: with the `client_token` that `POST /v1/payments` answers, it reads and confirms
  that one payment.
* **Authorize** with an API key, or with a JWT of your identity provider where that is set up. The stack that
  `make run` starts has `sk_test_paysaga`, and the sellers `seller_anna`, `seller_bo` and `seller_chen`. Payment methods
  there are Stripe's test names: `pm_card_visa`, `pm_card_chargeDeclined`, `pm_card_threeDSecure2Required`,
  `pm_upi_success` …
"""

TAGS = [
    {"name": "payments", "description": "Take a checkout, show it, move it on, and see why it is where it is."},
    {"name": "refunds", "description": "Give money back, in full or in part."},
    {"name": "disputes", "description": "What buyers' banks claim back, and the evidence against it."},
    {"name": "risk", "description": "Rules that judge a payment, and the payments that wait for a person."},
    {"name": "merchants", "description": "The sellers that orders are credited to, and what they are owed."},
    {"name": "payouts", "description": "Pay sellers out: now, or on a schedule; and see what each payout pays."},
    {
        "name": "reconciliation",
        "description": "Compare what the PSP or the bank lists with our records and books, and settle what differs.",
    },
    {"name": "history", "description": "What a buyer paid, what a seller earned, and the books behind it."},
    {
        "name": "sessions",
        "description": "People who log in, with a password and a second factor. Programs have API keys.",
    },
    {"name": "events", "description": "What the rest of a company is told, in the words of its consumers."},
    {
        "name": "webhook endpoints",
        "description": "Where a shop wants its events, what was sent there, and sending it again.",
    },
    {"name": "dead letters", "description": "What was given up: why, trying it again, leaving it as it is."},
    {
        "name": "notifications",
        "description": "What buyers and sellers are told by mail, SMS and WhatsApp, and what became of it.",
    },
    {"name": "webhooks", "description": "What PSPs send us. Not for you."},
    {"name": "operations", "description": "For the machines that watch over this one."},
]


_JWT = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": (
        "`Authorization: Bearer eyJ…`, a token of the identity provider that this deployment trusts. It names the "
        "`tenant`, and a `role`, or scopes in `scope`, or both; a merchant's names its `seller_account`. The names of "
        "these claims can be chosen. One that is not taken is 401 `token_invalid`."
    ),
}


def install(app: FastAPI) -> None:
    """Build and write the document once, at its first reader: anybody may ask for it, and its size is a tenth of a
    second's work."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]

    @cache
    def text() -> bytes:
        return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(text(), media_type="application/json")


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=TAGS,
        servers=[{"url": "/"}],
    )
    document["components"]["securitySchemes"]["jwt"] = _JWT
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template=_REFERENCES)
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    for path in document["paths"].values():
        for operation in path.values():
            if operation["operationId"] != "healthz":
                operation["responses"].setdefault("429", problems(429)[429])
            _without_fastapis_error(operation["responses"])
            _with_tokens(operation)
            for parameter in operation.get("parameters", ()):
                _complete(parameter)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _with_tokens(operation: dict[str, Any]) -> None:
    """An API key or a JWT, with the same scopes, and the roles that have them."""
    security: list[dict[str, list[str]]] = operation.get("security", [])
    needed = next((requirement["apiKey"] for requirement in security if "apiKey" in requirement), None)
    if needed is not None:
        security.append({"jwt": needed})
        operation["x-roles"] = [role for role, scopes in ROLES.items() if scopes.issuperset(needed)]


def _without_fastapis_error(responses: dict[str, Any]) -> None:
    """FastAPI adds its own shape of a 422 wherever there is a parameter."""
    if MEDIA_TYPE not in responses.get("422", {}).get("content", {MEDIA_TYPE: None}):
        del responses["422"]


def _complete(parameter: dict[str, Any]) -> None:
    """Examples go where Swagger UI fills in the form; the key is required, though its alias will do."""
    examples = parameter["schema"].pop("examples", None)
    if examples:
        parameter["example"] = examples[0]
    if parameter["name"] == "Idempotency-Key":
        parameter["required"] = True
        parameter["schema"] = {
            "type": "string",
            "minLength": 1,
            "maxLength": KEY_LENGTH_MAX,
            "pattern": KEY_PATTERN,
        }
