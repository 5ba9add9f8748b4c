"""A cancel at any moment ends in SUCCESS, or in CANCELLED with everything refunded once and booked."""

import secrets
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy

from db.audit.audit import audit_database
from domain.ids import late_charge_workflow_id
from domain.late_charge import LATE_CHARGE_WORKFLOW, LateChargeInput
from runtime.search_attributes import TENANT
from tests.conftest import Deploy
from tests.e2e.test_crash import blocked, row_lock
from tests.e2e.test_payment import FEE_KEPT
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop


async def cancel(shop: Shop, payment_id: str, how: str) -> None:
    """Through the API, through Temporal's own cancel, or as an operator's signal."""
    handle = shop.paysaga.temporal.get_workflow_handle(f"payment:{payment_id}")
    if how == "api":
        answer = await shop.post(f"/v1/payments/{payment_id}/cancel", wait=0)
        assert answer.status_code in (200, 202), answer.text
    elif how == "temporal":
        await handle.cancel()
    else:
        await handle.signal("cancel", {"by": "olga"})


async def ends_well(shop: Shop, payment_id: str, checkout: str) -> str:
    """The one thing that must hold, whatever the moment; returns the status."""
    ended = await shop.until(payment_id, timeout_s=60)
    log = await shop.paysaga.sandbox.log(checkout)
    if ended["status"] == "SUCCESS":
        assert (log.charged, log.refunds) == ([50000], [])
        assert await shop.kinds(payment_id) == ["capture", "psp_fee"]
    else:
        assert ended["status"] == "CANCELLED"
        assert sum(log.charged) == sum(log.refunded)
        assert len(log.refunds) == len(log.charges)
        assert await shop.balances() in ({}, FEE_KEPT)
    return str(ended["status"])


HOWS = ["api", "temporal", "signal"]


@pytest.mark.uncached
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("moment", ["hold_before", "hold_after"])
async def test_cancel_inside_the_first_task(shop: Shop, how: str, moment: str) -> None:
    checkout = shop.checkout()
    hold = await shop.paysaga.sandbox.fault("payment_intents.create", moment, checkout=checkout)
    payment = (await shop.pay(checkout, wait=0)).json()
    await shop.paysaga.sandbox.struck(hold)
    await cancel(shop, payment["id"], how)
    await shop.paysaga.sandbox.release(hold)
    status = await ends_well(shop, payment["id"], checkout)
    if how == "api":
        assert status == "CANCELLED", "the row was marked before settlement"


@pytest.mark.uncached
@pytest.mark.parametrize("how", HOWS)
async def test_cancel_in_a_durable_charge_four_times(shop: Shop, how: str) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.fault("payment_intents.create", "http_503", checkout=checkout)
    hold = await shop.paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = await shop.paid(checkout, wait=0)  # a longer wait may outlast the held request, and then it is settled
    await shop.paysaga.sandbox.struck(hold)
    for _ in range(4):
        await cancel(shop, payment["id"], how)
    await shop.paysaga.sandbox.release(hold)
    assert await ends_well(shop, payment["id"], checkout) == "CANCELLED"


@pytest.mark.uncached
@pytest.mark.parametrize("how", HOWS)
async def test_cancel_in_compensation(shop: Shop, how: str) -> None:
    checkout = shop.checkout()
    refund = await shop.paysaga.sandbox.fault("refunds.create", "hold_after", checkout=checkout)
    charge = await shop.paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = (await shop.pay(checkout, wait=0)).json()
    await shop.paysaga.sandbox.struck(charge)
    await cancel(shop, payment["id"], "api")
    await shop.paysaga.sandbox.release(charge)
    await shop.paysaga.sandbox.struck(refund)
    await cancel(shop, payment["id"], how)
    await shop.paysaga.sandbox.release(refund)
    assert await ends_well(shop, payment["id"], checkout) == "CANCELLED"


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("token", ["pm_card_threeDSecure2Required", "pm_upi_processing"])
async def test_cancel_while_it_rests(shop: Shop, how: str, token: str) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, token)
    await cancel(shop, payment["id"], how)
    if token == "pm_upi_processing":  # the PSP refuses to cancel what it processes: it is paid, and refunded
        await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    assert await ends_well(shop, payment["id"], checkout) == "CANCELLED"


@pytest.mark.uncached
@pytest.mark.parametrize("how", HOWS)
async def test_cancel_before_confirm(shop: Shop, how: str) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, confirm=False)
    await cancel(shop, payment["id"], how)
    assert await ends_well(shop, payment["id"], checkout) == "CANCELLED"
    assert (await shop.paysaga.sandbox.log(checkout)).requests == []
    assert (await shop.post(f"/v1/payments/{payment['id']}/confirm")).json()["code"] == "payment_closed"


@pytest.mark.uncached
async def test_cancel_between_two_settlements_undoes_both(shop: Shop) -> None:
    await shop.paid(shop.checkout(), orders=[("anna", "1.00"), ("bo", "1.00")])
    before = await shop.balances()
    checkout = shop.checkout()
    lock = "SELECT FROM wallet WHERE tenant_id = $1 AND seller_account = 'bo' FOR UPDATE"
    async with row_lock(shop.paysaga, lock, shop.tenant):
        payment = (await shop.pay(checkout, orders=[("anna", "200.00"), ("bo", "300.00")], wait=0)).json()
        await blocked(shop.paysaga)
        handle = shop.paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}")
        await handle.cancel()
    ended = await shop.until(payment["id"])
    log = await shop.paysaga.sandbox.log(checkout)
    if ended["status"] == "SUCCESS":
        assert log.refunds == []
        return
    assert ended["status"] == "CANCELLED"
    assert (sum(log.charged), sum(log.refunded)) == (50000, 50000)
    after = await shop.balances()
    assert after["wallet:anna:pending", "INR"] == before["wallet:anna:pending", "INR"]


async def test_cancel_after_success_is_refused(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    answer = await shop.post(f"/v1/payments/{payment['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_settled")


@pytest.mark.uncached
async def test_three_d_secure_that_succeeds_after_the_cancel_is_refunded(shop: Shop) -> None:
    """The PSP says it is cancelled, and takes the money all the same: booked, refunded, booked; CANCELLED stays."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_threeDSecure2Required")
    answer = await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)
    assert answer.json()["status"] == "CANCELLED"
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "force_success")
    charge = (await shop.paysaga.sql("SELECT id FROM charge WHERE payment_id = $1", payment["id"]))[0]["id"]
    await late_charge_done(shop, charge)
    log = await shop.paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])
    assert (await shop.payment(payment["id"]))["status"] == "CANCELLED"
    assert await shop.kinds(payment["id"]) == ["suspense", "psp_fee", "suspense_refund"]
    assert await shop.balances() == FEE_KEPT


async def test_a_late_charge_that_is_paid_while_the_psp_says_it_is_not_is_refunded(shop: Shop) -> None:
    """The message reaches a run that is about to end, and no sweeper comes."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_threeDSecure2Required")
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)
    # Its own workflow may do its last task again after the answer, with a look at the PSP that would meet the fault.
    await shop.paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}").result()
    reference, sandbox = await shop.reference(payment["id"]), shop.paysaga.sandbox
    charge = (await shop.paysaga.sql("SELECT id FROM charge WHERE payment_id = $1", payment["id"]))[0]["id"]
    await sandbox.flush_webhooks()
    await sandbox.webhook_fault("payment_intent.*", "lost", checkout=checkout, times=None)
    hold = await sandbox.fault("payment_intents.retrieve", "hold_after", checkout=checkout)
    settings = shop.paysaga.settings
    inp = LateChargeInput(
        version=2,
        payment_id=payment["id"],
        charge_id=charge,
        reference=reference,
        psp="stripe",
        task_queue=settings.temporal_task_queue,
    )
    late = await shop.paysaga.temporal.start_workflow(
        LATE_CHARGE_WORKFLOW, inp, id=late_charge_workflow_id(charge), task_queue=settings.temporal_task_queue
    )
    await sandbox.struck(hold)
    await sandbox.steer(reference, "force_success")
    await late.signal("nudge")
    await sandbox.release(hold)
    assert str(await late.result()).startswith("refunded: re_")
    assert (await sandbox.log(checkout)).refunded == [50000]


async def late_charge_done(shop: Shop, charge_id: str) -> Any:
    from temporalio.service import RPCError

    async def probe() -> Any:
        try:
            return await shop.paysaga.temporal.get_workflow_handle(f"late_charge:{charge_id}").result()
        except RPCError:
            return None

    return await eventually(probe, what="late charge")


async def test_success_just_before_the_cancel_reaches_the_psp_is_refunded(shop: Shop) -> None:
    """The buyer authenticates while our cancel is on its way: the void finds a paid intent, so the money goes back."""
    checkout = shop.checkout()
    await shop.paysaga.sandbox.webhook_fault("*", "lost", checkout=checkout, times=None)
    payment = await shop.paid(checkout, "pm_card_threeDSecure2Required")
    hold = await shop.paysaga.sandbox.fault("payment_intents.cancel", "hold_before", checkout=checkout)
    await cancel(shop, payment["id"], "api")
    await shop.paysaga.sandbox.struck(hold)
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "authenticate")
    await shop.paysaga.sandbox.release(hold)
    assert await ends_well(shop, payment["id"], checkout) == "CANCELLED"
    assert (await shop.paysaga.sandbox.log(checkout)).refunded == [50000]


# --- termination ---


async def sweep(paysaga: Deployment) -> dict[str, int]:
    report: dict[str, int] = await paysaga.temporal.execute_workflow(
        "sweep", id=f"sweep-{secrets.token_hex(6)}", task_queue=paysaga.settings.temporal_task_queue
    )
    return report


async def forget(shop: Shop, workflow_id: str) -> None:
    """The workflow becomes one whose task fails at each try, as after a deploy that forgot its code."""
    await shop.paysaga.temporal.start_workflow(
        "forgotten",
        id=workflow_id,
        task_queue=shop.paysaga.settings.temporal_task_queue,
        search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, shop.tenant)]),
        # At once: a sweep that runs may start it again after its end.
        id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
    )


async def marked(paysaga: Deployment, workflow_id: str) -> None:
    """Waits until Temporal has marked the workflow as one whose task keeps failing."""
    query = "TemporalReportedProblems IN ('category=WorkflowTaskFailed')"

    async def found() -> bool:
        return workflow_id in [one.id async for one in paysaga.temporal.list_workflows(query)]

    await eventually(found, what=f"the mark of {workflow_id}")


async def started_again(paysaga: Deployment, handle: Any) -> bool:
    """By the sweeper once the payment is due, or by a webhook that found nobody to tell before that."""
    await sweep(paysaga)
    description = await handle.describe()
    return bool(description.status is not WorkflowExecutionStatus.TERMINATED)


@pytest.mark.parametrize("moment", ["charge", "durable", "compensation", "rest"])
async def test_a_terminated_workflow_is_picked_up_by_the_sweeper(deploy: Deploy, moment: str) -> None:
    paysaga = await deploy()
    shop = await paysaga.shop("terminated")
    checkout, sandbox = shop.checkout(), paysaga.sandbox
    if moment == "rest":
        payment = await shop.paid(checkout, "pm_upi_processing")
    else:
        if moment == "durable":
            await sandbox.fault("payment_intents.create", "http_503", checkout=checkout)
        hold = await sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
        refund = await sandbox.fault("refunds.create", "hold_after", checkout=checkout)
        payment = (await shop.pay(checkout, wait=0)).json()
        await sandbox.struck(hold)
        if moment == "compensation":
            await cancel(shop, payment["id"], "api")
            await sandbox.release(hold)
            await sandbox.struck(refund)
    handle = paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}")
    await handle.terminate("by an operator's mistake")
    # The worker does not know yet that the run it works for is gone: two runs meet at the PSP and at the row.
    await eventually(lambda: started_again(paysaga, handle), what="it is started again")
    if moment == "rest":
        await sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    else:
        await sandbox.release(refund if moment == "compensation" else hold)
    status = await ends_well(shop, payment["id"], checkout)
    assert status == ("CANCELLED" if moment == "compensation" else "SUCCESS")
    assert await audit_database(paysaga.database) == []


@pytest.mark.parametrize("how", ["temporal", "signal", "api"])
async def test_cancel_in_the_compensation_of_a_refused_wallet(shop: Shop, how: str) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_upi_processing")
    await shop.set_merchant("anna", status="FROZEN")
    hold = await shop.paysaga.sandbox.fault("refunds.create", "hold_before", checkout=checkout)
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    await shop.paysaga.sandbox.struck(hold)
    await cancel(shop, payment["id"], how)
    await shop.paysaga.sandbox.release(hold)
    assert await ends_well(shop, payment["id"], checkout) == "CANCELLED"


@pytest.mark.uncached
async def test_a_person_has_a_failed_refund_tried_again(shop: Shop) -> None:
    checkout = shop.checkout()
    hold = await shop.paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = (await shop.pay(checkout, "pm_card_pendingRefundFail", wait=0)).json()
    await shop.paysaga.sandbox.struck(hold)
    await cancel(shop, payment["id"], "api")
    await shop.paysaga.sandbox.release(hold)
    await shop.until(payment["id"], "NEEDS_ATTENTION")
    handle = shop.paysaga.temporal.get_workflow_handle(f"payment:{payment['id']}")
    await handle.execute_update("resolve", {"decision": "retry", "by": "olga"})

    async def asked_again() -> bool:
        return bool((await shop.explain(payment["id"]))["compensation"][0]["attempt"] == 2)

    await eventually(asked_again, what="a second refund request")
    refunds = (await shop.paysaga.sandbox.log(checkout)).refunds
    assert [refund["idempotency_key"].rpartition(":")[2] for refund in refunds][:1] == ["1"]
