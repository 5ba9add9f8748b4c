"""What people book is in the ledger: it is never booked a second time, and what comes right without it shows."""

from datetime import timedelta

import pytest

from db.audit.audit import audit_database
from db.core.database import Connection
from db.payment import payment
from db.refund import booking
from db.refund import find as refunds
from domain import ledger as books
from domain.errors import Unprocessable
from domain.ledger import Kind, Transaction
from domain.psp import ChargeOutcome, ChargeResult, PspFee, RefundOutcome
from domain.reconciliation.discrepancy import Discrepancy, allowed_decisions
from domain.reconciliation.reconciliation import Decision, LineClass
from tests.reconciliation.scenario import AMOUNT, DAY, FEE, LATER, NOON, Scenario, hours
from tests.reconciliation.test_reconciliation_bank import booked, entry, statement
from tests.reconciliation.test_reconciliation_classes import other, refund_line
from tests.reconciliation.test_reconciliation_evidence import day
from tests.reconciliation.test_reconciliation_repeat import resolve

NET = AMOUNT - FEE


async def only_one(scenario: Scenario) -> dict[str, object]:
    (disc,) = await scenario.open_ones()
    return disc


# --- when nobody may correct ---


async def test_what_a_workflow_books_cannot_be_adjusted(scenario: Scenario) -> None:
    made = await scenario.attempted()
    await scenario.run(made.line())
    disc = await only_one(scenario)
    assert allowed_decisions(Discrepancy.model_validate(disc)) == [Decision.APPLY_FIX, Decision.ACCEPT]
    with pytest.raises(Unprocessable, match="booked by advance_payment: apply that fix"):
        await resolve(scenario, str(disc["id"]), Decision.ADJUST)
    assert await scenario.clearing() == {}


async def test_a_refund_of_another_amount_that_a_person_accepted(scenario: Scenario) -> None:
    """The PSP's refund carries our reference, and is booked under the record that names it."""
    paid = await scenario.paid()
    asked = await scenario.refund(paid, 1_234)
    await scenario.book_refund(asked, "re_x", 1_233, RefundOutcome.SUCCEEDED)
    line = refund_line(paid, asked, "re_x", 1_233)
    await scenario.run(paid.line(), line)
    before = await only_one(scenario)
    made = await accepted(scenario, asked)
    await scenario.book_refund(made, "re_x", 1_233, RefundOutcome.SUCCEEDED)

    # A break that was found before it was accepted, and that a rule no longer mends.
    await scenario.sql("UPDATE discrepancy SET fix = NULL, differences = '{\"INR\": -1233}', class = 'missing_here'")
    with pytest.raises(Unprocessable, match=f"is the refund {made} here"):
        await resolve(scenario, str(before["id"]), Decision.ADJUST)

    clearing = await scenario.clearing()
    found = await scenario.run(paid.line(), line)
    assert (found.counts, found.matched.closed) == ({"matched": 2}, 1)
    assert (found.one(LineClass.MATCHED)["object_id"], await scenario.open_ones()) == (made, [])
    assert await scenario.clearing() == clearing == {"INR": NET - 1_233}
    assert await r9(scenario) == []


async def accepted(scenario: Scenario, refund_id: str) -> str:
    """A person lets the other amount stand; the id of the record that it is booked under."""

    async def accept(connection: Connection) -> None:
        row = await refunds.get(connection, refund_id)
        await booking.accept(connection, await payment.lock(connection, row.payment_id), row, NOON)

    await scenario.database.run(accept)
    (row,) = await scenario.sql("SELECT id FROM refund WHERE origin = 'psp'")
    return str(row["id"])


async def r9(scenario: Scenario) -> list[str]:
    return [f.problem for f in await audit_database(scenario.database) if f.code == "R9"]


async def test_the_audit_compares_the_clearing_account_with_what_was_listed(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line())
    assert await r9(scenario) == []
    twice = books.psp_fee("stripe", FEE, "INR")
    await scenario.book(
        Transaction(kind=Kind.PSP_FEE, source_id="stripe:twice", payment_id=paid.payment_id, postings=twice)
    )
    assert await r9(scenario) == [f"the PSP lists {NET} INR of it, and {NET - FEE} is booked"]


@pytest.mark.parametrize("decision", [Decision.ADJUST, Decision.TO_SUSPENSE])
async def test_what_a_workflow_was_asked_for_cannot_be_adjusted(scenario: Scenario, decision: Decision) -> None:
    await scenario.run(other(amount=5000))
    await scenario.sql("UPDATE discrepancy SET fix_asked_at = now(), fix_note = 'asked'")
    with pytest.raises(Unprocessable, match="may still book it"):
        await resolve(scenario, str((await only_one(scenario))["id"]), decision)


async def test_what_a_workflow_booked_otherwise_can_be_adjusted(scenario: Scenario) -> None:
    made = await scenario.attempted()
    short = made.line(amount=AMOUNT - 1000)
    await scenario.run(short)
    await scenario.sql("UPDATE discrepancy SET fix_asked_at = now(), fix_note = 'asked'")
    await scenario.settle(made, NOON)
    await scenario.run(short)
    await resolve(scenario, str((await only_one(scenario))["id"]), Decision.ADJUST)
    assert await scenario.clearing() == {"INR": NET - 1000}


# --- corrected, and then it comes right ---


@pytest.mark.parametrize("named", [True, False])
async def test_missing_corrected_and_listed_later(scenario: Scenario, named: bool) -> None:
    """Plainly matched or not, the correction is over, and says so until it is taken back."""
    paid = await scenario.paid()
    await scenario.run()
    await resolve(scenario, str((await only_one(scenario))["id"]), Decision.ADJUST)
    assert await scenario.clearing() == {}
    line = paid.line() if named else paid.line(our_reference=None)
    for _ in range(2):
        item = (await scenario.run(line)).one(LineClass.AMOUNT)
        assert "a correction of -490.00 INR was booked on top" in item["reason"]
    disc = await only_one(scenario)
    assert (disc["difference"], disc["object_id"]) == (NET, paid.charge_id)
    await resolve(scenario, str(disc["id"]), Decision.ADJUST)
    assert await scenario.clearing() == {"INR": NET}
    assert (await scenario.run(line)).counts == {"matched": 1}
    assert await scenario.open_ones() == []


async def test_nobodys_line_corrected_and_booked_later(scenario: Scenario) -> None:
    """It was a charge whose name we did not know."""
    made = await scenario.attempted(known=False)
    line = made.line(our_reference=None)
    (await scenario.run(line)).one(LineClass.MISSING_HERE)
    await resolve(scenario, str((await only_one(scenario))["id"]), Decision.TO_SUSPENSE)
    await scenario.settle(made, NOON + timedelta(days=2))
    (await scenario.run(window=day(2))).one(LineClass.AMOUNT)
    disc = await only_one(scenario)
    assert (disc["difference"], disc["payment_id"]) == (-NET, made.payment_id)
    await resolve(scenario, str(disc["id"]), Decision.ADJUST)
    assert await scenario.clearing() == {"INR": NET}


async def test_a_fee_corrected_and_booked_later(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line(fee=FEE + 200))
    await resolve(scenario, str((await only_one(scenario))["id"]), Decision.ADJUST)
    found = await scenario.run(paid.line())
    assert "a correction of -2.00 INR" in found.one(LineClass.FEE)["reason"]
    assert (await only_one(scenario))["difference"] == 200


async def test_only_what_a_correction_leaves_is_a_difference(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line(amount=AMOUNT - 1000))
    await resolve(scenario, str((await only_one(scenario))["id"]), Decision.ADJUST)
    await scenario.run(paid.line(amount=AMOUNT - 2000))
    disc = await only_one(scenario)
    assert disc["difference"] == -1000
    await resolve(scenario, str(disc["id"]), Decision.ADJUST)
    assert await scenario.clearing() == {"INR": NET - 2000}
    assert (await scenario.run(paid.line(amount=AMOUNT - 2000))).matched.opened == 0


async def test_a_correction_that_fits_closes_what_it_corrects_elsewhere(scenario: Scenario) -> None:
    """Corrected as nobody's line; then it is known whose it is, and it is still not booked."""
    made = await scenario.attempted(known=False)
    line = made.line(our_reference=None)
    await scenario.run(line)
    await resolve(scenario, str((await only_one(scenario))["id"]), Decision.TO_SUSPENSE)
    await scenario.sql("UPDATE charge SET reference = $2 WHERE id = $1", made.charge_id, made.intent)
    found = await scenario.run(line)
    assert (found.classes, found.matched.opened) == (["status"], 0)
    assert found.items[0]["discrepancy_id"] is not None
    assert await scenario.open_ones() == []


async def test_two_corrections_that_cancel(scenario: Scenario) -> None:
    """The charge that has no line, and the line that has no charge: they were one."""
    paid = await scenario.paid()
    await scenario.sql("UPDATE charge SET reference = NULL WHERE id = $1", paid.charge_id)
    line = paid.line(our_reference=None, occurred_at=NOON - hours(2))
    await scenario.run(line)
    for disc in await scenario.open_ones():
        await resolve(scenario, disc["id"], Decision.ADJUST)
    assert await scenario.clearing() == {"INR": NET}
    await scenario.sql("UPDATE charge SET reference = $2 WHERE id = $1", paid.charge_id, paid.intent)
    assert (await scenario.run(line)).classes == ["matched"]
    assert await scenario.open_ones() == []


async def test_a_bank_correction(scenario: Scenario) -> None:
    await booked(scenario)
    await statement(scenario, at=LATER + timedelta(days=10))
    (disc,) = await scenario.open_ones()
    await resolve(scenario, disc["id"], Decision.ADJUST)
    found = await statement(scenario, entry("bank-1", "po_1"), at=LATER + timedelta(days=11))
    assert found.one(LineClass.AMOUNT)["object_id"] == "po_1"
    assert [d["difference"] for d in await scenario.open_ones()] == [90_000]


# --- a part that was taken back, and its first line in a window of its own ---


async def test_an_older_window_does_not_close_it(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line())
    back = paid.line(reference="txn_back", amount=-AMOUNT, fee=0, occurred_at=NOON + timedelta(days=1))
    await scenario.run(back, window=day(1))
    found = await scenario.run(paid.line())
    assert (found.classes, found.matched.closed) == (["amount"], 0)
    assert (await only_one(scenario))["difference"] == -AMOUNT


# --- several currencies ---


async def test_a_currency_and_a_fee_of_the_other_one(scenario: Scenario) -> None:
    made = await scenario.attempted()
    told = PspFee(reference=made.txn, amount=30, currency="USD", available_on=NOON)
    result = ChargeResult(
        outcome=ChargeOutcome.SUCCEEDED, reference=made.intent, amount=AMOUNT, currency="INR", fee=told
    )
    await scenario.settle_with(made, result)
    line = made.line(amount=600, fee=30, currency="USD")
    await scenario.run(line)
    disc = await only_one(scenario)
    assert disc["differences"] == {"INR": -AMOUNT, "USD": 600}
    await resolve(scenario, str(disc["id"]), Decision.ADJUST)
    assert await scenario.clearing() == {"USD": 570}
    assert (await scenario.run(line)).matched.opened == 0


async def test_a_fee_of_another_currency(scenario: Scenario) -> None:
    made = await scenario.attempted()
    told = PspFee(reference=made.txn, amount=30, currency="USD", available_on=NOON)
    result = ChargeResult(
        outcome=ChargeOutcome.SUCCEEDED, reference=made.intent, amount=AMOUNT, currency="INR", fee=told
    )
    await scenario.settle_with(made, result)
    (await scenario.run(made.line())).one(LineClass.FEE)
    await resolve(scenario, str((await only_one(scenario))["id"]), Decision.ADJUST)
    assert await scenario.clearing() == {"INR": NET}


async def test_two_tenants_on_one_account(scenario: Scenario) -> None:
    """A correction of one is not the other's."""
    await scenario.seller("rival")
    mine, theirs = await scenario.paid(), await scenario.paid(tenant="rival")
    await scenario.run(window=(DAY, DAY + timedelta(days=1)))
    (hers,) = await scenario.open_ones(tenant="rival")
    await resolve(scenario, hers["id"], Decision.ADJUST)
    found = await scenario.run(mine.line(), theirs.line())
    assert found.one(LineClass.AMOUNT)["tenant_id"] == "rival"
