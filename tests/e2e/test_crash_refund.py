"""Workers are killed (SIGKILL) at each step of a refund; what is booked is what the PSP did, once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from embedded.stack import EmbeddedStack
from tests.e2e.test_cancel import sweep
from tests.e2e.test_crash import (
    KILLED,
    killed_while_booking,
    restart,
    temporal_stopped,
    tenant_of_a_killed_worker,
)
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

REFUNDED = {("psp_clearing:stripe", "INR"): -1480, ("psp_fees", "INR"): 1480}


@pytest.fixture(scope="module")
def servers(stoppable: EmbeddedStack) -> EmbeddedStack:
    return stoppable


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The API hosts no worker here, so that the worker process is the one to kill."""
    async with Deployment(servers, tmp_path_factory.mktemp("crash"), "crash_refund", **KILLED) as deployment:
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    """A tenant of the test's own; the books of all are audited at its end."""
    async with tenant_of_a_killed_worker(paysaga) as shop:
        yield shop


async def refund_of(shop: Shop, payment_id: str) -> dict[str, Any]:
    refund: dict[str, Any] = (await shop.refund(payment_id, wait=0)).json()
    assert refund["status"] == "REQUESTED", refund
    return refund


async def test_a_refund_that_was_stored_and_never_started(
    paysaga: Deployment, shop: Shop, servers: EmbeddedStack
) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    async with temporal_stopped(servers):
        asking = asyncio.create_task(shop.refund(payment["id"], wait=0))

        async def stored() -> bool:
            return bool(await paysaga.sql("SELECT FROM refund WHERE tenant_id = $1", shop.tenant))

        await eventually(stored, what="the refund is stored")
        await paysaga.api.kill()
        await asyncio.gather(asking, return_exceptions=True)
    await paysaga.start_api()
    assert (await sweep(paysaga))["refunds"] == 1
    (refund,) = (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"]
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert (await paysaga.sandbox.log(checkout)).refunded == [50000]
    assert await shop.balances() == REFUNDED


@pytest.mark.parametrize("moment", ["hold_before", "hold_after"])
async def test_killed_around_the_psps_refund(paysaga: Deployment, shop: Shop, moment: str) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    hold = await paysaga.sandbox.fault("refunds.create", moment, checkout=checkout)
    refund = await refund_of(shop, payment["id"])
    await paysaga.sandbox.struck(hold)
    await restart(paysaga)
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert (await paysaga.sandbox.log(checkout)).refunded == [50000]
    assert await shop.balances() == REFUNDED


async def test_killed_between_the_refund_and_its_booking(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    hold = await paysaga.sandbox.fault("refunds.create", "hold_before", checkout=checkout)
    refund = await refund_of(shop, payment["id"])
    await paysaga.sandbox.struck(hold)
    await killed_while_booking(paysaga, payment["id"], hold)
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert (await paysaga.sandbox.log(checkout)).refunded == [50000]
    assert await shop.balances() == REFUNDED


async def test_killed_before_a_refund_is_reported(paysaga: Deployment, shop: Shop, servers: EmbeddedStack) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    hold = await paysaga.sandbox.fault("refunds.create", "hold_before", checkout=checkout)
    refund = await refund_of(shop, payment["id"])
    await paysaga.sandbox.struck(hold)
    async with temporal_stopped(servers):
        await paysaga.sandbox.release(hold)
        await shop.refund_until(refund["id"], "SUCCEEDED")
        await paysaga.worker.kill()
    await paysaga.start_worker()
    await paysaga.temporal.get_workflow_handle(f"refund:{refund['id']}").result()
    assert (await paysaga.sandbox.log(checkout)).refunded == [50000]
    assert (await shop.kinds(payment["id"]))[-2:] == ["refund_reserve", "refund"]


async def test_killed_while_a_refund_pends(paysaga: Deployment, shop: Shop) -> None:
    await paysaga.sandbox.configure(processing_delay_s=None)
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_pendingRefund")
    refund = (await shop.refund(payment["id"])).json()
    await shop.refund_until(refund["id"], "PENDING")
    await paysaga.sandbox.configure(processing_delay_s=0.5)
    await paysaga.worker.kill()
    (made,) = (await paysaga.sandbox.log(checkout)).refunds
    await paysaga.sandbox.steer_refund(made["refund"], "succeed")
    await paysaga.start_worker()
    await shop.refund_until(refund["id"], "SUCCEEDED")
    assert await shop.balances() == REFUNDED


async def test_killed_while_a_refund_that_came_back_is_booked(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    before = await shop.balances()
    refund = (await shop.refund(payment["id"])).json()
    await shop.refund_until(refund["id"], "SUCCEEDED")
    (made,) = (await paysaga.sandbox.log(checkout)).refunds
    hold = await paysaga.sandbox.fault("refunds.retrieve", "hold_before", checkout=checkout)
    await paysaga.sandbox.steer_refund(made["refund"], "fail")
    await paysaga.sandbox.struck(hold)
    await killed_while_booking(paysaga, payment["id"], hold)
    await shop.refund_until(refund["id"], "FAILED")
    assert await shop.balances() == before
    assert (await shop.kinds(payment["id"])).count("refund_reversal") == 1
