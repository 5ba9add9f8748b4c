"""What earlier runs saw: lines of other days, under whatever name they carry, and what a report cannot list."""

from datetime import datetime, timedelta
from typing import cast

import pytest

from db.reconciliation import fix as fixing
from db.reconciliation import match as matching
from domain import ledger as books
from domain.ledger import Kind, Transaction
from domain.psp import RefundOutcome
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.lines import PspLine, PspLineKind
from domain.reconciliation.pair import Terms
from domain.reconciliation.reconciliation import Fix, LineClass, Source
from runtime.workflow_client import WorkflowClient
from services.discrepancy import apply_fix
from tests.reconciliation.scenario import AMOUNT, DAY, FEE, LATER, NOON, Paid, Scenario, hours, know_refund
from tests.reconciliation.test_reconciliation_classes import other, refund_line

Window = tuple[datetime, datetime]


def day(number: int) -> Window:
    """The window of so many days after DAY."""
    return DAY + timedelta(days=number), DAY + timedelta(days=number + 1)


def nameless(paid: Paid, **changes: object) -> PspLine:
    """As a report without metadata has it: the PSP's names alone."""
    return paid.line(our_reference=None, **changes)


# --- booked by reconciliation itself, after the line's window ---


async def test_a_payout_to_our_bank_that_is_booked_after_midnight(scenario: Scenario) -> None:
    line = other("txn_po", kind=PspLineKind.PAYOUT, amount=-90_000, source_reference="po_1", occurred_at=DAY - hours(3))
    await scenario.run(line, window=(DAY - hours(6), DAY), at=DAY)
    (disc,) = await scenario.open_ones()
    await apply_fix(
        scenario.database, cast(WorkflowClient, None), Discrepancy.model_validate(disc), DAY + timedelta(seconds=10)
    )
    found = await scenario.run(window=day(0), at=DAY + hours(27))
    assert (found.classes, found.counts) == (["matched"], {"matched": 1})
    assert (await scenario.run(window=day(2), at=LATER)).items == []
    assert await scenario.open_ones() == []


async def test_a_dashboard_refund_that_is_booked_in_the_next_window(scenario: Scenario) -> None:
    paid = await scenario.paid(at=DAY + hours(2))
    line = refund_line(paid, None, "re_hand", 7_000, occurred_at=DAY + hours(10))
    await scenario.run(paid.line(occurred_at=DAY + hours(2)), line, window=(DAY, DAY + hours(12)), at=DAY + hours(12))
    (disc,) = await scenario.open_ones()
    made = await know_refund(scenario, disc)
    await scenario.book_refund(made, "re_hand", 7_000, RefundOutcome.SUCCEEDED, DAY + hours(12.1))
    found = await scenario.run(window=(DAY + hours(12), DAY + hours(18)), at=DAY + hours(18))
    assert (found.classes, found.matched.closed) == (["matched"], 1)
    assert (await scenario.run(window=day(2), at=LATER)).items == []
    assert await scenario.open_ones() == []


async def test_a_dispute_that_is_booked_the_next_day(scenario: Scenario) -> None:
    paid = await scenario.paid(at=DAY + hours(2))
    line = PspLine(
        reference="txn_dp",
        kind=PspLineKind.DISPUTE,
        amount=-AMOUNT,
        fee=1500,
        currency="INR",
        occurred_at=DAY + hours(20),
        source_reference="dp_psp",
        charge_reference=paid.intent,
    )
    found = await scenario.run(paid.line(occurred_at=DAY + hours(2)), line, at=DAY + hours(24))
    (disc,) = await scenario.open_ones()
    at = DAY + hours(24.1)
    await book_dispute(scenario, paid, at)
    closed = await scenario.database.run_long(
        lambda c: matching.look_again(c, found.run_id, [disc["id"]], Terms(at)), timeout_s=60
    )
    assert closed == 1
    assert (await scenario.run(window=day(1), at=DAY + hours(51))).counts == {"matched": 1}
    assert (await scenario.run(window=day(3), at=LATER)).items == []
    assert await scenario.open_ones() == []


async def book_dispute(scenario: Scenario, paid: Paid, at: datetime) -> None:
    for kind, postings in (
        (Kind.DISPUTE_WITHDRAWN, books.dispute_withdrawn("stripe", AMOUNT, "INR")),
        (Kind.DISPUTE_FEE, books.psp_fee("stripe", 1500, "INR")),
    ):
        await scenario.book(
            Transaction(kind=kind, source_id="stripe:txn_dp", payment_id=paid.payment_id, postings=postings), at
        )


# --- lines that carry only the PSP's names ---


async def test_a_second_line_days_later_by_the_psps_name(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(nameless(paid), source=Source.FILE)
    again = nameless(paid, reference="txn_again", fee=0, occurred_at=NOON + timedelta(days=1))
    item = (await scenario.run(again, source=Source.FILE, window=day(1))).one(LineClass.DUPLICATE)
    assert item["line_reference"] == "txn_again"


@pytest.mark.parametrize("named", [True, False])
async def test_a_charge_that_failed_after_days(scenario: Scenario, named: bool) -> None:
    """What was taken back, less what was booked: not twice that. By either name of an earlier line."""
    paid = await scenario.paid()
    await scenario.run(paid.line() if named else nameless(paid))
    back = nameless(paid, reference="txn_back", amount=-AMOUNT, fee=0, occurred_at=NOON + timedelta(days=2))
    item = (await scenario.run(back, source=Source.FILE, window=day(2))).one(LineClass.AMOUNT)
    assert item["there_amount"] == 0
    (disc,) = await scenario.open_ones()
    assert (disc["difference"], disc["object_id"]) == (-AMOUNT, paid.charge_id)


async def test_a_charge_that_failed_whose_line_nobody_saw(scenario: Scenario) -> None:
    """And when its line is seen after all, the sum is the same."""
    paid = await scenario.paid()
    back = nameless(paid, reference="txn_back", amount=-AMOUNT, fee=0, occurred_at=NOON + timedelta(days=2))
    (await scenario.run(back, window=day(2))).one(LineClass.AMOUNT)
    (disc,) = await scenario.open_ones()
    assert (disc["difference"], disc["line_reference"]) == (-AMOUNT, "txn_back")
    for _ in range(2):
        assert (await scenario.run(paid.line())).one(LineClass.AMOUNT)["there_amount"] == 0
    assert [(d["difference"], d["status"]) for d in await scenario.open_ones(None)] == [
        (-AMOUNT, "OPEN"),
        (-AMOUNT, "FIXED"),
    ]


async def test_a_second_line_of_what_is_booked_late(scenario: Scenario) -> None:
    """The second line alone is in the window in which it is booked, and equal to it."""
    made = await scenario.attempted()
    await scenario.run(made.line())
    await scenario.settle(made, NOON + timedelta(days=1), fee=None)
    again = made.line(reference="txn_again", fee=0, occurred_at=NOON + timedelta(days=1))
    found = await scenario.run(again, window=day(1))
    assert "duplicate" in found.classes


# --- evidence has to be whole ---


async def test_lines_of_a_file_that_failed_are_no_evidence(scenario: Scenario) -> None:
    paid = await scenario.paid()
    (await scenario.run()).one(LineClass.MISSING_AT_PSP)
    await scenario.half_read(paid.line())
    (await scenario.run(window=day(2))).one(LineClass.MISSING_AT_PSP)
    assert len(await scenario.open_ones()) == 1


# --- what a report cannot list ---


async def test_a_file_has_no_payouts_to_our_bank(scenario: Scenario) -> None:
    await scenario.post(Kind.BANK_PAYOUT, "stripe:po_1", books.bank_payout("stripe", 90_000, "INR"))
    paid = await scenario.paid()
    assert (await scenario.run(paid.line(), source=Source.FILE)).items == []
    assert (await scenario.run(paid.line())).classes == ["missing_at_psp"]


async def test_a_file_of_one_currency(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.post(Kind.PSP_FEE, "stripe:txn_fee", books.psp_fee("stripe", 100, "USD"))
    await scenario.post(Kind.DISPUTE_WITHDRAWN, "stripe:txn_dp", books.dispute_withdrawn("stripe", 500, "USD"))
    assert (await scenario.run(paid.line(), source=Source.FILE)).items == []
    assert (await scenario.run(paid.line())).classes == ["fee", "missing_at_psp"]
    second = await scenario.paid()
    lacking = await scenario.run(paid.line(), source=Source.FILE)
    assert {item["object_id"] for item in lacking.items if item["kind"] == "charge"} == {second.charge_id}


# --- refunds under way, and those that fail ---


async def test_a_refund_that_is_pending_is_expected(scenario: Scenario) -> None:
    paid = await scenario.paid()
    one = await scenario.refund(paid, 10_000)
    await scenario.book_refund(one, "re_1", 10_000, RefundOutcome.PENDING)
    line = refund_line(paid, one, "re_1", 10_000)
    item = (await scenario.run(paid.line(), line)).one(LineClass.TIMING)
    assert (item["due_at"], item["record_status"]) == (NOON + timedelta(days=14), "PENDING")
    assert (await scenario.open_ones())[0]["fix"] is None
    late = await scenario.run(window=day(14), at=NOON + timedelta(days=14))
    assert late.one(LineClass.STATUS)["object_id"] == one
    (disc,) = await scenario.open_ones()
    assert (disc["fix"], disc["due_at"]) == (Fix.ADVANCE_REFUND, NOON + timedelta(days=14))


async def test_a_pending_refund_that_had_no_answer_before(scenario: Scenario) -> None:
    """Its deadline is that of a pending refund now, not the hour that it had."""
    paid = await scenario.paid()
    one = await scenario.refund(paid, 10_000)
    line = refund_line(paid, one, "re_1", 10_000)
    await scenario.run(paid.line(), line, at=NOON + hours(2))
    await scenario.book_refund(one, "re_1", 10_000, RefundOutcome.PENDING)
    await scenario.run(paid.line(), line, at=NOON + hours(6))
    (disc,) = await scenario.open_ones()
    assert (disc["class"], disc["due_at"]) == ("timing", NOON + timedelta(days=14))


async def test_a_refund_that_failed(scenario: Scenario) -> None:
    """The money left when it began and came back when it failed; nothing of that is booked."""
    paid = await scenario.paid()
    one = await scenario.refund(paid, 10_000)
    await scenario.book_refund(one, "re_1", 10_000, RefundOutcome.PENDING)
    line = refund_line(paid, one, "re_1", 10_000)
    await scenario.run(paid.line(), line)
    await scenario.book_refund(one, "re_1", 10_000, RefundOutcome.FAILED, NOON + timedelta(days=2))
    back = refund_line(
        paid, one, "re_1", -10_000, kind=PspLineKind.REFUND_FAILURE, occurred_at=NOON + timedelta(days=2)
    )
    found = await scenario.run(back, window=day(2))
    assert (found.items, found.matched.closed) == ([], 1)
    assert (await scenario.run(paid.line(), line)).items == [], "of its first day, the same"
    assert await scenario.open_ones() == []


async def test_a_refund_that_failed_here_and_not_there(scenario: Scenario) -> None:
    paid = await scenario.paid()
    one = await scenario.refund(paid, 10_000)
    await scenario.book_refund(one, "re_1", 10_000, RefundOutcome.PENDING)
    await scenario.book_refund(one, "re_1", 10_000, RefundOutcome.FAILED)
    await scenario.sql("UPDATE refund SET updated_at = $1", NOON)
    line = refund_line(paid, one, "re_1", 10_000)
    item = (await scenario.run(paid.line(), line, at=NOON + hours(47))).one(LineClass.TIMING)
    assert item["due_at"] == NOON + hours(48)
    (await scenario.run(paid.line(), line)).one(LineClass.STATUS)


async def test_a_refund_that_came_back_and_is_pending_here(scenario: Scenario) -> None:
    paid = await scenario.paid()
    one = await scenario.refund(paid, 10_000)
    await scenario.book_refund(one, "re_1", 10_000, RefundOutcome.PENDING)
    line = refund_line(paid, one, "re_1", 10_000)
    back = refund_line(paid, one, "re_1", -10_000, kind=PspLineKind.REFUND_FAILURE)
    assert (await scenario.run(paid.line(), line, back)).classes == ["status", "status"]
    assert {d["fix"] for d in await scenario.open_ones()} == {Fix.ADVANCE_REFUND}


# --- charges that come to nothing, and the fees of parts ---


async def test_a_bank_debit_that_failed(scenario: Scenario) -> None:
    made = await scenario.attempted()
    await scenario.run(made.line(fee=0))
    assert len(await scenario.open_ones()) == 1
    await scenario.sql("UPDATE payment_order SET status = 'FAILED' WHERE id = $1", made.order_id)
    await scenario.sql("UPDATE payment SET status = 'FAILED' WHERE id = $1", made.payment_id)
    back = made.line(reference="txn_back", amount=-AMOUNT, fee=0, occurred_at=NOON + timedelta(days=3))
    found = await scenario.run(back, window=day(3))
    assert (found.items, found.matched.closed) == ([], 1)
    assert await scenario.open_ones() == []


@pytest.mark.parametrize("fee", [400, -400])
async def test_the_fee_of_a_part(scenario: Scenario, fee: int) -> None:
    """Kept for a payment that failed, or given back with what was not captured."""
    paid = await scenario.paid()
    whole = paid.line(amount=AMOUNT + 3_000)
    back = paid.line(reference="txn_back", amount=-3_000, fee=fee)
    item = (await scenario.run(whole, back)).one(LineClass.FEE)
    assert (item["line_reference"], item["line_no"]) == ("txn_back", 2)
    (disc,) = await scenario.open_ones()
    assert (disc["difference"], disc["fix"]) == (-fee, Fix.BOOK_FEE)
    await apply_fix(scenario.database, cast(WorkflowClient, None), Discrepancy.model_validate(disc), LATER)
    assert (await scenario.run(whole, back)).counts == {"matched": 2}
    (known,) = await scenario.sql("SELECT fee ->> 'reference' AS txn FROM charge")
    assert known["txn"] == paid.txn


# --- open ones are judged in every run ---


async def test_an_unlisted_fee_becomes_missing(scenario: Scenario) -> None:
    await scenario.post(Kind.PSP_FEE, "stripe:txn_f", books.psp_fee("stripe", 2500, "INR"))
    (await scenario.run(at=NOON + hours(3))).one(LineClass.TIMING)
    (await scenario.run(window=day(3))).one(LineClass.FEE)
    (disc,) = await scenario.open_ones()
    assert (disc["class"], disc["due_at"]) == ("fee", NOON + hours(48))
    found = await scenario.run(other("txn_f", kind=PspLineKind.FEE, amount=-2500))
    assert (found.items, found.matched.closed) == ([], 1)


async def test_another_posting_without_a_line_becomes_missing(scenario: Scenario) -> None:
    await scenario.post(Kind.SUSPENSE, "by_hand", books.psp_fee("stripe", 700, "INR"))
    (await scenario.run(at=NOON + hours(3))).one(LineClass.TIMING)
    (await scenario.run(window=day(3))).one(LineClass.MISSING_AT_PSP)
    assert len(await scenario.open_ones()) == 1


# --- a guess ---


async def test_a_fee_is_not_booked_on_a_guess(scenario: Scenario) -> None:
    paid = await scenario.paid(fee=None)
    bare = {"charge_reference": None, "source_reference": None, "reference": "txn_stranger"}
    item = (await scenario.run(nameless(paid, **bare))).one(LineClass.FEE)
    assert item["how"] == "guess"
    (disc,) = await scenario.open_ones()
    assert (disc["fix"], disc["difference"]) == (None, -FEE)


# --- our record alone ---


async def test_what_our_record_alone_says_is_asked_for(scenario: Scenario) -> None:
    made = await scenario.attempted()
    await scenario.sql(
        "UPDATE charge SET outcome = 'SUCCEEDED', received_amount = 50000, received_currency = 'INR',"
        " last_answer_at = $2 WHERE id = $1",
        made.charge_id,
        NOON,
    )
    (await scenario.run()).one(LineClass.STATUS)
    (disc,) = await scenario.open_ones()
    assert disc["fix"] == Fix.ADVANCE_PAYMENT
    _, reference = await scenario.database.run(lambda c: fixing.name_charge(c, Discrepancy.model_validate(disc)))
    assert reference == made.intent
