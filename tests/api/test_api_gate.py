"""The gate: a tenant's crowd waits for its own turns, what would wait too long is refused unharmed, and the other
tenant does not notice. The bounds are tiny here; `make bench-gate` measures the real ones."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from api import examples
from domain.ids import payment_workflow_id
from embedded.stack import EmbeddedStack
from tests.api.problem import refused
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Answer, Shop

PLACES, WAITING = 2, 3
UPLOADS_OF_TENANT = EXPENSIVE_OF_TENANT = 2


@pytest.fixture(scope="module")
async def narrow(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """A Paysaga with two places, three that wait, and much patience with the database."""
    bounds = {"api_payments_max": PLACES, "api_waiting_max": WAITING, "database_report_timeout_s": 30.0}
    name = f"narrow{secrets.token_hex(3)}"
    folder = tmp_path_factory.mktemp("narrow")
    async with Deployment(servers, folder, name, stripe_fast_timeout_s=2.5, **bounds) as deployment:
        yield deployment


async def tenant(paysaga: Deployment) -> Shop:
    """A shop whose key the process has seen."""
    shop = await paysaga.shop(f"shop-{secrets.token_hex(4)}")
    (await shop.get("/v1/merchants")).raise_for_status()
    return shop


async def refusals(requests: set[asyncio.Task[Answer]]) -> set[asyncio.Task[Answer]]:
    """Those of the requests that are answered while the others wait: refused, and told when to come back."""
    done, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        refused(task.result(), 503, "overloaded")
        assert 1 <= int(task.result().headers["Retry-After"]) <= 60
    return done


async def test_a_crowd_waits_for_its_own_turns(narrow: Deployment) -> None:
    """Both places are held at a slow PSP. Three more payments of the crowd wait, one is refused and nothing of it is
    stored; the other tenant's payment goes before all of them; then all of the crowd's are made, each once."""
    crowd, other = await tenant(narrow), await tenant(narrow)
    slow = [crowd.checkout() for _ in range(PLACES)]
    faults = [await narrow.sandbox.fault("payment_intents.create", "hold_after", checkout=c) for c in slow]
    held = [asyncio.create_task(crowd.pay(c, wait=20)) for c in slow]
    await asyncio.gather(*(narrow.sandbox.struck(fault) for fault in faults))

    checkouts = {asyncio.create_task(crowd.pay(c, key=c, wait=20)): c for c in map(crowd.checkout, "abcd")}
    (late,) = await refusals(set(checkouts))
    checkout = checkouts.pop(late)
    assert not await narrow.sql("SELECT FROM payment WHERE checkout_id = $1", checkout)
    assert not await narrow.sql("SELECT FROM idempotency_key WHERE key = $1", checkout)

    first = await other.paid(other.checkout())
    assert first["status"] == "SUCCESS"
    assert (await crowd.get("/v1/merchants")).status_code == 200, "reading does not wait behind payments"

    await asyncio.gather(*(narrow.sandbox.release(fault) for fault in faults))
    answers = await asyncio.gather(*held, *checkouts)
    assert {answer.json()["status"] for answer in answers} == {"SUCCESS"}
    later = {answer.json()["created_at"] for answer in answers[PLACES:]}
    assert first["created_at"] < min(later), "it went before those that had come before it"
    again = await crowd.pay(checkout, key=checkout)
    assert (again.status_code, again.json()["status"]) == (201, "SUCCESS"), again.text
    assert "idempotent-replayed" not in again.headers
    assert (await narrow.sandbox.log(checkout)).charged == [50000]

    history = await narrow.temporal.get_workflow_handle(payment_workflow_id(again.json()["id"])).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert started.priority.fairness_key == crowd.tenant, "in Temporal's queues it takes turns as well"


async def test_what_a_payment_waits_for_holds_no_place(narrow: Deployment) -> None:
    """Payments that rest with their buyers, some of them of clients that have left, and one whose outcome the PSP does
    not tell: there is room for the next. On a machine that stands still for seconds it is told to come again."""
    crowd = await tenant(narrow)
    for _ in range(PLACES + 1):
        assert (await crowd.paid(crowd.checkout(), "pm_card_authenticationRequired"))["status"] == "REQUIRES_ACTION"
    for _ in range(PLACES + 1):
        request = asyncio.create_task(crowd.pay(crowd.checkout(), "pm_upi_success", wait=25))
        await asyncio.sleep(0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    silent = [crowd.checkout() for _ in range(PLACES + 1)]
    for checkout in silent:
        await narrow.sandbox.fault("payment_intents.create", "hold_before", checkout=checkout)
    for checkout in [*silent, *(crowd.checkout() for _ in range(PLACES + 1))]:

        async def taken(checkout: str = checkout) -> bool:
            answer = await crowd.pay(checkout, key=checkout, wait=0)
            if answer.status_code == 503:
                refused(answer, 503, "overloaded")
            return answer.status_code in (201, 202)

        await eventually(taken)

    async def paid() -> bool:
        return (await crowd.pay(crowd.checkout())).status_code == 201

    await eventually(paid)


async def test_expensive_requests_have_a_budget_and_connections_of_their_own(narrow: Deployment) -> None:
    """The ledger is locked: the crowd's pages wait for it, two at a time, three behind them, one is refused; everybody
    else's requests find a connection, the crowd's own, too."""
    crowd, other = await tenant(narrow), await tenant(narrow)
    async with narrow.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE ledger_transaction IN ACCESS EXCLUSIVE MODE")
        count = EXPENSIVE_OF_TENANT + WAITING + 1
        pages = {asyncio.create_task(crowd.get("/v1/ledger/transactions")) for _ in range(count)}
        await refusals(pages)
        for shop in (crowd, other):
            assert (await shop.get("/v1/payments")).status_code == 200
    found = [answer.status_code for answer in await asyncio.gather(*pages)]
    assert found.count(200) in (WAITING + 1, WAITING + EXPENSIVE_OF_TENANT), found


async def test_silent_uploads_stop_nobody_elses(narrow: Deployment) -> None:
    crowd, other = await tenant(narrow), await tenant(narrow)
    url = urlsplit(str(narrow.http.base_url))
    path = "/v1/reconciliations/files?kind=psp&name=november.csv"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {crowd.secret}\r\n"
        "Content-Type: text/csv\r\nContent-Length: 1000\r\n\r\nnothing more comes"
    )
    silent = [await asyncio.open_connection(url.hostname, url.port) for _ in range(4)]
    try:
        for _, writer in silent:
            writer.write(head.encode())
        reading = [asyncio.create_task(reader.readuntil(b"\r\n")) for reader, _ in silent]
        soon = asyncio.as_completed(reading)
        answered = {await next(soon) for _ in range(len(silent) - UPLOADS_OF_TENANT)}
        assert answered == {b"HTTP/1.1 503 Service Unavailable\r\n"}
        headers = other.headers | {"Content-Type": "text/csv", "Idempotency-Key": str(uuid4())}
        answer = await narrow.http.post(path, content=examples.SETTLEMENT_FILE, headers=headers)
        assert answer.status_code == 201, answer.text
    finally:
        for task in reading:
            task.cancel()
        for _, writer in silent:
            writer.close()
