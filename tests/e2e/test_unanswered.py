"""An answer that stays unknown: under a dead key it ends by itself, and whoever looks reads what is waited for."""

from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from db.audit.audit import audit_database
from db.payment.overdue import open_tasks_for_stuck
from tests.conftest import Deploy
from tests.e2e.test_capture import authorized, capture
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

pytestmark = pytest.mark.usefixtures("audited")


async def dead(shop: Shop, checkout: str) -> dict[str, Any]:
    """A payment whose charge the PSP answers with a stored 500, without having charged; its explanation, once the
    workflow knows."""
    await shop.paysaga.sandbox.fault("payment_intents.create", "http_500", checkout=checkout)
    payment = await shop.paid(checkout, wait=0)

    async def waits() -> dict[str, Any] | None:
        found = await shop.explain(payment["id"])
        reasons = [one["reason"] for one in found["unanswered"]]
        return found if reasons == ["server_error_replayed"] and found["next_check_at"] else None

    return await eventually(waits, timeout_s=60, what="a wait under a dead key")


async def details(paysaga: Deployment, workflow_id: str) -> str:
    """What Temporal's UI shows of a workflow."""
    handle = paysaga.temporal.get_workflow_handle(workflow_id)
    shown = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(shown.current_details)


@pytest.mark.uncached
async def test_a_charge_under_a_dead_key_ends_by_itself_and_is_refunded_if_it_turns_up(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    seen = await dead(shop, checkout)
    payment_id = seen["payment_id"]
    (waiting,) = seen["unanswered"]
    assert (seen["status"], waiting["about"], seen["tasks"]) == ("PENDING", payment_id, [])
    assert "stored under the idempotency key" in waiting["detail"]
    assert "tries so far" in waiting["detail"]
    assert waiting["next_try_at"] == seen["next_check_at"] < waiting["ends_at"]
    assert waiting["detail"] in seen["summary"]

    async def is_shown() -> str | None:
        text = await details(paysaga, f"payment:{payment_id}")
        return text if "stored under the idempotency key" in text else None

    shown = await eventually(is_shown)
    assert " in 0 s" not in shown

    await paysaga.sql("UPDATE charge SET dead_since = now() - interval '1 hour' WHERE payment_id = $1", payment_id)
    await shop.post(f"/v1/payments/{payment_id}/confirm", wait=0)
    ended = await shop.until(payment_id)
    assert (ended["status"], ended["failure"]["code"]) == ("FAILED", "psp_error")
    assert (await paysaga.sandbox.log(checkout)).charged == []
    assert (await shop.paid(checkout))["status"] == "SUCCESS", "the buyer tries again"

    charge = await paysaga.sql("SELECT id FROM charge WHERE payment_id = $1", payment_id)
    ours = {"metadata[paysaga_charge]": charge[0]["id"], "metadata[paysaga_payment]": payment_id}
    form = {"amount": 50000, "currency": "inr", "confirm": "true", "payment_method": "pm_card_visa"}
    made = await paysaga.sandbox.form("/v1/payment_intents", form | ours | {"payment_method_types[]": "card"})
    assert made["status"] == "succeeded"

    async def given_back() -> bool:
        undone = (await shop.explain(payment_id))["compensation"]
        return [(r["origin"], r["status"]) for r in undone] == [("late_charge", "SUCCEEDED")]

    await eventually(given_back, timeout_s=60, what="the late charge's refund")


async def test_a_cancel_ends_the_wait_under_a_dead_key(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment_id = (await dead(shop, checkout))["payment_id"]
    await shop.post(f"/v1/payments/{payment_id}/cancel", wait=0)
    ended = await shop.until(payment_id)
    assert (ended["status"], ended["failure"]) == ("CANCELLED", None)
    assert (await paysaga.sandbox.log(checkout)).charged == []
    assert (await shop.paid(checkout))["status"] == "SUCCESS"


@pytest.mark.uncached
async def test_a_cancel_voids_what_the_psp_does_not_capture(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await authorized(shop, checkout)
    fault = await paysaga.sandbox.fault("payment_intents.capture", "http_500", checkout=checkout, times=None)
    await capture(shop, payment, wait=0)
    await paysaga.sandbox.struck(fault, 2)
    seen = await shop.explain(payment["id"])
    assert [(one["reason"], one["ends_at"]) for one in seen["unanswered"]] == [("server_error", None)]
    late = "deadline_at = now() - interval '2 hours', next_check_at = now() + interval '1 minute'"
    await paysaga.sql(f"UPDATE payment SET {late} WHERE id = $1", payment["id"])
    await paysaga.database.run(lambda c: open_tasks_for_stuck(c, after_s=3600))
    (task,) = (await shop.explain(payment["id"]))["tasks"]
    assert task["kind"] == "psp_unanswered"
    assert "server error (5xx); " in task["detail"]
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)
    assert (await shop.until(payment["id"]))["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert (log.charged, [a["status"] for a in log.authorizations]) == ([], ["authorized", "voided"])


async def test_a_refund_under_a_dead_key_ends_and_is_booked_if_it_turns_up(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    before = await shop.balances()
    await paysaga.sandbox.fault("refunds.create", "http_500", checkout=checkout)
    refund = (await shop.refund(payment["id"], amount="100.00", wait=0)).json()

    async def waits() -> dict[str, Any] | None:
        found = (await shop.explain(payment["id"]))["unanswered"]
        return found[0] if [one["reason"] for one in found] == ["server_error_replayed"] else None

    waiting = await eventually(waits, timeout_s=60, what="a wait under a dead key")
    assert waiting["about"] == refund["id"]
    assert waiting["ends_at"] is not None
    await paysaga.sql(
        "UPDATE refund SET created_at = now() - interval '1 day', next_check_at = now() + interval '1 minute'"
        " WHERE id = $1",
        refund["id"],
    )
    await paysaga.database.run(lambda c: open_tasks_for_stuck(c, after_s=3600))
    (task,) = (await shop.explain(payment["id"]))["tasks"]
    assert task["kind"] == "psp_unanswered"
    assert all(words in task["detail"] for words in (refund["id"], "stored under", "tries so far, the next by"))

    await paysaga.sql("UPDATE refund SET dead_since = now() - interval '1 hour' WHERE id = $1", refund["id"])
    await paysaga.temporal.get_workflow_handle(f"refund:{refund['id']}").signal("nudge")
    ended = await shop.refund_until(refund["id"], "FAILED")
    assert ended["failure"]["code"] == "psp_error"
    assert await shop.balances() == before
    assert (await shop.explain(payment["id"]))["tasks"] == []

    intent = await shop.reference(payment["id"])
    form = {"payment_intent": intent, "amount": 10000, "metadata[paysaga_refund]": refund["id"]}
    late = await paysaga.sandbox.form("/v1/refunds", form)

    async def booked() -> bool:
        found = (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"]
        return ("psp", late["id"], "SUCCEEDED") in [(r["origin"], r["reference"], r["status"]) for r in found]

    await eventually(booked, timeout_s=60, what="the refund that turned up")
    assert (await shop.payment(payment["id"]))["payment_orders"][0]["refundable_amount"] == "400.00"


async def test_a_long_wait_is_told_to_a_person_and_ends_with_the_answer(deploy: Deploy) -> None:
    paysaga = await deploy(unknown_patience_s=0.5, stripe_breaker_failures=1000)
    shop = await paysaga.shop("long")
    checkout = shop.checkout()
    fault = await paysaga.sandbox.fault("payment_intents.create", "http_503", checkout=checkout, times=None)
    payment = await shop.paid(checkout, wait=0)
    await paysaga.sandbox.struck(fault)
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)

    async def told() -> dict[str, Any] | None:
        found = await shop.explain(payment["id"])
        return found if found["tasks"] and found["next_check_at"] else None

    seen = await eventually(told, timeout_s=60, what="a task")
    (task,) = seen["tasks"]
    assert task["kind"] == "psp_unanswered"
    assert "the PSP answered with a server error (5xx); " in task["detail"]
    assert "the next by" in task["detail"]
    assert "A nudge asks now" in await details(paysaga, f"payment:{payment['id']}")
    await paysaga.sandbox.clear(fault)
    await shop.post(f"/v1/payments/{payment['id']}/confirm", wait=0)
    assert (await shop.until(payment["id"]))["status"] == "CANCELLED"
    log = await paysaga.sandbox.log(checkout)
    assert log.charged == log.refunded == [50000]
    assert (await shop.explain(payment["id"]))["tasks"] == []
    assert await audit_database(paysaga.database) == []
