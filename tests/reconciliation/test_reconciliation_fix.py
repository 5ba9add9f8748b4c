"""What is booked by rule: once, however often the fix runs, and never more than there is."""

from datetime import timedelta
from typing import Any, cast

import pytest

from db.audit.audit import audit_database
from db.payout import release
from domain.errors import Conflict
from domain.payout import ReleaseFundsStep
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.lines import PspLineKind
from domain.reconciliation.reconciliation import Decision
from runtime.workflow_client import WorkflowClient
from services import discrepancy
from services.command import Caller
from tests.reconciliation.scenario import AMOUNT, FEE, LATER, NOON, Scenario
from tests.reconciliation.test_reconciliation_classes import other

MUCH_LATER = NOON + timedelta(days=30)


NO_CLIENT = cast(WorkflowClient, None)
"""What is booked here tells no workflow."""


async def fix(scenario: Scenario, disc: dict[str, Any]) -> bool:
    return await discrepancy.apply_fix(scenario.database, NO_CLIENT, Discrepancy.model_validate(disc), LATER)


async def apply(scenario: Scenario, disc: dict[str, Any], note: str = "") -> dict[str, Any]:
    kim = Caller("kim")
    decided = await discrepancy.resolve(
        scenario.database, NO_CLIENT, kim, disc["id"], Decision.APPLY_FIX, note, at=LATER
    )
    return decided.row.model_dump()


async def balances(scenario: Scenario) -> dict[str, int]:
    rows = await scenario.sql(
        "SELECT account, sum(amount)::int AS s FROM ledger_posting GROUP BY 1 HAVING sum(amount) <> 0"
    )
    return {row["account"]: row["s"] for row in rows}


async def violations(scenario: Scenario) -> list[str]:
    """But for what should have been released by now: these books are of a day long ago."""
    return [found.problem for found in await audit_database(scenario.database) if found.code != "P13"]


async def order_of(scenario: Scenario, payment_id: str) -> Any:
    return (await scenario.sql("SELECT * FROM payment_order WHERE payment_id = $1", payment_id))[0]


async def test_a_fee_is_booked_once(scenario: Scenario) -> None:
    paid = await scenario.paid(fee=None)
    line = paid.line(available_on=MUCH_LATER)
    await scenario.run(line)
    (disc,) = await scenario.open_ones()
    for _ in range(2):
        assert await fix(scenario, disc)
    (fixed,) = await scenario.open_ones(None)
    assert (fixed["status"], fixed["resolution"], fixed["resolved_by"]) == ("FIXED", "book_fee", "reconciliation")
    assert fixed["ledger_transaction_id"] is not None
    assert (await balances(scenario))["psp_fees"] == FEE
    assert (await order_of(scenario, paid.payment_id))["available_at"] == MUCH_LATER, (
        "not before the PSP lets us have it"
    )
    (known,) = await scenario.sql("SELECT fee ->> 'reference' AS txn FROM charge")
    assert known["txn"] == paid.txn
    assert (await scenario.run(line)).items == []
    assert await violations(scenario) == []


async def test_the_seller_bears_it_from_pending(scenario: Scenario) -> None:
    await scenario.sql("UPDATE merchant SET psp_fee_payer = 'seller'")
    paid = await scenario.paid(fee=None)
    await scenario.run(paid.line())
    (disc,) = await scenario.open_ones()
    await fix(scenario, disc)
    found = await balances(scenario)
    assert (found["wallet:anna:pending"], found.get("psp_fees", 0)) == (-(AMOUNT - FEE), 0)
    assert (await order_of(scenario, paid.payment_id))["pending_amount"] == AMOUNT - FEE
    assert await violations(scenario) == []


@pytest.mark.parametrize("left", [AMOUNT, FEE // 2, 0])
async def test_the_seller_bears_it_from_what_is_available(scenario: Scenario, left: int) -> None:
    """The order was released before its fee was known; of what has been refunded since, nothing can be taken."""
    await scenario.sql("UPDATE merchant SET psp_fee_payer = 'seller'")
    paid = await scenario.paid(fee=None)
    await scenario.database.run(lambda c: release.release(c, ReleaseFundsStep(due_at=MUCH_LATER, at=MUCH_LATER)))
    lines = [paid.line()]
    if left < AMOUNT:
        await scenario.refund(paid, AMOUNT - left)
    await scenario.run(*lines)
    (disc,) = [d for d in await scenario.open_ones() if d["class"] == "fee"]
    await fix(scenario, disc)
    found = await balances(scenario)
    assert found.get("psp_fees", 0) == FEE - min(FEE, left)
    assert found.get("wallet:anna:available", 0) == -(left - min(FEE, left))
    assert await violations(scenario) == []


async def test_a_payout_to_our_bank_and_back(scenario: Scenario) -> None:
    there = other("txn_1", kind=PspLineKind.PAYOUT, amount=-90_000, source_reference="po_1")
    back = other("txn_2", kind=PspLineKind.PAYOUT_REVERSAL, amount=90_000, source_reference="po_1")
    await scenario.run(there)
    (disc,) = await scenario.open_ones()
    for _ in range(2):
        await fix(scenario, disc)
    assert await balances(scenario) == {"bank": 90_000, "psp_clearing:stripe": -90_000}
    found = await scenario.run(there, back)
    assert found.classes == ["matched", "missing_here"]
    (disc,) = await scenario.open_ones()
    await fix(scenario, disc)
    assert await balances(scenario) == {}
    assert (await scenario.run(there, back)).counts == {"matched": 2}


async def test_a_person_applies_it(scenario: Scenario) -> None:
    await scenario.run(other("txn_1", kind=PspLineKind.FEE, amount=-300))
    (disc,) = await scenario.open_ones()
    row = await apply(scenario, disc, "ok")
    assert (row["status"], row["resolution"], row["resolved_by"], row["note"]) == ("FIXED", "book_fee", "kim", "ok")
    (entry,) = await scenario.sql("SELECT actor, action FROM audit_log")
    assert tuple(entry) == ("kim", "discrepancy.resolve")
    with pytest.raises(Conflict):
        await apply(scenario, disc)


async def test_a_fix_that_does_not_fit_any_more(scenario: Scenario) -> None:
    """The dashboard's refund is of a payment that was undone meanwhile."""
    paid = await scenario.paid()
    line = other("txn_re", kind=PspLineKind.REFUND, source_reference="re_1", charge_reference=paid.intent)
    await scenario.run(paid.line(), line)
    (disc,) = await scenario.open_ones()
    await scenario.sql("UPDATE payment_order SET captured_amount = 0, pending_amount = 0")
    with pytest.raises(Conflict) as refused:
        await apply(scenario, disc)
    assert refused.value.code == "fix_refused"
    assert len(await scenario.open_ones()) == 1
