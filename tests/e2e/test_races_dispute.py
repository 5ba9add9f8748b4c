"""Disputes that come too early, two at a time, or back from their end: none is forgotten."""

import secrets
from collections.abc import AsyncIterator

import pytest

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.e2e.test_cancel import sweep
from tests.e2e.test_crash import PAYMENT_LOCK, blocked, row_lock
from tests.e2e.test_crash_dispute import LOST
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Evidence is due soon, for every dispute."""
    soon = {"evidence_warning_s": 30 * 86_400.0}
    async with Deployment(servers, tmp_path_factory.mktemp("races"), "races_dispute", **soon) as deployment:
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    """A tenant of the test's own; the books of all are audited at its end."""
    yield await paysaga.shop(f"races-{secrets.token_hex(5)}")
    assert await audit_database(paysaga.database) == []


async def test_a_dispute_that_is_told_of_before_its_charge_is_known_becomes_our_record(
    paysaga: Deployment, shop: Shop
) -> None:
    checkout = shop.checkout()
    for event in ("payment_intent.*", "charge.succeeded"):
        await paysaga.sandbox.webhook_fault(event, "lost", checkout=checkout, times=None)
    hold = await paysaga.sandbox.fault("payment_intents.create", "hold_after", checkout=checkout)
    payment = await shop.paid(checkout, wait=0)
    await paysaga.sandbox.struck(hold)
    (charge,) = (await paysaga.sandbox.log(checkout)).charges
    await paysaga.sandbox.dispute(charge["payment_intent"])
    await paysaga.sandbox.flush_webhooks()
    await paysaga.sandbox.release(hold)
    assert (await shop.until(payment["id"]))["status"] == "SUCCESS"

    async def known() -> bool:
        await sweep(paysaga)
        return [d["status"] for d in (await shop.explain(payment["id"]))["disputes"]] == ["NEEDS_RESPONSE"]

    await eventually(known, what="the dispute is ours")
    assert (await shop.balances())["disputes_held", "INR"] == 50000


async def test_the_end_of_one_dispute_leaves_the_warning_of_the_other(paysaga: Deployment, shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    intent = await shop.reference(payment["id"])
    first = await paysaga.sandbox.dispute(intent, amount=10000)
    ours = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    await paysaga.sandbox.dispute(intent, amount=20000)

    async def warnings() -> str:
        tasks = (await shop.explain(payment["id"]))["tasks"]
        return " ".join(task["detail"] for task in tasks if task["kind"] == "dispute_evidence_due")

    async def both_warned() -> str | None:
        disputes = [dispute["id"] for dispute in (await shop.explain(payment["id"]))["disputes"]]
        said = await warnings()
        other = [dispute for dispute in disputes if dispute != ours["id"]]
        return other[0] if other and other[0] in said and ours["id"] in said else None

    other = await eventually(both_warned, what="a warning of both")
    await paysaga.sandbox.steer_dispute(first, "win")

    async def won() -> bool:
        return bool((await shop.get(f"/v1/disputes/{ours['id']}")).json()["status"] == "WON")

    await eventually(won, what="the first is won")
    assert other in await warnings()


async def test_an_inquiry_that_was_closed_and_is_lost_all_the_same_is_booked(paysaga: Deployment, shop: Shop) -> None:
    """The PSP says that an inquiry is closed, and goes on with it: we hear nothing before its end."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    closed = await paysaga.sandbox.fault("disputes.retrieve", "unknown_status", status="warning_closed", times=None)
    reference = await paysaga.sandbox.dispute(await shop.reference(payment["id"]), inquiry=True)
    dispute = await shop.dispute_until(payment["id"], "CLOSED")
    await paysaga.temporal.get_workflow_handle(f"dispute:{dispute['id']}").result()
    await paysaga.sandbox.clear(closed)
    for event in ("charge.dispute.updated", "charge.dispute.funds_withdrawn"):
        await paysaga.sandbox.webhook_fault(event, "lost", checkout=checkout)
    await paysaga.sandbox.steer_dispute(reference, "escalate")
    await paysaga.sandbox.steer_dispute(reference, "lose")
    await shop.dispute_until(payment["id"], "LOST")
    assert await shop.balances() == LOST


async def test_what_the_bank_decides_anew_while_its_decision_is_booked_is_looked_at_at_once(
    paysaga: Deployment, shop: Shop
) -> None:
    """The message reaches a run that is about to end, and no sweeper comes."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    await shop.until(payment["id"], "SUCCESS")
    reference = await paysaga.sandbox.dispute(await shop.reference(payment["id"]))
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")

    async def warned() -> list[object]:
        return list((await shop.explain(payment["id"]))["tasks"])

    await eventually(warned, what="the warning, after which nothing happens by itself")
    await paysaga.sandbox.flush_webhooks()
    await paysaga.sandbox.webhook_fault("charge.dispute.*", "lost", checkout=checkout, times=None)
    workflow = paysaga.temporal.get_workflow_handle(f"dispute:{dispute['id']}")
    async with row_lock(paysaga, PAYMENT_LOCK, payment["id"]):
        await paysaga.sandbox.steer_dispute(reference, "lose")
        await workflow.signal("nudge")
        await blocked(paysaga)
        await paysaga.sandbox.steer_dispute(reference, "reinstate")
        await workflow.signal("nudge")
    await workflow.result()
    assert (await shop.get(f"/v1/disputes/{dispute['id']}")).json()["status"] == "WON"
