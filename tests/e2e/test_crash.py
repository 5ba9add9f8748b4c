"""Workers are killed (SIGKILL) where it hurts most and started again; the sandbox's log tells what really happened.

The places are found from outside: a call held at the PSP before or after its commit, a row lock that stops a step of
our own in the middle, Temporal stopped so that a finished step cannot be reported.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.e2e.test_payment import FEE_KEPT
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

PAYMENT_LOCK = "SELECT FROM payment WHERE id = $1 FOR UPDATE"
KILLED = {"api_worker": False, "workflow_task_timeout_s": 2.0}


@pytest.fixture(scope="module")
def servers(stoppable: EmbeddedStack) -> EmbeddedStack:
    return stoppable


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The API hosts no worker here, so that the worker process is the one to kill."""
    async with Deployment(servers, tmp_path_factory.mktemp("crash"), "crash", **KILLED) as deployment:
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    """A tenant of the test's own; the books of all are audited at its end."""
    async with tenant_of_a_killed_worker(paysaga) as shop:
        yield shop


@asynccontextmanager
async def tenant_of_a_killed_worker(paysaga: Deployment) -> AsyncIterator[Shop]:
    if not paysaga.worker.running:  # the test before this one failed
        await paysaga.start_worker()
    yield await paysaga.shop(f"crash-{secrets.token_hex(5)}")
    assert await audit_database(paysaga.database) == []


async def restart(paysaga: Deployment) -> None:
    await paysaga.worker.kill()
    await paysaga.start_worker()


@asynccontextmanager
async def row_lock(paysaga: Deployment, query: str, *arguments: Any) -> AsyncIterator[None]:
    """Hold what the query locks until the block ends."""
    async with paysaga.connection() as connection, connection.transaction():
        assert await connection.fetch(query, *arguments), "there is a row to lock"
        yield


async def blocked(paysaga: Deployment) -> None:
    """Until a step of the application waits for a lock."""

    async def probe() -> bool:
        waiting = await paysaga.sql(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(waiting)

    await eventually(probe, what="a step that waits for the lock")


@pytest.mark.parametrize("moment", ["hold_before", "hold_after"])
async def test_killed_around_the_charge(paysaga: Deployment, shop: Shop, moment: str) -> None:
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault("payment_intents.create", moment, checkout=checkout)
    payment = (await shop.pay(checkout, wait=0)).json()
    await paysaga.sandbox.struck(hold)
    await restart(paysaga)
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(checkout)).charged == [50000]


async def test_killed_between_charge_and_settlement(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_before", checkout=checkout)
    payment = (await shop.pay(checkout, wait=0)).json()
    await paysaga.sandbox.struck(hold)
    async with row_lock(paysaga, PAYMENT_LOCK, payment["id"]):
        await paysaga.sandbox.release(hold)
        await blocked(paysaga)
        await paysaga.worker.kill()
    # PostgreSQL may do what waits for the lock although its client has died: then the step finds it done.
    assert (await shop.payment(payment["id"]))["status"] in ("EXECUTING", "SUCCESS")
    await paysaga.start_worker()
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(checkout)).charged == [50000]
    assert await shop.kinds(payment["id"]) == ["capture", "psp_fee"]


async def captured(paysaga: Deployment, shop: Shop, operation: str) -> tuple[str, str, str]:
    """A payment whose capture, or the void of whose decline, hangs at the PSP; its id, its checkout and the hold."""
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault(operation, "hold_after", checkout=checkout)
    if operation == "payment_intents.cancel":
        payment = (await shop.pay(checkout, "pm_card_chargeDeclined", wait=0)).json()
    else:
        payment = await shop.paid(checkout, capture="manual", wait=20)
        (await shop.post(f"/v1/payments/{payment['id']}/capture", {}, wait=0)).raise_for_status()
    await paysaga.sandbox.struck(hold)
    return payment["id"], checkout, hold


@pytest.mark.parametrize(
    ("operation", "status"), [("payment_intents.capture", "SUCCESS"), ("payment_intents.cancel", "FAILED")]
)
async def test_killed_around_a_capture_or_the_void_of_a_decline(
    paysaga: Deployment, shop: Shop, operation: str, status: str
) -> None:
    """Once the PSP has done it, and again where its answer waits to be written down."""
    first, checkout, _ = await captured(paysaga, shop, operation)
    await restart(paysaga)
    second, other, hold = await captured(paysaga, shop, operation)
    await killed_while_booking(paysaga, second, hold)
    for payment_id, name in ((first, checkout), (second, other)):
        assert (await shop.until(payment_id))["status"] == status
        assert (await paysaga.sandbox.log(name)).charged == ([50000] if status == "SUCCESS" else [])
        assert await shop.kinds(payment_id) == (["capture", "psp_fee"] if status == "SUCCESS" else [])


RULES = {"rules": [{"name": "large", "type": "amount", "currency": "INR", "above": "9000.00", "then": "review"}]}


@pytest.mark.parametrize("rules", [False, True], ids=["at once", "one by one"])
async def test_killed_in_the_middle_of_two_settlements(paysaga: Deployment, shop: Shop, rules: bool) -> None:
    """Both in one statement; with risk rules, which the general path looks at, one after the other."""
    if rules:
        (await paysaga.http.put("/v1/risk/rules", json=RULES, headers=shop.headers)).raise_for_status()
    await shop.paid(shop.checkout(), orders=[("anna", "1.00"), ("bo", "1.00")])  # the wallets exist from now on
    checkout = shop.checkout()
    async with row_lock(
        paysaga, "SELECT FROM wallet WHERE tenant_id = $1 AND seller_account = 'bo' FOR UPDATE", shop.tenant
    ):
        payment = (await shop.pay(checkout, orders=[("anna", "200.00"), ("bo", "300.00")], wait=0)).json()

        async def so_far() -> bool:
            orders = (await shop.payment(payment["id"]))["payment_orders"]
            return [order["ledger_updated"] for order in orders] == [rules, False]

        await eventually(so_far, what="none, or one of two is settled")
        await blocked(paysaga)
        await paysaga.worker.kill()
    await paysaga.start_worker()
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(checkout)).charged == [50000]
    assert sorted(await shop.kinds(payment["id"])) == ["capture", "capture", "psp_fee"]


@asynccontextmanager
async def temporal_stopped(servers: EmbeddedStack) -> AsyncIterator[None]:
    """Nothing can be reported to Temporal meanwhile."""
    pid = servers.pid_of("temporal")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_killed_before_a_settlement_is_reported(paysaga: Deployment, shop: Shop, servers: EmbeddedStack) -> None:
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_before", checkout=checkout)
    payment = (await shop.pay(checkout, wait=0)).json()
    await paysaga.sandbox.struck(hold)
    async with temporal_stopped(servers):
        await paysaga.sandbox.release(hold)
        await shop.until(payment["id"], "SUCCESS")
        await paysaga.worker.kill()
    await paysaga.start_worker()
    end = await paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}").result()
    assert end["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(checkout)).charged == [50000]
    assert await shop.kinds(payment["id"]) == ["capture", "psp_fee"]


async def killed_while_booking(paysaga: Deployment, payment_id: str, hold: str) -> None:
    """The PSP's held answer arrives, and its booking waits for the payment's lock when the worker dies."""
    async with row_lock(paysaga, PAYMENT_LOCK, payment_id):
        await paysaga.sandbox.release(hold)
        await blocked(paysaga)
        await paysaga.worker.kill()
    await paysaga.start_worker()


async def cancelled_in_the_charge(paysaga: Deployment, shop: Shop, checkout: str) -> str:
    """A payment whose cancel arrives while the PSP has the charge: it will be refunded."""
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = (await shop.pay(checkout, wait=0)).json()
    await paysaga.sandbox.struck(hold)
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)).status_code == 202
    await paysaga.sandbox.release(hold)
    return str(payment["id"])


@pytest.mark.parametrize("moment", ["hold_before", "hold_after"])
async def test_killed_around_the_refund(paysaga: Deployment, shop: Shop, moment: str) -> None:
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault("refunds.create", moment, checkout=checkout)
    payment_id = await cancelled_in_the_charge(paysaga, shop, checkout)
    await paysaga.sandbox.struck(hold)
    await restart(paysaga)
    assert (await shop.until(payment_id))["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])
    assert await shop.balances() == FEE_KEPT


async def test_killed_between_refund_and_booking(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault("refunds.create", "hold_before", checkout=checkout)
    payment_id = await cancelled_in_the_charge(paysaga, shop, checkout)
    await paysaga.sandbox.struck(hold)
    async with row_lock(paysaga, PAYMENT_LOCK, payment_id):
        await paysaga.sandbox.release(hold)
        await blocked(paysaga)
        await paysaga.worker.kill()
    await paysaga.start_worker()
    assert (await shop.until(payment_id))["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])
    assert await shop.balances() == FEE_KEPT


async def test_killed_between_the_refunds_of_a_compensation(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    orders = [("anna", "100.00"), ("bo", "150.00"), ("chen", "250.00")]
    payment = await shop.paid(checkout, "pm_upi_processing", orders=orders)
    await shop.set_merchant("chen", status="FROZEN")
    first = await paysaga.sandbox.fault("refunds.create", "latency", checkout=checkout, delay_s=0)
    second = await paysaga.sandbox.fault("refunds.create", "hold_before", checkout=checkout)
    await paysaga.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    await paysaga.sandbox.struck(first)
    await paysaga.sandbox.struck(second)
    await restart(paysaga)
    assert (await shop.until(payment["id"]))["status"] == "FAILED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, sorted(log.refunded)) == ([50000], [10000, 15000, 25000])
    assert await shop.balances() == FEE_KEPT


async def test_all_workers_down_for_a_while(paysaga: Deployment, shop: Shop) -> None:
    """The backlog is stored and drains; nothing is charged twice."""
    await paysaga.worker.kill()
    checkouts = [shop.checkout() for _ in range(20)]
    answers = await asyncio.gather(*(shop.pay(checkout, wait=0) for checkout in checkouts))
    assert {answer.status_code for answer in answers} == {202}
    await paysaga.start_worker()
    ends = await asyncio.gather(*(shop.until(answer.json()["id"]) for answer in answers))
    assert {end["status"] for end in ends} == {"SUCCESS"}
    logs = await asyncio.gather(*(paysaga.sandbox.log(checkout) for checkout in checkouts))
    assert [log.charged for log in logs] == [[50000]] * 20
