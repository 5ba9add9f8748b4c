"""Requests are counted by key, tenant and address, and refused before anything else is done with them; work that nobody
waits for is not begun."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from uuid import uuid4

from db import api_key
from tests.api.problem import refused
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Answer, Shop

POLICY = re.compile(r'"([a-z]+)";q=([1-9][0-9]*);w=([1-9][0-9]*)')
LIMIT = re.compile(r'"([a-z]+)";r=(0|[1-9][0-9]*);t=([1-9][0-9]*)')
PER_KEY, PER_TENANT, PER_ADDRESS, WINDOW_S = 4, 7, 6, 2


async def test_requests_are_limited(deploy: Deploy) -> None:
    paysaga = await deploy(
        api_rate_per_key=f"{PER_KEY}/{WINDOW_S}seconds",
        api_rate_per_tenant=f"{PER_TENANT}/{WINDOW_S}seconds",
        api_rate_per_address=f"{PER_ADDRESS}/{WINDOW_S}seconds",
        database_pool_size=1,
    )
    shop, other, twin = await paysaga.shop("shop"), await paysaga.shop("other"), await _second_key(paysaga, "shop")
    for one in (shop, other, twin):
        await _let_in(one)
    await _by_key(shop, other)
    await _by_tenant(shop, twin, other)
    await _by_address(paysaga, other)
    await _a_refused_request_keeps_its_key(shop)
    await _past_its_time_nothing_begins(other)
    await _nothing_begins_for_who_has_left(paysaga)


async def _second_key(paysaga: Deployment, tenant: str) -> Shop:
    secret = f"sk_test_{paysaga.name}_second"
    await paysaga.database.run(lambda c: api_key.create(c, tenant, "second", secret))
    return Shop(paysaga, tenant, secret)


async def _let_in(shop: Shop) -> None:
    """With the process knowing the key afterwards, and a window with room."""

    async def ask() -> bool:
        answer = await shop.get("/v1/merchants")
        return answer.status_code == 200 and "tenant" in answer.headers.get("ratelimit", "")

    await eventually(ask)


async def _until_refused(ask: Callable[[], Awaitable[Answer]], budget: str, before: int) -> Answer:
    """The first refusal of a budget. Everything before it is answered with the status `before`."""
    while True:
        answer = await ask()
        if answer.status_code == 429:
            refused(answer, 429, "rate_limited")
            limits = {name: (int(left), int(seconds)) for name, left, seconds in _items(LIMIT, answer, "ratelimit")}
            if limits.get(budget, (1, 0))[0] == 0:
                assert limits[budget][1] == int(answer.headers["retry-after"]) <= WINDOW_S
                return answer
        else:
            assert answer.status_code == before, answer.text


def _items(item: re.Pattern[str], answer: Answer, name: str) -> list[tuple[str, str, str]]:
    """The items of a List of Strings with parameters (RFC 9651), as these fields are."""
    text = answer.headers[name]
    assert re.fullmatch(rf"{item.pattern}(?:, {item.pattern})*", text), text
    return item.findall(text)


async def _by_key(shop: Shop, other: Shop) -> None:
    answer = await _until_refused(lambda: shop.get("/v1/merchants"), "key", 200)
    policies = [("key", str(PER_KEY), str(WINDOW_S)), ("tenant", str(PER_TENANT), str(WINDOW_S))]
    assert _items(POLICY, answer, "ratelimit-policy") == policies
    assert answer.headers["cache-control"] == "no-store"
    assert (await other.get("/v1/merchants")).status_code == 200
    await _let_in(shop)


async def _by_tenant(shop: Shop, twin: Shop, other: Shop) -> None:
    """Two keys, each within its own limit, are more than their tenant has."""
    turn = 0

    async def ask() -> Answer:
        nonlocal turn
        turn += 1
        return await (shop, twin)[turn % 2].get("/v1/merchants")

    await _until_refused(ask, "tenant", 200)
    assert (await other.get("/v1/merchants")).status_code == 200


async def _by_address(paysaga: Deployment, other: Shop) -> None:
    """Whoever guesses keys or signatures, or has none, soon gets no answer; who has a valid key is none of them."""
    await _until_refused(lambda: paysaga.http.get("/v1/merchants"), "address", 401)
    guess = {"Authorization": "Bearer sk_guessed"}
    await _until_refused(lambda: paysaga.http.get("/v1/merchants", headers=guess), "address", 401)
    await _until_refused(lambda: paysaga.http.post("/webhooks/stripe", content=b"{}"), "address", 400)
    await _let_in(other)
    assert (await paysaga.http.get("/healthz")).status_code == 200


async def _a_refused_request_keeps_its_key(shop: Shop) -> None:
    """Nothing of it was read: it would have been refused otherwise."""
    await _until_refused(lambda: shop.get("/v1/merchants"), "key", 200)
    checkout, key = shop.checkout(), str(uuid4())
    headers = shop.headers | {"Idempotency-Key": key}

    async def broken() -> Answer:
        return await shop.paysaga.http.post("/v1/payments", content=b"{", headers=headers)

    await _until_refused(broken, "key", 400)
    await _until_refused(lambda: shop.pay(checkout, key=key), "key", 201)

    async def paid() -> Answer | None:
        answer = await shop.pay(checkout, key=key)
        return answer if answer.status_code != 429 else None

    answer = await eventually(paid)
    assert (answer.status_code, answer.json()["status"]) == (201, "SUCCESS")
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def _past_its_time_nothing_begins(shop: Shop) -> None:
    await _let_in(shop)
    body, headers = shop.body(shop.checkout()), shop.headers | {"Idempotency-Key": str(uuid4())}

    async def pay(seconds: str) -> Answer:
        return await shop.paysaga.http.post("/v1/payments", json=body, headers=headers | {"Request-Timeout": seconds})

    refused(await pay("0"), 503, "deadline_passed")
    answer = await pay("19.5")
    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers


async def _nothing_begins_for_who_has_left(paysaga: Deployment) -> None:
    """A client leaves while its payment waits for the only connection to the database."""
    first, shop = await paysaga.shop("first"), await paysaga.shop("leaver")
    await _let_in(first)
    await _let_in(shop)
    body = json.dumps(shop.body(shop.checkout())).encode()
    head = f"POST /v1/payments HTTP/1.1\r\nHost: paysaga\r\nAuthorization: {shop.headers['Authorization']}\r\n"
    head += f"Content-Type: application/json\r\nIdempotency-Key: {uuid4()}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with paysaga.connection() as holder, holder.transaction():
        await holder.execute("LOCK TABLE merchant IN ACCESS EXCLUSIVE MODE")
        busy = asyncio.create_task(first.get("/v1/merchants"))
        await eventually(lambda: _waits_for_a_lock(paysaga))
        _, writer = await asyncio.open_connection("127.0.0.1", paysaga.settings.api_port)
        writer.write(head.encode() + body)
        await _all_is_read(paysaga)
        writer.close()
        await _all_is_read(paysaga)
    await busy
    await eventually(lambda: _was_not_begun(paysaga))
    assert await paysaga.sql("SELECT id FROM payment WHERE tenant_id = 'leaver'") == []


async def _all_is_read(paysaga: Deployment) -> None:
    """By the process's only event loop: what was sent before."""
    for _ in range(3):
        assert (await paysaga.http.get("/healthz")).status_code == 200


async def _waits_for_a_lock(paysaga: Deployment) -> bool:
    waiting = "SELECT 1 FROM pg_locks JOIN pg_database ON oid = database WHERE NOT granted AND datname = $1"
    return bool(await paysaga.sql(waiting, paysaga.name))


async def _was_not_begun(paysaga: Deployment) -> bool:
    metrics = (await paysaga.http.get("/metrics")).text
    return 'paysaga_requests_not_begun_total{reason="client_gone"} 1.0' in metrics
