"""Workers are killed (SIGKILL) at each step of a dispute; what is booked is what the PSP did, once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.conftest import Deploy
from tests.e2e.test_cancel import sweep
from tests.e2e.test_crash import (
    KILLED,
    PAYMENT_LOCK,
    blocked,
    killed_while_booking,
    restart,
    row_lock,
    temporal_stopped,
)
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

LOST = {
    ("psp_clearing:stripe", "INR"): -2980,
    ("psp_fees", "INR"): 2980,
    ("platform_fees", "INR"): -1500,
    ("receivable:anna", "INR"): 1500,
}


@pytest.fixture(scope="module")
def servers(stoppable: EmbeddedStack) -> EmbeddedStack:
    return stoppable


@pytest.fixture
async def paysaga(deploy: Deploy) -> AsyncIterator[Deployment]:
    """One for each test: the next one's faults would meet the looks at a dispute that is left open. The API hosts no
    worker here, so that the worker process is the one to kill; the books are audited at the end."""
    deployment = await deploy(**KILLED)
    yield deployment
    assert await audit_database(deployment.database) == []


@pytest.fixture
async def shop(paysaga: Deployment) -> Shop:
    return await paysaga.shop("crash")


async def dispute_of(paysaga: Deployment, shop: Shop, payment: dict[str, Any]) -> str:
    return await paysaga.sandbox.dispute(await shop.reference(payment["id"]))


@pytest.mark.parametrize("moment", ["hold_before", "hold_after"])
async def test_killed_while_it_looks_at_a_dispute(paysaga: Deployment, shop: Shop, moment: str) -> None:
    payment = await shop.paid(shop.checkout())
    hold = await paysaga.sandbox.fault("disputes.retrieve", moment)
    await dispute_of(paysaga, shop, payment)
    await paysaga.sandbox.struck(hold)
    await restart(paysaga)
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    assert (await shop.kinds(payment["id"])).count("dispute_withdrawn") == 1
    assert (await shop.balances())["disputes_held", "INR"] == 50000


@pytest.mark.parametrize("end", ["lose", "win"])
async def test_killed_at_each_booking_of_a_dispute(paysaga: Deployment, shop: Shop, end: str) -> None:
    payment = await shop.paid(shop.checkout())
    before = await shop.balances()
    hold = await paysaga.sandbox.fault("disputes.retrieve", "hold_before")
    reference = await dispute_of(paysaga, shop, payment)
    await paysaga.sandbox.struck(hold)
    await killed_while_booking(paysaga, payment["id"], hold)
    await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    hold = await paysaga.sandbox.fault("disputes.retrieve", "hold_before")
    await paysaga.sandbox.steer_dispute(reference, end)
    await paysaga.sandbox.struck(hold)
    await killed_while_booking(paysaga, payment["id"], hold)
    await shop.dispute_until(payment["id"], {"lose": "LOST", "win": "WON"}[end])
    fee_kept = {("psp_clearing:stripe", "INR"): before["psp_clearing:stripe", "INR"] - 1500, ("psp_fees", "INR"): 2980}
    assert await shop.balances() == (LOST if end == "lose" else before | fee_kept)


@pytest.mark.parametrize("moment", ["hold_before", "hold_after"])
async def test_killed_around_the_submission_of_evidence(paysaga: Deployment, shop: Shop, moment: str) -> None:
    payment = await shop.paid(shop.checkout())
    reference = await dispute_of(paysaga, shop, payment)
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    hold = await paysaga.sandbox.fault("disputes.update", moment)
    body = {"fields": {"product_description": "A doll."}}
    assert (await shop.post(f"/v1/disputes/{dispute['id']}/evidence", body)).status_code == 202
    await paysaga.sandbox.struck(hold)
    await restart(paysaga)
    await shop.dispute_until(payment["id"], "UNDER_REVIEW")
    (piece,) = (await shop.get(f"/v1/disputes/{dispute['id']}")).json()["evidence"]
    assert piece["status"] == "SUBMITTED"
    shown = await paysaga.sandbox.stripe(f"/v1/disputes/{reference}")
    assert shown["evidence_details"]["submission_count"] == 1


async def test_killed_before_a_dispute_is_reported(paysaga: Deployment, shop: Shop, servers: EmbeddedStack) -> None:
    payment = await shop.paid(shop.checkout())
    reference = await dispute_of(paysaga, shop, payment)
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    hold = await paysaga.sandbox.fault("disputes.retrieve", "hold_before")
    await paysaga.sandbox.steer_dispute(reference, "lose")
    await paysaga.sandbox.struck(hold)
    async with row_lock(paysaga, PAYMENT_LOCK, payment["id"]):
        await paysaga.sandbox.release(hold)
        await blocked(paysaga)
        with_temporal_gone = temporal_stopped(servers)
        await with_temporal_gone.__aenter__()
    try:
        await shop.dispute_until(payment["id"], "LOST")
        await paysaga.worker.kill()
    finally:
        await with_temporal_gone.__aexit__(None, None, None)
    await paysaga.start_worker()
    await paysaga.temporal.get_workflow_handle(f"dispute:{dispute['id']}").result()
    assert await shop.balances() == LOST


async def test_a_lost_dispute_workflow_is_taken_up_by_the_sweeper(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    reference = await dispute_of(paysaga, shop, payment)
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    await paysaga.temporal.get_workflow_handle(f"dispute:{dispute['id']}").terminate("by an operator's mistake")
    for event in ("charge.dispute.closed", "charge.dispute.updated"):
        await paysaga.sandbox.webhook_fault(event, "lost", checkout=checkout)
    await paysaga.sandbox.steer_dispute(reference, "lose")

    async def taken_up() -> bool:
        return (await sweep(paysaga))["disputes"] == 1

    await eventually(taken_up, what="its next look is overdue")
    await shop.dispute_until(payment["id"], "LOST")
    assert await shop.balances() == LOST
