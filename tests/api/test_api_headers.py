"""Who asks, under which key, and how long the answer may take."""

import asyncio
from uuid import uuid4

import jsonschema  # type: ignore[import-untyped]
import pytest

from db import api_key
from tests.api.problem import refused
from tests.support.eventually import eventually
from tests.support.shop import Answer, Shop


@pytest.mark.parametrize("key", [None, ""])
async def test_the_key_is_required(shop: Shop, key: str | None) -> None:
    headers = shop.headers | ({} if key is None else {"Idempotency-Key": key})
    answer = await shop.paysaga.http.post("/v1/payments", json=shop.body(shop.checkout()), headers=headers)
    refused(answer, 400, "idempotency_key_missing")


@pytest.mark.parametrize(
    "key", ["k" * 256, "k" * 5000, b"a\x80b", b"a\tb", b"\xa0a", b"a\x85", b"caf\xe9", "schl\u00fcssel"]
)
async def test_a_key_has_at_most_255_printable_ascii_characters(shop: Shop, key: str | bytes) -> None:
    raw = key if isinstance(key, bytes) else key.encode()
    headers = [(b"Authorization", shop.headers["Authorization"].encode()), (b"Idempotency-Key", raw)]
    answer = await shop.paysaga.http.post("/v1/payments", json=shop.body(shop.checkout()), headers=headers)
    refused(answer, 400, "idempotency_key_invalid")
    assert not await _described(shop, raw.decode("latin-1"))


@pytest.mark.parametrize("key", ["k" * 255, "order 17, second try", '"quoted"'])
async def test_a_key_of_up_to_255_printable_characters_is_taken(shop: Shop, key: str) -> None:
    answer = await shop.pay(shop.checkout(), key=key)
    assert answer.status_code == 201, answer.text
    assert await _described(shop, key)


async def _described(shop: Shop, key: str) -> bool:
    """Whether the API's description lets a client send this key."""
    document = (await shop.paysaga.http.get("/openapi.json")).json()
    parameters = document["paths"]["/v1/payments"]["post"]["parameters"]
    (described,) = (one for one in parameters if one["name"] == "Idempotency-Key")
    return bool(jsonschema.Draft202012Validator(described["schema"]).is_valid(key))


@pytest.mark.parametrize("route", ["confirm", "cancel"])
async def test_what_moves_a_payment_needs_a_key_too(shop: Shop, route: str) -> None:
    payment = await shop.paid(shop.checkout(), confirm=False)
    answer = await shop.paysaga.http.post(f"/v1/payments/{payment['id']}/{route}", headers=shop.headers)
    refused(answer, 400, "idempotency_key_missing")


async def test_the_alias_is_the_same_key(shop: Shop) -> None:
    body, key = shop.body(shop.checkout()), str(uuid4())
    alias = shop.headers | {"X-Idempotency-Key": key}
    first = await shop.paysaga.http.post("/v1/payments", json=body, headers=alias)
    second = await shop.post("/v1/payments", body, key=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotent-replayed"] == "true"
    assert first.json()["id"] == second.json()["id"]


async def test_key_and_alias_that_differ_are_refused(shop: Shop) -> None:
    headers = shop.headers | {"Idempotency-Key": "one", "X-Idempotency-Key": "two"}
    answer = await shop.paysaga.http.post("/v1/payments", json=shop.body(shop.checkout()), headers=headers)
    refused(answer, 400, "idempotency_key_invalid")


# --- authentication ---


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "api_key_missing"),
        (b"", "api_key_missing"),
        (b"Bearer", "api_key_missing"),
        (b"Basic c2tfdGVzdF9wYXlzYWdhOg==", "api_key_missing"),
        (b"Bearer sk_test_nobody", "api_key_invalid"),
        (b"Bearer \xc3\xa4", "api_key_missing"),
        (b"Bearer " + b"s" * 9000, "api_key_invalid"),
    ],
)
async def test_without_a_known_key_nothing_is_said(shop: Shop, header: bytes | None, code: str) -> None:
    headers = [] if header is None else [(b"Authorization", header)]
    for path in ("/v1/payments/pay_1", "/v1/merchants", "/v1/ledger/transactions", "/v1/transactions/buyer_1"):
        refused(await shop.paysaga.http.get(path, headers=headers), 401, code)
    for body in (b"{}", b"not read at all", b"[" * 90_000):
        refused(await shop.paysaga.http.post("/v1/payments", content=body, headers=headers), 401, code)


async def test_a_revoked_key_is_refused(shop: Shop) -> None:
    """At once by a process that has not seen it, and within seconds by one that has."""
    database = shop.paysaga.database

    async def new_key() -> tuple[str, dict[str, str]]:
        secret = api_key.new_secret()
        key_id = await database.run(lambda c: api_key.create(c, shop.tenant, "till", secret))
        return key_id, {"Authorization": f"Bearer {secret}"}

    unseen, unseen_headers = await new_key()
    assert await database.run(lambda c: api_key.revoke(c, unseen))
    refused(await shop.paysaga.http.get("/v1/merchants", headers=unseen_headers), 401, "api_key_invalid")

    seen, headers = await new_key()
    assert (await shop.paysaga.http.get("/v1/merchants", headers=headers)).status_code == 200
    assert await database.run(lambda c: api_key.revoke(c, seen))

    async def refused_now() -> Answer | None:
        answer = await shop.paysaga.http.get("/v1/merchants", headers=headers)
        return answer if answer.status_code == 401 else None

    refused(await eventually(refused_now, timeout_s=7), 401, "api_key_invalid")


# --- of answers ---


@pytest.mark.parametrize(
    "path",
    [
        "/v1/payments",
        "/v1/payments?limit=x",
        "/v1/nothing",
        "/v1/ledger/accounts?format=csv",
        "/",
        "/docs",
        "/healthz",
        "/openapi.json",
    ],
)
async def test_no_answer_is_kept_guessed_at_or_framed(shop: Shop, path: str) -> None:
    said = (await shop.paysaga.http.get(path, headers=shop.headers)).headers
    assert [said.get_list(name) for name in ("cache-control", "x-content-type-options")] == [["no-store"], ["nosniff"]]
    assert "frame-ancestors 'none'" in said["content-security-policy"]
    assert len(said.get_list("content-security-policy")) == 1


# --- routes and methods ---


async def test_an_unknown_route(shop: Shop) -> None:
    for path in ("/v1", "/v2/payments", "/v1/payments/", "/v1/payments/a/b/c", "/docs/static/../../app.py"):
        refused(await shop.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/payments", "GET, POST"),
        ("GET", "/v1/payments/pay_1/cancel", "POST"),
        ("DELETE", "/v1/payments/pay_1", "GET"),
        ("DELETE", "/v1/merchants/anna", "GET, PATCH"),
        ("OPTIONS", "/v1/merchants", "GET, POST"),
        ("GET", "/webhooks/stripe", "POST"),
        ("GET", "/v1/payouts/schedule", "POST"),
        ("OPTIONS", "/v1/payouts/schedule", "POST"),
        ("POST", "/v1/payouts/schedule/anna", "GET"),
        ("OPTIONS", "/v1/payouts/pt_1", "GET"),
        ("GET", "/v1/payouts/pt_1/cancel", "POST"),
        ("GET", "/v1/reconciliations/files", "POST"),
        ("OPTIONS", "/v1/reconciliations/files", "POST"),
        ("DELETE", "/v1/reconciliations/rec_1", "GET"),
        ("PATCH", "/v1/discrepancies/disc_1", "GET"),
    ],
)
async def test_another_method_is_told_which_are_allowed(shop: Shop, method: str, path: str, allow: str) -> None:
    answer = await shop.paysaga.http.request(method, path, headers=shop.headers)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize(
    "name", ["%00", "a%00b", "%ff", "%ED%A0%80", "x" * 65, "x" * 5000, "..%2f..", "po_", "pay_x", "%F0%9F%98%80"]
)
async def test_a_malformed_id_is_an_unknown_one(shop: Shop, name: str) -> None:
    for path, code in [
        (f"/v1/payments/{name}", "payment_not_found"),
        (f"/v1/payments/{name}/explain", "payment_not_found"),
        (f"/v1/merchants/{name}", "merchant_not_found"),
        (f"/v1/wallets/{name}", "merchant_not_found"),
        (f"/v1/payouts/{name}", "payout_not_found"),
        (f"/v1/payouts/schedule/{name}", "merchant_not_found"),
        (f"/v1/reconciliations/{name}", "reconciliation_not_found"),
        (f"/v1/discrepancies/{name}", "discrepancy_not_found"),
    ]:
        answer = await shop.get(path)
        if "%2f" in name:
            assert answer.status_code == 404
        else:
            refused(answer, 404, code)
    history = await shop.get(f"/v1/transactions/{name}")
    assert history.status_code in (200, 404)
    if history.status_code == 200:
        assert history.json()["data"] == []


# --- Prefer ---


async def test_prefer_says_how_long_an_answer_may_take(shop: Shop) -> None:
    """The PSP holds its answer back: the client is told 202 when its own patience ends, not when the PSP's does."""
    checkout = shop.checkout()
    held = await shop.paysaga.sandbox.fault("payment_intents.create", "hold_before", checkout=checkout)
    answer = await shop.pay(checkout, wait=0)
    await shop.paysaga.sandbox.release(held)
    assert (answer.status_code, answer.json()["status"]) == (202, "EXECUTING")
    assert answer.headers["location"] == f"/v1/payments/{answer.json()['id']}"
    assert (await shop.until(answer.json()["id"]))["status"] == "SUCCESS"


@pytest.mark.parametrize(
    "prefer", ["wait", "wait=soon", "wait=-1", "respond-async", "", "wait=99999", 'wait="7"', "a, wait=25; b"]
)
async def test_a_preference_is_never_an_error(shop: Shop, prefer: str) -> None:
    answer = await shop.post("/v1/payments", shop.body(shop.checkout()), Prefer=prefer)
    assert (answer.status_code, answer.json()["status"]) == (201, "SUCCESS")


async def test_a_preference_cannot_hold_a_request_for_ever(shop: Shop) -> None:
    """3-D Secure rests at once: there is no reason to wait for a buyer."""
    async with asyncio.timeout(10):
        answer = await shop.pay(shop.checkout(), "pm_card_threeDSecure2Required", wait=9999)
    assert (answer.status_code, answer.json()["status"]) == (202, "REQUIRES_ACTION")
