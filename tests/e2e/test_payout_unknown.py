"""Payouts whose calls at the PSP have no answer, or a wrong one: what was done is found out, and done once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ActivityError, ApplicationError

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.payouts import PAY_OUT, REVERSAL, TRANSFER, went
from tests.support.shop import Shop

KEY_LIFE_S = 3.0
EARNED = 48500

ONCE: dict[str, dict[str, Any]] = {
    "timeout_before": {},
    "timeout_after": {},
    "http_500_uncached": {"times": 3},
    "http_503": {},
    "http_500_after": {},
    "cut_before": {},
    "cut_after": {"times": 2},
    "broken_body": {},
    "wrong_amount": {"persist": False},
    "wrong_currency": {"persist": False},
    "unknown_status": {},
    "rate_limit": {"times": 2},
}
"""Misfortunes after which the call can be made again under its key, or what it did can be seen."""


@pytest.fixture(scope="module")
async def patient(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Keys live as long as Stripe's."""
    async with Deployment(servers, tmp_path_factory.mktemp("unknown"), "payout_unknown", **payouts.QUICK) as deployment:
        await deployment.sandbox.configure(**payouts.PSP)
        yield deployment


@pytest.fixture(scope="module")
async def hasty(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Keys die after a moment: what was sent under them can only be looked up."""
    settings = payouts.QUICK | {"stripe_key_life_s": KEY_LIFE_S, "stripe_key_margin_s": 0.0}
    async with Deployment(servers, tmp_path_factory.mktemp("expired"), "payout_expired", **settings) as deployment:
        await deployment.sandbox.configure(**payouts.PSP)
        yield deployment
        assert await audit_database(deployment.database) == []


@pytest.fixture
async def shop(hasty: Deployment) -> Shop:
    return await hasty.shop(f"expired-{secrets.token_hex(5)}")


@pytest.mark.parametrize("operation", [TRANSFER, PAY_OUT, REVERSAL])
async def test_whatever_is_answered_it_is_done_once(patient: Deployment, operation: str) -> None:
    """Every misfortune at once, each for a seller of its own."""
    shop = await patient.shop(f"unknown-{secrets.token_hex(5)}", sellers=tuple(ONCE))
    await payouts.fund(shop, *ONCE, amount=EARNED)

    async def pay(kind: str) -> str:
        if operation == REVERSAL:
            payout_id, reference = await payouts.failing(shop, kind)
            fault = await payouts.fault(patient.sandbox, payout_id, operation, kind, **ONCE[kind])
            await patient.sandbox.steer_payout(reference, "fail")
        else:
            account = await payouts.with_account(shop, kind)
            fault = await payouts.fault(patient.sandbox, account, operation, kind, **ONCE[kind])
            payout_id = (await payouts.request(shop, kind))["id"]
        await patient.sandbox.struck(fault)
        return payout_id

    asked = dict(zip(ONCE, await asyncio.gather(*(pay(kind) for kind in ONCE)), strict=True))
    end = "FAILED" if operation == REVERSAL else "PAID"
    await asyncio.gather(*(payouts.until(shop, payout_id, end) for payout_id in asked.values()))
    moved = {kind: await payouts.amounts(patient.sandbox, payout_id) for kind, payout_id in asked.items()}
    assert moved == {kind: went(EARNED, back=operation == REVERSAL) for kind in ONCE}
    assert await audit_database(patient.database) == []


async def test_a_reversal_that_the_psp_says_500_of_for_ever_waits_for_a_person(patient: Deployment) -> None:
    """Nothing of it is seen at the transfer: it is tried again under a new key."""
    shop = await patient.shop(f"unknown-{secrets.token_hex(5)}")
    await payouts.fund(shop, "anna", amount=EARNED)
    payout_id, reference = await payouts.failing(shop)
    await payouts.fault(patient.sandbox, payout_id, REVERSAL, "http_500")
    await patient.sandbox.steer_payout(reference, "fail")
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    assert await payouts.tasks(shop, payout_id) == ["payout_not_returned"]
    await patient.update(f"payout:{payout_id}", "resolve", {"decision": "retry", "by": "olga"})
    await payouts.until(shop, payout_id, "FAILED")
    assert await payouts.amounts(patient.sandbox, payout_id) == went(EARNED, back=True)


# --- past the life of the key ---


async def asked(shop: Shop, *faults: tuple[str, str, dict[str, Any]], account: str = "acct_paysOut") -> tuple[str, str]:
    """A payout in whose way these faults are. Its id, and anna's account."""
    name = await payouts.with_account(shop, "anna", account)
    await payouts.fund(shop, "anna", amount=EARNED)
    for operation, kind, more in faults:
        await payouts.fault(shop.paysaga.sandbox, name, operation, kind, **more)
    return (await payouts.request(shop))["id"], name


EVER: dict[str, Any] = {"times": None}


@pytest.mark.parametrize("operation", [TRANSFER, PAY_OUT])
async def test_past_the_keys_life_it_is_looked_up_and_found(shop: Shop, operation: str) -> None:
    payout_id, _ = await asked(shop, (operation, "cut_after", {}), (operation, "http_503", EVER))
    await payouts.until(shop, payout_id, "PAID")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED)
    sent = (await payouts.at_the_psp(shop.paysaga.sandbox, payout_id))["requests"]
    assert len({r["idempotency_key"] for r in sent if r["operation"] == operation}) == 1


@pytest.mark.parametrize("operation", [TRANSFER, PAY_OUT, REVERSAL])
async def test_past_the_keys_life_what_is_not_found_waits_for_a_person(shop: Shop, operation: str) -> None:
    """Not finding it proves nothing; who knows that nothing came of it has it tried again."""
    sandbox = shop.paysaga.sandbox
    if operation == REVERSAL:
        await payouts.fund(shop, "anna", amount=EARNED)
        payout_id, reference = await payouts.failing(shop)
        down = await payouts.fault(sandbox, payout_id, operation, "http_503", times=None)
        await sandbox.steer_payout(reference, "fail")
    else:
        payout_id, _ = await asked(shop, (operation, "http_500", {}))
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    assert await payouts.tasks(shop, payout_id) == ["payout_unclear"]
    if operation == REVERSAL:
        await sandbox.clear(down)
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", {"decision": "retry", "by": "olga"})
    await payouts.until(shop, payout_id, "FAILED" if operation == REVERSAL else "PAID")
    assert await payouts.amounts(sandbox, payout_id) == went(EARNED, back=operation == REVERSAL)
    assert await payouts.tasks(shop, payout_id) == []


async def refusal(shop: Shop, payout_id: str, reference: str) -> str | None:
    """Why a person's name for it is not taken."""
    decision = {"decision": "reference", "reference": reference, "by": "olga"}
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await shop.paysaga.update(f"payout:{payout_id}", "resolve", decision)
    assert isinstance(refused.value.cause, ActivityError)
    assert isinstance(refused.value.cause.cause, ApplicationError)
    return refused.value.cause.cause.type


async def test_a_name_that_is_not_its_own_is_not_taken(shop: Shop) -> None:
    """Of the transfer, and of the payout."""
    sandbox = shop.paysaga.sandbox
    other, account = await asked(shop)
    paid = await payouts.until(shop, other, "PAID")
    for operation in (TRANSFER, PAY_OUT):
        await payouts.fault(sandbox, account, operation, "http_500")
    await payouts.fund(shop, "anna", amount=EARNED)
    payout_id = (await payouts.request(shop))["id"]
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    less = await sandbox.transfer_by_hand(account, EARNED - 1)
    made = await sandbox.transfer_by_hand(account, EARNED)
    row = await shop.paysaga.sql("SELECT transfer_reference AS name FROM payout WHERE id = $1", other)
    names = (less["id"], row[0]["name"], "tr_nothing", "po_nothing")
    refused = [await refusal(shop, payout_id, name) for name in names]
    assert refused == ["amount_mismatch", "another_transfer", "reference_not_found", "reference_not_found"]
    decision = {"decision": "reference", "reference": made["id"], "by": "olga"}
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", decision)

    async def asks_again() -> bool:
        return await payouts.tasks(shop, payout_id) == ["payout_unclear"]

    await eventually(asks_again, what="the payout is unclear")
    assert await refusal(shop, payout_id, paid["reference"]) == "another_payout"
    assert await refusal(shop, payout_id, "po_nothing") == "reference_not_found"
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", {"decision": "retry", "by": "olga"})
    await payouts.until(shop, payout_id, "PAID")


async def test_a_transfer_has_one_payout(shop: Shop) -> None:
    payout_id, account = await asked(shop, (TRANSFER, "http_500", {"times": 2}))
    await payouts.fund(shop, "anna", amount=EARNED)
    second = (await payouts.request(shop))["id"]
    for one in (payout_id, second):
        await payouts.until(shop, one, "NEEDS_ATTENTION")
    made = await shop.paysaga.sandbox.transfer_by_hand(account, EARNED)
    decision = {"decision": "reference", "reference": made["id"], "by": "olga"}
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", decision)
    await payouts.until(shop, payout_id, "PAID")
    assert await refusal(shop, second, made["id"]) == "reference_taken"


async def test_a_second_attempt_looks_for_the_first(shop: Shop) -> None:
    """Which was made after all."""
    payout_id, account = await asked(shop, (TRANSFER, "http_500", {}))
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    await shop.paysaga.sandbox.transfer_by_hand(account, EARNED, of=payout_id)
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", {"decision": "retry", "by": "olga"})
    await payouts.until(shop, payout_id, "PAID")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED)


async def test_a_transfer_made_by_hand_is_named_by_a_person(shop: Shop) -> None:
    payout_id, account = await asked(shop, (TRANSFER, "http_500", {}))
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    made = await shop.paysaga.sandbox.transfer_by_hand(account, EARNED)
    decision = {"decision": "reference", "reference": made["id"], "by": "olga"}
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", decision)
    await payouts.until(shop, payout_id, "PAID")
    assert await payouts.amounts(shop.paysaga.sandbox, payout_id) == went(EARNED) | {"transfers": []}


@pytest.mark.parametrize("operation", [TRANSFER, PAY_OUT])
async def test_another_amount_than_was_asked_for_is_never_taken_for_it(shop: Shop, operation: str) -> None:
    payout_id, _ = await asked(shop, (operation, "wrong_amount", {"delta": -100}))
    waiting = await payouts.until(shop, payout_id, "NEEDS_ATTENTION", "PAID", "IN_TRANSIT")
    assert waiting["status"] == "NEEDS_ATTENTION", "485.00 were asked for, and 484.00 moved"
    assert waiting["failure"]["code"] == "amount_mismatch"
    assert await payouts.tasks(shop, payout_id) == ["payout_unclear"]
    booked = [("payout_in_transit", "INR"), ("payout_float", "INR")]
    balances = await shop.balances()
    assert [balances.get(one, 0) for one in booked] == [-EARNED, EARNED if operation == PAY_OUT else 0]


async def test_a_psp_that_is_down_past_the_keys_life_is_asked_until_it_answers(shop: Shop) -> None:
    """Neither sending nor looking has an answer: nothing is decided."""
    sandbox = shop.paysaga.sandbox
    down = await sandbox.fault("transfers.*", "http_503", times=None)
    payout_id, _ = await asked(shop)

    async def expired() -> bool:
        query = "SELECT FROM payout_call WHERE payout_id = $1 AND send_until < now() - interval '1 second'"
        return bool(await shop.paysaga.sql(query, payout_id))

    await eventually(expired, what="the key's end")
    assert (await shop.get(f"/v1/payouts/{payout_id}")).json()["status"] == "REQUESTED"
    await sandbox.clear(down)
    await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
    assert await payouts.amounts(sandbox, payout_id) == payouts.NOTHING
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", {"decision": "retry", "by": "olga"})
    await payouts.until(shop, payout_id, "PAID")
    assert await payouts.amounts(sandbox, payout_id) == went(EARNED)
