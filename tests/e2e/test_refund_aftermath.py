"""Refunds whose payment has ended: one that fails after it had succeeded, and one whose workflow was lost."""

from db.audit.audit import audit_database
from tests.conftest import Deploy
from tests.e2e.test_cancel import sweep
from tests.e2e.test_payment import FEE_KEPT
from tests.support.eventually import eventually
from tests.support.shop import Shop


async def refund_row(shop: Shop, payment_id: str) -> dict[str, object]:
    found: dict[str, object] = (await shop.explain(payment_id))["compensation"][0]
    return found


async def test_a_refund_that_fails_after_it_succeeded_is_booked_back_and_tried_again(deploy: Deploy) -> None:
    paysaga = await deploy()
    shop = await paysaga.shop("aftermath")
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = (await shop.pay(checkout, "pm_card_refundFail", wait=0)).json()
    await paysaga.sandbox.struck(hold)
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)
    await paysaga.sandbox.release(hold)
    assert (await shop.until(payment["id"]))["status"] == "CANCELLED"

    async def came_back() -> bool:
        return (await refund_row(shop, payment["id"]))["status"] == "FAILED"

    await eventually(came_back, what="the failed refund is known")
    assert await shop.kinds(payment["id"]) == ["psp_fee", "suspense", "suspense_refund", "suspense_refund_reversal"]
    assert (await shop.balances())["suspense", "INR"] == -50000, "the buyer's money is with us again"
    assert [t["kind"] for t in (await shop.explain(payment["id"]))["tasks"]] == ["refund_failed"]
    assert (await shop.payment(payment["id"]))["status"] == "CANCELLED", "an end is an end"
    assert await audit_database(paysaga.database) == []

    refund_id = (await refund_row(shop, payment["id"]))["id"]
    await paysaga.update(f"refund:{refund_id}", "resolve", {"decision": "retry", "by": "olga"})

    async def second_attempt() -> bool:
        row = await refund_row(shop, payment["id"])
        return row["attempt"] == 2 and row["status"] in ("SUCCEEDED", "FAILED")

    await eventually(second_attempt, what="a second request under a key of its own")
    keys = [refund["idempotency_key"] for refund in (await paysaga.sandbox.log(checkout)).refunds]
    assert keys == [f"{refund_id}:refund:1", f"{refund_id}:refund:2"]
    assert await audit_database(paysaga.database) == []


async def test_a_look_without_an_answer_does_not_hide_that_a_refund_came_back(deploy: Deploy) -> None:
    paysaga = await deploy()
    shop = await paysaga.shop("silence")
    checkout = shop.checkout()
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = (await shop.pay(checkout, "pm_card_refundFail", wait=0)).json()
    await paysaga.sandbox.struck(hold)
    silent = await paysaga.sandbox.fault("refunds.retrieve", "http_503", times=3)
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)
    await paysaga.sandbox.release(hold)
    await paysaga.sandbox.struck(silent, hits=3)

    async def came_back() -> bool:
        return (await refund_row(shop, payment["id"]))["status"] == "FAILED"

    await eventually(came_back, what="the failed refund is known")
    assert (await shop.balances())["suspense", "INR"] == -50000


async def test_a_refund_that_the_psp_never_made_is_asked_for_again_when_a_person_says_so(deploy: Deploy) -> None:
    """The PSP keeps a 500 under the key and has made nothing: once that is certain only a person can go on."""
    paysaga = await deploy(unknown_patience_s=1.0)
    shop = await paysaga.shop("never")
    checkout = shop.checkout()
    await paysaga.sandbox.fault("refunds.create", "http_500", checkout=checkout)
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = (await shop.pay(checkout, wait=0)).json()
    await paysaga.sandbox.struck(hold)
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)
    await paysaga.sandbox.release(hold)
    await shop.until(payment["id"], "NEEDS_ATTENTION", timeout_s=60)
    assert (await paysaga.sandbox.log(checkout)).refunds == []
    await paysaga.update(f"payment:{payment['id']}", "resolve", {"decision": "retry", "by": "olga"})
    assert (await shop.until(payment["id"]))["status"] == "CANCELLED"
    assert (await paysaga.sandbox.log(checkout)).refunded == [50000]
    assert await shop.balances() == FEE_KEPT
    assert await audit_database(paysaga.database) == []


async def test_a_lost_late_charge_is_taken_up_by_the_sweeper(deploy: Deploy) -> None:
    paysaga = await deploy()
    shop = await paysaga.shop("lost")
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_threeDSecure2Required")
    assert (await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20)).json()["status"] == "CANCELLED"
    refused = await paysaga.sandbox.fault("refunds.create", "http_503", checkout=checkout, times=None)
    await paysaga.sandbox.steer(await shop.reference(payment["id"]), "force_success")
    await paysaga.sandbox.struck(refused)
    charge = (await paysaga.sql("SELECT id FROM charge WHERE payment_id = $1", payment["id"]))[0]["id"]
    await paysaga.temporal.get_workflow_handle(f"late_charge:{charge}").terminate("by an operator's mistake")
    await paysaga.sandbox.clear(refused)
    assert (await sweep(paysaga))["refunds"] == 1

    async def refunded() -> bool:
        return (await paysaga.sandbox.log(checkout)).refunded == [50000] and await shop.balances() == FEE_KEPT

    await eventually(refunded, what="the late charge is refunded")
    assert await audit_database(paysaga.database) == []
