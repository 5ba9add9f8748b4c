"""The PSP's answer is unknown: the money may have moved. It is found out, never guessed."""

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError

from db.audit.audit import audit_database
from tests.conftest import Deploy
from tests.support.shop import Shop

UNKNOWN = [
    "timeout_before",
    "timeout_after",
    "cut_before",
    "cut_after",
    "http_500_uncached",
    "http_503",
    "rate_limit",
    "broken_body",
    "unknown_status",
]


UNCACHED = ("timeout_after", "http_503")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.uncached if kind in UNCACHED else ()) for kind in UNKNOWN]
)
async def test_an_unknown_answer_ends_in_one_charge(shop: Shop, kind: str) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.fault("payment_intents.create", kind, checkout=checkout)
    payment = await shop.paid(checkout)
    assert payment["status"] != "FAILED"
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    log = await shop.paysaga.sandbox.log(checkout)
    assert log.charged == [50000]
    creates = [request for request in log.requests if request["operation"] == "payment_intents.create"]
    assert {request["idempotency_key"] for request in creates} == {f"{payment['id']}:charge:1"}
    attempt = (await shop.explain(payment["id"]))["attempts"][0]
    assert (attempt["attempt"], attempt["outcome"]) == (1, "SUCCEEDED")


async def test_a_500_that_the_psp_keeps_under_the_key_is_resolved_by_looking_the_charge_up(shop: Shop) -> None:
    """The charge was made, but the key answers 500 for ever: only the PSP's list tells."""
    checkout = shop.checkout()
    await shop.paysaga.sandbox.fault("payment_intents.create", "http_500_after", checkout=checkout)
    payment = await shop.paid(checkout)
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"
    assert (await shop.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_a_refund_without_an_answer_is_made_once(shop: Shop) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.fault("refunds.create", "timeout_after", checkout=checkout)
    await shop.paysaga.sandbox.fault("refunds.create", "cut_before", checkout=checkout)
    hold = await shop.paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = (await shop.pay(checkout, wait=0)).json()
    await shop.paysaga.sandbox.struck(hold)
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=0)
    await shop.paysaga.sandbox.release(hold)
    assert (await shop.until(payment["id"], timeout_s=60))["status"] == "CANCELLED"
    log = await shop.paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])


async def test_nothing_is_sent_under_an_expired_key(deploy: Deploy) -> None:
    """Workers are down for longer than the key may be used. What was sent before is found; what was not, stays a
    question for a person: not FAILED, and not a second charge."""
    paysaga = await deploy(
        api_worker=False, stripe_key_life_s=2.0, stripe_key_margin_s=0.0, workflow_task_timeout_s=2.0
    )
    await paysaga.sandbox.configure(key_life_s=2)
    shop = await paysaga.shop("expired")
    sent, unsent = shop.checkout("sent"), shop.checkout("unsent")
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=sent)
    first = (await shop.pay(sent, wait=0)).json()
    await paysaga.sandbox.struck(hold)
    await paysaga.worker.kill()
    second = (await shop.pay(unsent, wait=0)).json()
    await past_send_until(shop, second["id"])
    await paysaga.sandbox.advance(3)
    await paysaga.start_worker()

    assert (await shop.until(first["id"]))["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(sent)).charged == [50000]
    assert (await paysaga.sandbox.log(sent)).sent("payment_intents.create") == 1

    await shop.until(second["id"], "NEEDS_ATTENTION")
    explained = await shop.explain(second["id"])
    assert [task["kind"] for task in explained["tasks"]] == ["charge_not_found"]
    assert (await paysaga.sandbox.log(unsent)).requests == [], "nothing was sent"

    handle = paysaga.temporal.get_workflow_handle(f"payment:{second['id']}")
    for foreign in (await shop.reference(first["id"]), "pi_nobody_knows"):
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("resolve", {"decision": "reference", "reference": foreign, "by": "olga"})
    decision = {"decision": "not_charged", "by": "olga", "note": "looked at the dashboard"}
    assert await handle.execute_update("resolve", decision, result_type=str) == "not_charged noted"
    ended = await shop.until(second["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("FAILED", "not_charged")
    audit = await paysaga.sql("SELECT actor, action FROM audit_log WHERE object_id = $1 ORDER BY seq", second["id"])
    assert [(row["actor"], row["action"]) for row in audit][1:] == [("olga", "payment.resolve")]
    assert await audit_database(paysaga.database) == []


async def past_send_until(shop: Shop, payment_id: str) -> None:
    """Wait, by the database's clock, until the payment's key may no longer be used."""
    left = await shop.paysaga.sql(
        "SELECT extract(epoch FROM send_until - clock_timestamp())::float AS s FROM charge WHERE payment_id = $1",
        payment_id,
    )
    await asyncio.sleep(max(0.0, left[0]["s"]) + 0.05)


async def test_the_breaker_opens_fails_fast_and_closes_again(deploy: Deploy) -> None:
    paysaga = await deploy(stripe_breaker_failures=3, stripe_breaker_open_s=1.0)
    shop = await paysaga.shop("breaker")
    fault = await paysaga.sandbox.fault("payment_intents.create", "http_503", times=None)
    for _ in range(3):
        assert (await shop.paid(shop.checkout()))["status"] == "PENDING"
    refused = shop.checkout()
    answer = await shop.paid(refused)
    assert answer["status"] == "PENDING"
    assert (await shop.explain(answer["id"]))["attempts"][0]["last_answer"]["reason"] in (
        "breaker_open",
        "server_error",
    )
    await paysaga.sandbox.clear(fault)
    assert (await shop.until(answer["id"], timeout_s=60))["status"] == "SUCCESS"
    assert (await paysaga.sandbox.log(refused)).charged == [50000]
