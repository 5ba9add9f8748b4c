"""Payouts, from the wallet to the seller's bank and back again: each way that they can go, as the PSP's log and the
ledger tell it."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ActivityError, ApplicationError

from db.audit.audit import audit_database
from db.payout import decision as payout_decision
from db.payout import request as payout_request
from db.payout.request import NewPayout
from domain.ids import new_id
from domain.payout import PayoutDecision, PayoutResolution, PayoutResolutionStep
from embedded.stack import EmbeddedStack
from tests.e2e.conftest import VARIANTS
from tests.e2e.test_cancel import sweep
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.payouts import TRANSFER, went
from tests.support.shop import Shop

SOLD = "500.00"
EARNED = 48500
"""After the platform's 3 %."""
REST = {
    ("platform_fees", "INR"): -1500,
    ("psp_fees", "INR"): 500,
    ("psp_clearing:stripe", "INR"): 1000,
}
"""What the books hold of one sale whose seller was paid: the two fees, and the difference of them at the PSP."""
UNPAID = REST | {("psp_clearing:stripe", "INR"): 1000 + EARNED, ("wallet:anna:available", "INR"): -EARNED}


@pytest.fixture(scope="module", params=VARIANTS)
async def paysaga(
    request: pytest.FixtureRequest, servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    variant: str = request.param
    folder = tmp_path_factory.mktemp(f"payout_{variant}")
    async with Deployment(servers, folder, f"payout_{variant}", **VARIANTS[variant] | payouts.QUICK) as deployment:
        deployment.patience_s = 20.0 if variant == "replayed" else None
        await deployment.sandbox.configure(**payouts.PSP)
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    """A tenant of the test's own; the books of all are audited at its end."""
    yield await paysaga.shop(f"payout-{secrets.token_hex(5)}")
    assert await audit_database(paysaga.database) == []


async def asked(shop: Shop, account: str) -> tuple[str, str]:
    """A payout of all that anna earned. Its id, and her account at the PSP."""
    name = await payouts.with_account(shop, "anna", account)
    await payouts.earn(shop, SOLD)
    return (await payouts.request(shop))["id"], name


async def reference_of(shop: Shop, payout_id: str) -> str:
    """The PSP's name for it."""

    async def probe() -> str | None:
        found: str | None = (await shop.get(f"/v1/payouts/{payout_id}")).json()["reference"]
        return found

    return await eventually(probe, what=f"reference of {payout_id}")


# --- to its end by itself ---

ENDS = {
    "acct_paysOut": ("PAID", went(EARNED)),
    "acct_payoutFails": ("FAILED", went(EARNED, back=True)),
    "acct_payoutRefused": ("FAILED", went(EARNED, back=True, bank=False)),
    "acct_transferRefused": ("FAILED", payouts.NOTHING),
}


@pytest.mark.parametrize("account", ENDS)
async def test_what_the_psp_makes_of_it(shop: Shop, account: str) -> None:
    status, moved = ENDS[account]
    payout_id, _ = await asked(shop, account)
    ended = await payouts.until(shop, payout_id, "PAID", "FAILED")
    assert (ended["status"], ended["amount"]) == (status, "485.00")
    assert (ended["failure"] is None) == (status == "PAID")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == moved
    assert await shop.balances() == (REST if status == "PAID" else UNPAID)


async def test_what_failed_is_paid_by_the_next_one(shop: Shop) -> None:
    failed, _ = await asked(shop, "acct_payoutFails")
    await payouts.until(shop, failed, "FAILED")
    await payouts.with_account(shop, "anna", "acct_paysOut")
    paid = (await payouts.request(shop))["id"]
    await payouts.until(shop, paid, "PAID")
    assert await payouts.amounts(shop.paysaga.sandbox, paid) == went(EARNED)
    assert await shop.balances() == REST


# --- returned by the bank, days after it was paid ---


@pytest.mark.uncached
async def test_returned_by_the_bank_after_it_was_paid(shop: Shop) -> None:
    payout_id, _ = await asked(shop, "acct_paysOut")
    paid = await payouts.until(shop, payout_id, "PAID")
    await shop.paysaga.sandbox.steer_payout(paid["reference"], "return")
    await payouts.until(shop, payout_id, "RETURNED")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED, back=True)
    assert await shop.balances() == UNPAID


async def test_a_return_that_is_told_while_the_answer_paid_is_on_its_way(shop: Shop) -> None:
    """The workflow is about to end by that answer, and nobody would tell it again."""
    sandbox = shop.paysaga.sandbox
    payout_id, account = await asked(shop, "acct_payoutStays")
    reference = (await payouts.until(shop, payout_id, "IN_TRANSIT"))["reference"]
    pending = await payouts.fault(sandbox, account, "payouts.retrieve", "hold_after")
    await sandbox.struck(pending)
    paid = await payouts.fault(sandbox, account, "payouts.retrieve", "hold_after")
    await sandbox.webhook_fault("payout.paid", "lost")
    await sandbox.steer_payout(reference, "pay")
    await sandbox.release(pending)
    await sandbox.struck(paid)
    await sandbox.steer_payout(reference, "return")
    await sandbox.flush_webhooks()
    await sandbox.release(paid)
    await payouts.until(shop, payout_id, "RETURNED")
    assert await payouts.amounts(sandbox, payout_id) == went(EARNED, back=True)
    assert await shop.balances() == UNPAID


async def test_a_return_whose_webhook_was_lost_is_known_when_it_is_sent_again(shop: Shop) -> None:
    """Sooner than the next look at it."""
    sandbox = shop.paysaga.sandbox
    payout_id, account = await asked(shop, "acct_paysOut")
    paid = await payouts.until(shop, payout_id, "PAID")
    await sandbox.webhook_fault("payout.failed", "lost", match={"id": paid["reference"]})
    await sandbox.steer_payout(paid["reference"], "return")
    await sandbox.flush_webhooks()
    await sweep(shop.paysaga)
    assert (await shop.get(f"/v1/payouts/{payout_id}")).json()["status"] == "PAID"
    deliveries = (await sandbox.control("GET", "/webhooks"))["data"]  # the newest first
    lost = next(d for d in deliveries if (d["state"], d["type"]) == ("lost", "payout.failed"))
    await sandbox.control("POST", f"/events/{lost['event']}/resend")
    await payouts.until(shop, payout_id, "RETURNED")
    assert await payouts.amounts(sandbox, payout_id) == went(EARNED, back=True)
    assert account.startswith("acct_paysOut")


async def test_a_return_that_no_webhook_tells_of_is_found_by_looking(shop: Shop) -> None:
    sandbox = shop.paysaga.sandbox
    payout_id, _ = await asked(shop, "acct_paysOut")
    paid = await payouts.until(shop, payout_id, "PAID")

    async def looked_at() -> int:
        """Days until the next look, after one that is made now."""
        await shop.paysaga.sql("UPDATE payout SET next_check_at = now() - interval '1 hour' WHERE id = $1", payout_id)
        await sweep(shop.paysaga)
        await shop.paysaga.temporal.get_workflow_handle(f"payout:{payout_id}").result()
        row = await shop.paysaga.sql("SELECT next_check_at - now() AS gap FROM payout WHERE id = $1", payout_id)
        gap: timedelta = row[0]["gap"]
        return round(gap / timedelta(days=1))

    assert await looked_at() == 2
    await sandbox.webhook_fault("payout.failed", "lost", match={"id": paid["reference"]})
    await sandbox.steer_payout(paid["reference"], "return")
    await sandbox.flush_webhooks()
    assert (await shop.get(f"/v1/payouts/{payout_id}")).json()["status"] == "PAID"
    await looked_at()
    await payouts.until(shop, payout_id, "RETURNED")
    assert await payouts.amounts(sandbox, payout_id) == went(EARNED, back=True)


async def test_without_any_webhook_it_is_paid_by_looking(shop: Shop) -> None:
    fault = await shop.paysaga.sandbox.webhook_fault("*", "lost", times=None)
    payout_id, _ = await asked(shop, "acct_paysOut")
    await payouts.until(shop, payout_id, "PAID")
    await shop.paysaga.sandbox.control("DELETE", f"/webhook_faults/{fault}")
    assert await shop.paysaga.sql("SELECT FROM webhook_inbox WHERE payout_id = $1", payout_id) == []


# --- cancelled ---


@pytest.mark.uncached
async def test_cancelled_while_the_transfer_is_on_its_way(shop: Shop) -> None:
    account = await payouts.with_account(shop, "anna")
    await payouts.earn(shop, SOLD)
    hold = await payouts.fault(shop.paysaga.sandbox, account, TRANSFER, "hold_before")
    payout_id = (await payouts.request(shop))["id"]
    await shop.paysaga.sandbox.struck(hold)
    assert await payouts.cancel(shop, payout_id) == 202
    await shop.paysaga.sandbox.release(hold)
    await payouts.until(shop, payout_id, "CANCELLED")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED, back=True, bank=False)
    assert await shop.balances() == UNPAID
    assert await payouts.cancel(shop, payout_id) == 200


async def test_cancelled_before_a_transfer_that_is_refused(shop: Shop) -> None:
    account = await payouts.with_account(shop, "anna", "acct_transferRefused")
    await payouts.earn(shop, SOLD)
    hold = await payouts.fault(shop.paysaga.sandbox, account, TRANSFER, "hold_before")
    payout_id = (await payouts.request(shop))["id"]
    await shop.paysaga.sandbox.struck(hold)
    assert await payouts.cancel(shop, payout_id) == 202
    await shop.paysaga.sandbox.release(hold)
    await payouts.until(shop, payout_id, "CANCELLED")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == payouts.NOTHING


@pytest.mark.uncached
async def test_cancelled_while_the_bank_has_not_got_it(shop: Shop) -> None:
    payout_id, _ = await asked(shop, "acct_payoutStays")
    await payouts.until(shop, payout_id, "IN_TRANSIT")
    assert await payouts.cancel(shop, payout_id) == 202
    await payouts.until(shop, payout_id, "CANCELLED")
    found = await payouts.at_the_psp(shop.paysaga.sandbox, payout_id)
    assert [one["status"] for one in found["payouts"]] == ["canceled"]
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED, back=True)
    assert await shop.balances() == UNPAID


async def test_a_cancel_that_comes_too_late_is_refused_and_it_is_paid(shop: Shop) -> None:
    payout_id, _ = await asked(shop, "acct_payoutStays")
    reference = (await payouts.until(shop, payout_id, "IN_TRANSIT"))["reference"]
    await shop.paysaga.sandbox.steer_payout(reference, "transit")
    assert await payouts.cancel(shop, payout_id) == 202

    async def refused() -> bool:
        return await payouts.cancel(shop, payout_id) == 409

    await eventually(refused, what="the PSP refuses the cancel")
    assert not (await shop.get(f"/v1/payouts/{payout_id}")).json()["cancel_requested"]
    await shop.paysaga.sandbox.steer_payout(reference, "pay")
    await payouts.until(shop, payout_id, "PAID")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED)
    assert await payouts.cancel(shop, payout_id) == 409
    assert await shop.balances() == REST


async def test_a_cancel_without_an_answer_is_tried_again_after_a_while(shop: Shop) -> None:
    sandbox = shop.paysaga.sandbox
    payout_id, account = await asked(shop, "acct_payoutStays")
    await payouts.until(shop, payout_id, "IN_TRANSIT")
    down = await payouts.fault(sandbox, account, "payouts.cancel", "rate_limit", times=None)
    assert await payouts.cancel(shop, payout_id) == 202
    await sandbox.struck(down, hits=3)
    sent = [r for r in (await sandbox.ground_truth())["requests"] if r["account"] == account]
    assert len([r for r in sent if r["operation"] == "payouts.cancel"]) < 10
    await sandbox.clear(down)
    await payouts.until(shop, payout_id, "CANCELLED")
    assert await payouts.amounts(sandbox, payout_id) == went(EARNED, back=True)


async def test_cancelled_in_the_psps_dashboard(shop: Shop) -> None:
    payout_id, _ = await asked(shop, "acct_payoutStays")
    reference = (await payouts.until(shop, payout_id, "IN_TRANSIT"))["reference"]
    await shop.paysaga.sandbox.steer_payout(reference, "cancel")
    await payouts.until(shop, payout_id, "CANCELLED")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED, back=True)
    assert await shop.balances() == UNPAID


# --- the seller is frozen ---


async def test_a_freeze_stops_what_was_not_sent_to_the_bank(shop: Shop) -> None:
    account = await payouts.with_account(shop, "anna")
    await payouts.earn(shop, SOLD)
    hold = await payouts.fault(shop.paysaga.sandbox, account, TRANSFER, "hold_before")
    payout_id = (await payouts.request(shop))["id"]
    await shop.paysaga.sandbox.struck(hold)
    await shop.set_merchant("anna", status="FROZEN")
    await shop.paysaga.sandbox.release(hold)
    await payouts.until(shop, payout_id, "CANCELLED")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED, back=True, bank=False)
    assert await shop.balances() == UNPAID


async def test_a_freeze_before_anything_was_sent(shop: Shop) -> None:
    """As where the PSP was away for hours. What the bank has goes on."""
    stays = (await asked(shop, "acct_payoutStays"))[0]
    reference = (await payouts.until(shop, stays, "IN_TRANSIT"))["reference"]
    await payouts.earn(shop, SOLD)
    unsent = NewPayout(
        id=new_id("pt"), tenant_id=shop.tenant, seller_account="anna", currency="INR", amount=None, psp="stripe",
        actor="test", send_for_s=3600, payable=lambda amount, _: amount,
    )  # fmt: skip
    await shop.paysaga.database.run(lambda c: payout_request.request(c, unsent, datetime.now(UTC)))
    await shop.set_merchant("anna", status="FROZEN")
    await shop.paysaga.sql("UPDATE payout SET next_check_at = now() - interval '1 hour' WHERE id = $1", unsent.id)
    await sweep(shop.paysaga)
    await payouts.until(shop, unsent.id, "CANCELLED")
    assert await payouts.amounts(shop.paysaga.sandbox, unsent.id) == payouts.NOTHING
    await shop.paysaga.sandbox.steer_payout(reference, "pay")
    await payouts.until(shop, stays, "PAID")


async def test_a_fraction_that_the_bank_does_not_take_stays_in_the_wallet(shop: Shop) -> None:
    await payouts.with_account(shop, "anna")
    await payouts.fund(shop, "anna", amount=10_050, currency="HUF")
    refused = await shop.post("/v1/payouts", {"seller_account": "anna", "currency": "HUF", "amount": "100.50"})
    assert (refused.status_code, refused.json()["code"]) == (422, "amount_precision")
    payout_id = (await payouts.request(shop, currency="HUF"))["id"]
    assert (await payouts.until(shop, payout_id, "PAID", "FAILED"))["status"] == "PAID"
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(10_000)
    assert (await payouts.wallet(shop, currency="HUF"))["available"] == "0.50"


# --- a person decides ---


async def not_returned(shop: Shop) -> str:
    """A payout that the bank returned, and whose transfer the PSP does not take back."""
    payout_id, _ = await asked(shop, "acct_reversalRefused")
    paid = await payouts.until(shop, payout_id, "PAID")
    await shop.paysaga.sandbox.steer_payout(paid["reference"], "return")
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    assert await payouts.tasks(shop, payout_id) == ["payout_not_returned"]
    return payout_id


async def asked_again(shop: Shop, payout_id: str, attempts: int) -> bool:
    sent = (await payouts.at_the_psp(shop.paysaga.sandbox, payout_id))["requests"]
    keys = {r["idempotency_key"] for r in sent if r["operation"] == payouts.REVERSAL}
    return len(keys) == attempts


@pytest.mark.uncached
async def test_a_refused_reversal_waits_for_a_person(shop: Shop) -> None:
    """Decided through the workflow: tried again, refused again, done by hand."""
    payout_id = await not_returned(shop)
    workflow_id = f"payout:{payout_id}"
    await shop.paysaga.update(workflow_id, "resolve", {"decision": "retry", "by": "olga"})
    await eventually(lambda: asked_again(shop, payout_id, 2), what="a second reversal")
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    assert await payouts.tasks(shop, payout_id) == ["payout_not_returned"]
    await shop.paysaga.update(workflow_id, "resolve", {"decision": "done", "by": "olga", "note": "by hand"})
    await payouts.until(shop, payout_id, "RETURNED")
    assert await payouts.tasks(shop, payout_id) == []
    assert await shop.balances() == UNPAID
    await shop.paysaga.temporal.get_workflow_handle(workflow_id).result()


async def test_a_refused_reversal_is_decided_in_the_row(shop: Shop) -> None:
    """As where Temporal cannot be reached: the workflow reads it."""
    payout_id = await not_returned(shop)

    async def decide(decision: PayoutDecision, **more: Any) -> None:
        resolution = PayoutResolution(decision=decision, by="olga", **more)
        row = await shop.paysaga.sql("SELECT now() AS now")
        step = PayoutResolutionStep(payout_id=payout_id, resolution=resolution, at=row[0]["now"])
        await shop.paysaga.database.run(lambda c: payout_decision.resolve(c, step, 3600))

    await decide(PayoutDecision.RETRY)
    await eventually(lambda: asked_again(shop, payout_id, 2), what="a second reversal")
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    await decide(PayoutDecision.DONE, note="by hand")
    await shop.paysaga.temporal.get_workflow_handle(f"payout:{payout_id}").result()
    await payouts.until(shop, payout_id, "RETURNED")
    assert await shop.balances() == UNPAID


async def test_what_the_seller_was_paid_otherwise_is_not_paid_again(shop: Shop) -> None:
    """The seller's own account paid it out by itself, so that it cannot be taken back; the PSP still says FAILED."""
    payout_id = await not_returned(shop)
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", {"decision": "paid", "by": "olga"})
    settled = await payouts.until(shop, payout_id, "PAID")
    assert settled["failure"] is None
    assert await payouts.tasks(shop, payout_id) == []
    assert await shop.balances() == REST
    deliveries = (await shop.paysaga.sandbox.control("GET", "/webhooks"))["data"]
    failed = next(d for d in deliveries if d["type"] == "payout.failed")
    await shop.paysaga.sql("DELETE FROM webhook_inbox WHERE event_id = $1", failed["event"])
    await shop.paysaga.sandbox.control("POST", f"/events/{failed['event']}/resend")

    async def read() -> bool:
        query = "SELECT FROM webhook_inbox WHERE event_id = $1 AND status = 'PROCESSED'"
        return bool(await shop.paysaga.sql(query, failed["event"]))

    await eventually(read, what="the event was looked after")
    assert (await shop.get(f"/v1/payouts/{payout_id}")).json()["status"] == "PAID"


async def test_a_decision_that_fits_nothing_changes_nothing(shop: Shop) -> None:
    payout_id = await not_returned(shop)
    workflow_id = f"payout:{payout_id}"
    wrong = {"decision": "reference", "reference": "tr_1", "by": "olga"}
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await shop.paysaga.update(workflow_id, "resolve", wrong)
    assert isinstance(refused.value.cause, ActivityError)
    assert isinstance(refused.value.cause.cause, ApplicationError)
    assert refused.value.cause.cause.type == "decision_not_possible"
    assert await payouts.tasks(shop, payout_id) == ["payout_not_returned"]
    await shop.paysaga.update(workflow_id, "resolve", {"decision": "done", "by": "olga"})
    await payouts.until(shop, payout_id, "RETURNED")
