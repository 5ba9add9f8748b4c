"""Messages that a person sends from Temporal's UI: without input, with an empty one or any JSON; and decisions that the
question does not offer. Whatever comes, the workflow goes on."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from runtime import troubles
from services.audit import audit
from tests.audit.command import paysaga_command
from tests.conftest import Deploy
from tests.e2e.test_cancel import forget, marked, sweep
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop

ODD: list[list[Any]] = [
    [],
    [None],
    [{}],
    [""],
    ["text"],
    [7],
    [[]],
    [{"by": None, "decision": "retry"}],
    [{"by": "", "decision": "retry"}],
    [{"by": ["olga"], "decision": "guess"}],
    [{"by": "olga\x00", "decision": "retry", "reason": "\x00", "event_id": 5}],
    [{"by": "o" * 5000, "decision": "retry"}],
    [{"by": "4242 4242 4242 4242", "decision": "retry"}],
    ["one", "two"],
]


def handle_of(paysaga: Deployment, workflow_id: str) -> WorkflowHandle[Any, Any]:
    return paysaga.temporal.get_workflow_handle(workflow_id)


async def refusal(handle: WorkflowHandle[Any, Any], name: str, *inputs: Any) -> str:
    """The workflow's own. The server refuses an update that meets a signal in the same task: pressed again."""

    async def pressed() -> str | None:
        try:
            answer = await handle.execute_update(name, args=inputs)
        except WorkflowUpdateFailedError as error:
            return str(getattr(error.cause, "message", error.cause))
        except RPCError as error:
            if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise
            return None
        raise AssertionError(f"{name} took {inputs}: {answer}")

    return await eventually(pressed, what=f"{name} is refused")


async def accepts_anything(handle: WorkflowHandle[Any, Any], *updates: str) -> None:
    for inputs in ODD:
        await handle.signal("nudge", args=inputs)
    for name in updates:
        for inputs in ODD:
            assert await refusal(handle, name, *inputs) != ""


@pytest.mark.uncached
async def test_a_payment_takes_any_message(paysaga: Deployment, shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    handle = handle_of(paysaga, f"payment:{payment['id']}")
    await accepts_anything(handle, "resolve", "review", "capture")
    await paysaga.sandbox.steer(await shop.reference(payment["id"]), "authenticate")
    await shop.until(payment["id"], "SUCCESS")


@pytest.mark.parametrize("inputs", ODD[:5] + ODD[-1:], ids=str)
async def test_a_cancel_cancels_whatever_comes_with_it(paysaga: Deployment, shop: Shop, inputs: list[Any]) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    await handle_of(paysaga, f"payment:{payment['id']}").signal("cancel", args=inputs)
    await shop.until(payment["id"], "CANCELLED")


async def test_an_authorised_payment_is_not_captured_by_an_odd_message(paysaga: Deployment, shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), capture="manual")
    await shop.until(payment["id"], "AUTHORIZED")
    handle = handle_of(paysaga, f"payment:{payment['id']}")
    await accepts_anything(handle, "capture")
    assert (await shop.payment(payment["id"]))["status"] == "AUTHORIZED"
    await paysaga.update(handle.id, "capture", {"by": "olga"})
    await shop.until(payment["id"], "SUCCESS")


async def test_only_a_cancel_is_offered_for_a_wrong_amount(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    await paysaga.sandbox.fault("payment_intents.create", "wrong_amount", checkout=checkout, delta=100)
    payment = await shop.paid(checkout)
    await shop.until(payment["id"], "NEEDS_ATTENTION")
    handle = handle_of(paysaga, f"payment:{payment['id']}")
    for decision in ("accept", "retry", "not_charged", "reference"):
        said = await refusal(handle, "resolve", {"decision": decision, "by": "olga", "reference": "pi_1"})
        assert said == f"The decision {decision} changes nothing here: say cancel."
    assert [task["kind"] for task in (await shop.explain(payment["id"]))["tasks"]] == ["amount_mismatch"]
    await accepts_anything(handle, "resolve")
    await paysaga.update(handle.id, "resolve", {"decision": "cancel", "by": "olga"})
    await shop.until(payment["id"], "CANCELLED")


async def test_a_refund_of_another_amount_offers_what_works(paysaga: Deployment, shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    await paysaga.sandbox.fault("refunds.create", "wrong_amount", checkout=checkout, delta=100)
    refund = await shop.refunded(payment["id"], amount="200.00")
    await shop.refund_until(refund["id"], "NEEDS_ATTENTION")
    handle = handle_of(paysaga, f"refund:{refund['id']}")

    async def asked() -> bool:
        said = await refusal(handle, "resolve", {"decision": "cancel", "by": "olga"})
        return said == "The decision cancel changes nothing here: say accept or reference."

    await eventually(asked, what="the refund's workflow asks")
    for decision in ("retry", "not_charged"):
        said = await refusal(handle, "resolve", {"decision": decision, "by": "olga"})
        assert said == f"The decision {decision} changes nothing here: say accept or reference."
    assert [task["kind"] for task in (await shop.explain(payment["id"]))["tasks"]] == ["refund_failed"]
    await accepts_anything(handle, "resolve")
    await paysaga.update(handle.id, "resolve", {"decision": "accept", "by": "olga"})
    await shop.refund_until(refund["id"], "FAILED")


async def test_a_dispute_takes_any_message(paysaga: Deployment, shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    reference = await paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    await accepts_anything(handle_of(paysaga, f"dispute:{dispute['id']}"))
    await paysaga.sandbox.steer_dispute(reference, "lose")
    await shop.dispute_until(payment["id"], "LOST")


async def test_a_workflow_that_fails_at_each_try_is_found_and_started_again(paysaga: Deployment, shop: Shop) -> None:
    """As after a deploy that forgot the workflow's code, or a message that cannot be decoded."""
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    workflow_id = f"payment:{payment['id']}"
    await forget(shop, workflow_id)

    async def tasks() -> list[str]:
        return [task["kind"] for task in (await shop.explain(payment["id"]))["tasks"]]

    await marked(paysaga, workflow_id)
    await sweep(paysaga)
    assert await tasks() == ["workflow_failing"]
    listed = await paysaga_command(paysaga.environment(), "tasks")
    assert f"paysaga workflows restart {workflow_id}" in " ".join(listed.out.split())
    found = [
        finding for finding in await audit(paysaga.database, paysaga.temporal) if finding.object_id == payment["id"]
    ]
    assert [finding.code for finding in found] == ["I17"]
    nudged = await paysaga_command(paysaga.environment(), "payments", "nudge", payment["id"])
    assert (nudged.code, "keeps failing" in nudged.err) == (1, True)
    restart = ("workflows", "restart", workflow_id, "--by", "olga")
    said = await paysaga_command(paysaga.environment(), *restart)
    assert (said.code, said.out) == (0, f"{workflow_id} was ended and started again from its rows.\n")
    assert await tasks() == []
    await paysaga.sandbox.steer(await shop.reference(payment["id"]), "authenticate")
    await shop.until(payment["id"], "SUCCESS")
    assert (await paysaga_command(paysaga.environment(), *restart)).code == 1
    log = await paysaga.sql("SELECT actor FROM audit_log WHERE object_id = $1", workflow_id)
    assert [row["actor"] for row in log] == ["olga"]


async def test_a_message_does_not_make_a_failing_workflow_look_well(deploy: Deploy) -> None:
    """The server counts failed tasks anew where a message came during the last one. Nobody takes the next task here, so
    that the first count stays."""
    paysaga = await deploy()
    shop = await paysaga.shop("told")
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    handle = handle_of(paysaga, f"payment:{payment['id']}")
    await forget(shop, handle.id)
    await marked(paysaga, handle.id)
    await handle.signal("nudge")
    await asyncio.gather(paysaga.api.stop(), paysaga.worker.stop())

    async def counted_anew() -> bool:
        return (await handle.describe()).raw_description.pending_workflow_task.attempt == 1

    await eventually(counted_anew, what="the first attempt")
    assert [one.id for one in await troubles.find(paysaga.temporal, paysaga.name) if one.failing] == [handle.id]
