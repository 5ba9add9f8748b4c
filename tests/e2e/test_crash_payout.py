"""Workers are killed (SIGKILL) at each step of a payout; what is booked is what the PSP did, once."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.e2e.test_cancel import sweep
from tests.e2e.test_crash import restart, row_lock, temporal_stopped
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.payouts import PAY_OUT, REVERSAL, TRANSFER, went
from tests.support.shop import Shop

EARNED = 48500
CHECK, CANCEL = "payouts.retrieve", "payouts.cancel"
ENDS = {TRANSFER: "PAID", PAY_OUT: "PAID", CHECK: "PAID", REVERSAL: "FAILED", CANCEL: "CANCELLED"}
"""What becomes of a payout that is held at this call, once it is let go."""
BACK = (REVERSAL, CANCEL)


@pytest.fixture(scope="module")
def servers(stoppable: EmbeddedStack) -> EmbeddedStack:
    return stoppable


@pytest.fixture(scope="module")
async def paysaga(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The API hosts no worker here, so that the worker process is the one to kill."""
    quick = payouts.QUICK | {"api_worker": False, "workflow_task_timeout_s": 2.0}
    async with Deployment(servers, tmp_path_factory.mktemp("crash"), "crash_payout", **quick) as deployment:
        await deployment.sandbox.configure(**payouts.PSP)
        yield deployment


@pytest.fixture
async def shop(paysaga: Deployment) -> AsyncIterator[Shop]:
    if not paysaga.worker.running:  # the test before this one failed
        await paysaga.start_worker()
    yield await paysaga.shop(f"crash-{secrets.token_hex(5)}")
    assert await audit_database(paysaga.database) == []


async def held(shop: Shop, seller: str, operation: str, moment: str) -> tuple[str, str]:
    """A payout of the seller's that the PSP holds at this call, each time that it is made. Its id, and the fault's."""
    sandbox = shop.paysaga.sandbox
    if operation in (TRANSFER, PAY_OUT):
        account = await payouts.with_account(shop, seller)
        fault = await payouts.fault(sandbox, account, operation, moment, times=None)
        return (await payouts.request(shop, seller))["id"], fault
    payout_id, reference = await payouts.failing(shop, seller)
    account = (await shop.get(f"/v1/payouts/{payout_id}")).json()["account"]
    of = payout_id if operation == REVERSAL else account
    fault = await payouts.fault(sandbox, of, operation, moment, times=None)
    if operation == CANCEL:
        assert await payouts.cancel(shop, payout_id) == 202
    else:
        await sandbox.steer_payout(reference, "fail" if operation == REVERSAL else "pay")
    return payout_id, fault


async def all_held(shop: Shop, *moments: str) -> dict[str, tuple[str, str, str]]:
    """seller → (operation, payout, fault): one payout at each call and moment, all of them at once."""
    wanted = {
        f"{operation.replace('.', '-')}-{moment}": (operation, moment) for operation in ENDS for moment in moments
    }
    for seller in wanted:
        await shop.add_seller(seller)
    await payouts.fund(shop, *wanted, amount=EARNED)
    made = await asyncio.gather(*(held(shop, seller, *wanted[seller]) for seller in wanted))
    await asyncio.gather(*(shop.paysaga.sandbox.struck(fault) for _, fault in made))
    return {seller: (wanted[seller][0], *one) for seller, one in zip(wanted, made, strict=True)}


async def let_go(shop: Shop, held_at: dict[str, tuple[str, str, str]]) -> None:
    for _, _, fault in held_at.values():
        await shop.paysaga.sandbox.clear(fault)


async def each_ends_once(shop: Shop, held_at: dict[str, tuple[str, str, str]]) -> None:
    async def end(operation: str, payout_id: str) -> dict[str, list[int]]:
        await payouts.until(shop, payout_id, ENDS[operation])
        return await payouts.amounts(shop.paysaga.sandbox, payout_id)

    moved = await asyncio.gather(*(end(operation, payout_id) for operation, payout_id, _ in held_at.values()))
    due = {seller: went(EARNED, back=operation in BACK) for seller, (operation, _, _) in held_at.items()}
    assert dict(zip(held_at, moved, strict=True)) == due


async def test_killed_around_every_call_at_the_psp(paysaga: Deployment, shop: Shop) -> None:
    held_at = await all_held(shop, "hold_before", "hold_after")
    await restart(paysaga)
    await let_go(shop, held_at)
    await each_ends_once(shop, held_at)


async def booking_waits(paysaga: Deployment) -> None:
    """Until a step of the worker's waits for a lock."""

    async def probe() -> bool:
        waiting = await paysaga.sql(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND application_name = 'paysaga-worker'"
        )
        return bool(waiting)

    await eventually(probe, what="a step of the worker that waits for the lock")


@pytest.mark.parametrize("operation", [TRANSFER, PAY_OUT, CHECK, REVERSAL])
async def test_killed_before_what_the_psp_did_is_booked(paysaga: Deployment, shop: Shop, operation: str) -> None:
    await payouts.fund(shop, "anna", amount=EARNED)
    payout_id, fault = await held(shop, "anna", operation, "hold_after")
    await paysaga.sandbox.struck(fault)
    async with row_lock(paysaga, "SELECT FROM payout WHERE id = $1 FOR UPDATE", payout_id):
        await paysaga.sandbox.clear(fault)
        await booking_waits(paysaga)
        await paysaga.worker.kill()
    await paysaga.start_worker()
    await each_ends_once(shop, {"anna": (operation, payout_id, fault)})


async def test_killed_before_what_was_booked_is_reported(
    paysaga: Deployment, shop: Shop, servers: EmbeddedStack
) -> None:
    await payouts.fund(shop, "anna", amount=EARNED)
    payout_id, fault = await held(shop, "anna", TRANSFER, "hold_before")
    await paysaga.sandbox.struck(fault)
    async with temporal_stopped(servers):
        await paysaga.sandbox.clear(fault)
        await payouts.until(shop, payout_id, "IN_TRANSIT")
        await paysaga.worker.kill()
    await paysaga.start_worker()
    await paysaga.temporal.get_workflow_handle(f"payout:{payout_id}").result()
    await each_ends_once(shop, {"anna": (TRANSFER, payout_id, fault)})


async def test_no_worker_while_it_is_in_transit(paysaga: Deployment, shop: Shop) -> None:
    await payouts.fund(shop, "anna", "bo", amount=EARNED)
    paid, paid_as = await payouts.failing(shop, "anna")
    failed, failed_as = await payouts.failing(shop, "bo")
    await paysaga.worker.kill()
    await paysaga.sandbox.steer_payout(paid_as, "pay")
    await paysaga.sandbox.steer_payout(failed_as, "fail")
    await paysaga.sandbox.flush_webhooks()
    await paysaga.start_worker()
    await each_ends_once(shop, {"anna": (CHECK, paid, ""), "bo": (REVERSAL, failed, "")})


# --- the workflow is lost ---


async def test_terminated_workflows_are_taken_up_by_the_sweeper(paysaga: Deployment, shop: Shop) -> None:
    """At each call at the PSP; and one that waits for a person, which goes on waiting. The step that a terminated one
    was in is finished by its worker; where that was the last, there is nothing to take up."""
    held_at = await all_held(shop, "hold_after")
    await payouts.with_account(shop, "anna", "acct_reversalRefused")
    await payouts.fund(shop, "anna", amount=EARNED)
    waiting = (await payouts.request(shop))["id"]
    paid = await payouts.until(shop, waiting, "PAID")
    await paysaga.sandbox.steer_payout(paid["reference"], "return")
    await payouts.until(shop, waiting, "NEEDS_ATTENTION")
    lost = [payout_id for _, payout_id, _ in held_at.values()] + [waiting]
    for payout_id in lost:
        await paysaga.temporal.get_workflow_handle(f"payout:{payout_id}").terminate("by an operator's mistake")
    await let_go(shop, held_at)
    taken_up: set[str] = set()

    async def swept() -> bool:
        await sweep(paysaga)
        paid = await paysaga.sql("SELECT id FROM payout WHERE id = ANY($1) AND status = 'PAID'", lost)
        taken_up.update(row["id"] for row in paid)
        taken_up.update([payout_id for payout_id in lost if await _runs_anew(paysaga, payout_id)])
        return taken_up == set(lost)

    await eventually(swept, what="every payout is taken up")
    await each_ends_once(shop, held_at)
    assert await payouts.tasks(shop, waiting) == ["payout_not_returned"]
    await paysaga.update(f"payout:{waiting}", "resolve", {"decision": "done", "by": "olga"})
    await payouts.until(shop, waiting, "RETURNED")


async def _runs_anew(paysaga: Deployment, payout_id: str) -> bool:
    description = await paysaga.temporal.get_workflow_handle(f"payout:{payout_id}").describe()
    return description.status is not None and description.status.name != "TERMINATED"


async def test_a_payout_that_was_stored_and_never_started(
    paysaga: Deployment, shop: Shop, servers: EmbeddedStack
) -> None:
    await payouts.with_account(shop, "anna")
    await payouts.fund(shop, "anna", amount=EARNED)
    async with temporal_stopped(servers):
        asking = asyncio.create_task(payouts.request(shop))

        async def stored() -> str | None:
            rows = await paysaga.sql("SELECT id FROM payout WHERE tenant_id = $1", shop.tenant)
            return str(rows[0]["id"]) if rows else None

        payout_id = await eventually(stored, what="the payout is stored")
        await paysaga.api.kill()
        await asyncio.gather(asking, return_exceptions=True)
    await paysaga.start_api()
    await sweep(paysaga)
    await each_ends_once(shop, {"anna": (TRANSFER, payout_id, "")})
