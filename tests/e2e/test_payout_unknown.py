"""Payouts whose calls at the PSP have no answer, or a wrong one: what was done is found out, and done once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ActivityError, ApplicationError

from db.audit.audit import audit_database
from db.payment.overdue import open_tasks_for_stuck
from embedded.stack import EmbeddedStack
from tests.support import payouts
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.payouts import PAY_OUT, REVERSAL, TRANSFER, went
from tests.support.shop import Shop

KEY_LIFE_S = 3.0
EARNED = 48500

RETRY = {"decision": "retry", "by": "olga"}

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
    """Keys live as long as Stripe's; what is not there under a dead one is looked for a moment only."""
    settings = payouts.QUICK | {"unknown_patience_s": 3.0}
    async with Deployment(servers, tmp_path_factory.mktemp("unknown"), "payout_unknown", **settings) as deployment:
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
    await patient.update(f"payout:{payout_id}", "resolve", RETRY)
    await payouts.until(shop, payout_id, "FAILED")
    assert await payouts.amounts(patient.sandbox, payout_id) == went(EARNED, back=True)


ANOTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "transfer of less": (TRANSFER, {"kind": "wrong_amount", "delta": -100}),
    "transfer in usd": (TRANSFER, {"kind": "wrong_currency"}),
    "payout of less": (PAY_OUT, {"kind": "wrong_amount", "delta": -100}),
    "reversal of less": (REVERSAL, {"kind": "wrong_amount", "delta": -100}),
}
"""What the PSP makes of another amount or in another currency than was asked for: the object itself, not its answer."""


async def test_another_amount_than_was_asked_for_is_a_persons_question_at_once(patient: Deployment) -> None:
    """And no retry is taken while it stands; once it is undone at the PSP, the payout goes on."""
    sellers = {name: name.replace(" ", "-") for name in ANOTHER}
    shop = await patient.shop(f"another-{secrets.token_hex(5)}", sellers=tuple(sellers.values()))
    await payouts.fund(shop, *sellers.values(), amount=EARNED)

    async def ask(name: str) -> str:
        operation, fault = ANOTHER[name]
        account = await payouts.with_account(shop, sellers[name], "acct_payoutStays")
        if operation != REVERSAL:
            await payouts.fault(patient.sandbox, account, operation, **fault)
            return str((await payouts.request(shop, sellers[name]))["id"])
        made = await payouts.request(shop, sellers[name])
        sent = await payouts.until(shop, made["id"], "IN_TRANSIT")
        await payouts.fault(patient.sandbox, made["id"], operation, **fault)
        await patient.sandbox.steer_payout(sent["reference"], "fail")
        return str(made["id"])

    async def settle(name: str) -> tuple[str, list[str], str, list[int]]:
        operation, _ = ANOTHER[name]
        payout_id = await ask(name)
        waiting = await payouts.until(shop, payout_id, "NEEDS_ATTENTION")
        tasks = await payouts.tasks(shop, payout_id)
        if operation != REVERSAL:
            with pytest.raises(WorkflowUpdateFailedError):
                await patient.update(f"payout:{payout_id}", "resolve", RETRY)
        made = await payouts.at_the_psp(patient.sandbox, payout_id)
        if operation == PAY_OUT:
            await patient.sandbox.steer_payout(made["payouts"][0]["payout"], "cancel")
        else:
            await patient.sandbox.reverse_by_hand(made["transfers"][0]["transfer"])
        await patient.update(f"payout:{payout_id}", "resolve", RETRY)
        ended = await payouts.until(shop, payout_id, "FAILED" if operation == REVERSAL else "IN_TRANSIT")
        moved = await payouts.amounts(patient.sandbox, payout_id)
        return waiting["failure"]["code"], tasks, ended["status"], moved["payouts"][-1:]

    settled = dict(zip(ANOTHER, await asyncio.gather(*map(settle, ANOTHER)), strict=True))
    asked = ("amount_mismatch", ["payout_amount_mismatch"])
    assert settled == {
        name: (*asked, "FAILED" if operation == REVERSAL else "IN_TRANSIT", [EARNED])
        for name, (operation, _) in ANOTHER.items()
    }
    assert await audit_database(patient.database) == []


async def test_what_the_psp_answers_with_a_stored_error_is_looked_for_and_then_given_back(patient: Deployment) -> None:
    """Nothing that was sent under such a key can execute any more. A cancel that came meanwhile is what it ends as."""
    cases = {"transfer": (TRANSFER, "FAILED"), "payout": (PAY_OUT, "FAILED"), "cancelled": (PAY_OUT, "CANCELLED")}
    shop = await patient.shop(f"dead-{secrets.token_hex(5)}", sellers=tuple(cases))
    await payouts.fund(shop, *cases, amount=EARNED)

    async def end(seller: str) -> dict[str, Any]:
        operation, status = cases[seller]
        account = await payouts.with_account(shop, seller)
        await payouts.fault(patient.sandbox, account, operation, "http_500")
        payout_id = (await payouts.request(shop, seller))["id"]

        async def unanswered() -> dict[str, Any] | None:
            found: dict[str, Any] | None = (await shop.get(f"/v1/payouts/{payout_id}")).json()["unanswered"]
            return found if found and found["reason"] == "server_error_replayed" else None

        why = await eventually(unanswered, what="why it waits")
        if status == "CANCELLED":
            await payouts.cancel(shop, payout_id)
        ended = await payouts.until(shop, payout_id, "FAILED", "CANCELLED")
        moved = await payouts.amounts(patient.sandbox, payout_id)
        return {
            "call": why["call"],
            "tried": why["tries"] > 0,
            "to_do": why["what_to_do"],
            "status": ended["status"],
            "code": ended["failure"]["code"],
            "moved": moved,
            "left": (await payouts.wallet(shop, seller))["available"],
            "unanswered": ended["unanswered"],
        }

    ends = dict(zip(cases, await asyncio.gather(*map(end, cases)), strict=True))
    to_do = "It is asked again by itself. A cancel ends it as soon as it is certain what the PSP did."
    same = {"tried": True, "to_do": to_do, "code": "psp_error", "left": "485.00", "unanswered": None}
    back = went(EARNED, back=True, bank=False)
    assert ends == {
        "transfer": same | {"call": "transfer", "status": "FAILED", "moved": payouts.NOTHING},
        "payout": same | {"call": "payout", "status": "FAILED", "moved": back},
        "cancelled": same | {"call": "payout", "status": "CANCELLED", "moved": back},
    }
    assert await audit_database(patient.database) == []


async def test_a_psp_that_gives_no_answer_is_a_task_that_says_why(patient: Deployment) -> None:
    """Until it answers; nothing has to be decided."""
    shop = await patient.shop(f"silent-{secrets.token_hex(5)}")
    await payouts.fund(shop, "anna", amount=EARNED)
    down = await payouts.fault(
        patient.sandbox, await payouts.with_account(shop, "anna"), TRANSFER, "http_503", times=None
    )
    payout_id = (await payouts.request(shop))["id"]

    async def told() -> str | None:
        await patient.database.run(lambda c: open_tasks_for_stuck(c, after_s=0.0))
        kind = "SELECT detail FROM operator_task WHERE object_id = $1 AND kind = 'payout_unanswered'"
        rows = await patient.sql(kind, payout_id)
        return next((row["detail"] for row in rows if "2 tries" in row["detail"]), None)

    detail = await eventually(told, what="a task that is kept up to date")
    assert "the PSP answered with a server error (5xx); 2 tries so far, the next by 20" in detail
    await patient.sandbox.clear(down)
    await payouts.until(shop, payout_id, "PAID")
    assert await payouts.tasks(shop, payout_id) == []


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
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", RETRY)
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
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", RETRY)
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
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", RETRY)
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
    await shop.paysaga.update(f"payout:{payout_id}", "resolve", RETRY)
    await payouts.until(shop, payout_id, "PAID")
    assert await payouts.amounts(sandbox, payout_id) == went(EARNED)
