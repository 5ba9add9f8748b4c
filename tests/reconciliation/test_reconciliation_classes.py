"""Each class, each key and each edge in time, on books that the application wrote."""

from datetime import timedelta

import pytest

from db.reconciliation import run as runs
from domain import ledger as books
from domain.ledger import Kind
from domain.psp import RefundOutcome
from domain.reconciliation.lines import PspLine, PspLineKind
from domain.reconciliation.reconciliation import Fix, LineClass, Source
from tests.reconciliation.scenario import AMOUNT, DAY, FEE, LATER, NOON, Scenario, hours


def other(reference: str = "txn_other", **changes: object) -> PspLine:
    """A line that nothing here belongs to."""
    fields = {"kind": PspLineKind.OTHER, "amount": -700, "fee": 0, "currency": "INR", "occurred_at": NOON}
    return PspLine(**{"reference": reference} | fields | changes)


# --- the keys ---


async def test_plainly_matched_lines_make_no_items(scenario: Scenario) -> None:
    paid = [await scenario.paid() for _ in range(3)]
    found = await scenario.run(*(p.line() for p in paid))
    assert (found.items, found.counts) == ([], {"matched": 3})
    assert await scenario.open_ones(None) == []


async def test_by_the_psps_name(scenario: Scenario) -> None:
    paid = await scenario.paid()
    item = (await scenario.run(paid.line(our_reference=None))).one(LineClass.MATCHED)
    assert (item["how"], item["object_id"], item["discrepancy_id"]) == ("psp_id", paid.charge_id, None)
    assert await scenario.open_ones() == []


BARE: dict[str, object] = {"our_reference": None, "charge_reference": None, "source_reference": None}


async def test_by_the_balance_transaction_that_the_fee_came_with(scenario: Scenario) -> None:
    """Stripe's default columns name nothing else."""
    paid, _ = await scenario.paid(), await scenario.paid(at=NOON + hours(48))
    item = (await scenario.run(paid.line(**BARE, occurred_at=NOON + hours(2)))).one(LineClass.MATCHED)
    assert (item["how"], item["object_id"]) == ("psp_id", paid.charge_id)


async def test_by_a_guess_where_there_is_one_candidate(scenario: Scenario) -> None:
    paid = await scenario.paid(fee=None)
    line = paid.line(**BARE, fee=0, occurred_at=NOON + timedelta(minutes=50))
    item = (await scenario.run(line)).one(LineClass.MATCHED)
    assert (item["how"], item["object_id"]) == ("guess", paid.charge_id)
    assert item["reason"].startswith("A guess: ")


async def test_no_guess_between_two_candidates(scenario: Scenario) -> None:
    paid = [await scenario.paid(fee=None), await scenario.paid(fee=None)]
    found = await scenario.run(paid[0].line(**BARE))
    assert found.classes == ["missing_at_psp", "missing_at_psp", "missing_here"]


async def test_as_many_lines_as_records_that_are_alike_are_paired_in_the_order_of_time(scenario: Scenario) -> None:
    """Which is a guess, and said; the same twice as many apart in time are others."""
    paid = [await scenario.paid(fee=None, at=NOON + hours(hour)) for hour in (0, 0.5, 5, 5.5)]
    lines = [one.line(**BARE, fee=0, occurred_at=NOON + hours(hour)) for one, hour in
             zip(paid, (0.2, 0.1, 5.2, 5.1), strict=True)]  # fmt: skip
    found = await scenario.run(*lines)
    assert found.counts == {"matched": 4}
    assert {(item["line_no"], item["object_id"]) for item in found.items} == {
        (2, paid[0].charge_id), (1, paid[1].charge_id), (4, paid[2].charge_id), (3, paid[3].charge_id),
    }  # fmt: skip
    assert found.items[0]["reason"].startswith("A guess: 2 lines and 2 records have this amount at this time, ")
    run = await scenario.database.read(lambda c: runs.get(c, found.run_id))
    assert run["notes"] == ["4 lines that no name tells apart were paired in the order of time, which is a guess."]
    other_day = await scenario.run(*lines[:2], lines[2])
    assert other_day.counts == {"matched": 2, "missing_at_psp": 2, "missing_here": 1}, "of one for two nothing is known"


async def test_no_guess_against_a_name(scenario: Scenario) -> None:
    """The line names another charge of the PSP than the one we know."""
    paid = await scenario.paid()
    found = await scenario.run(paid.line(our_reference=None, charge_reference="pi_other", source_reference="ch_other"))
    assert found.classes == ["missing_at_psp", "missing_here"]


async def test_no_guess_far_apart_in_time(scenario: Scenario) -> None:
    paid = await scenario.paid(fee=None)
    found = await scenario.run(paid.line(**BARE, occurred_at=NOON + hours(2)))
    assert found.classes == ["missing_at_psp", "missing_here"]


# --- the classes ---


async def test_amount(scenario: Scenario) -> None:
    paid = await scenario.paid()
    item = (await scenario.run(paid.line(amount=AMOUNT - 1000))).one(LineClass.AMOUNT)
    assert item["reason"] == f"The PSP lists 490.00 INR for our {paid.charge_id}, and we booked 500.00 INR."
    assert (item["there_amount"], item["ledger_amount"], item["record_amount"]) == (49_000, 50_000, 50_000)
    (disc,) = await scenario.open_ones()
    assert (disc["difference"], disc["currency"], disc["fix"]) == (-1000, "INR", None)
    assert (disc["tenant_id"], disc["payment_id"]) == ("shop", paid.payment_id)


async def test_currency(scenario: Scenario) -> None:
    paid = await scenario.paid()
    item = (await scenario.run(paid.line(currency="USD"))).one(LineClass.CURRENCY)
    assert (item["there_currency"], item["ledger_currency"]) == ("USD", "INR")


async def test_fee_of_another_amount(scenario: Scenario) -> None:
    paid = await scenario.paid()
    item = (await scenario.run(paid.line(fee=FEE + 200))).one(LineClass.FEE)
    assert (item["there_fee"], item["ledger_fee"]) == (FEE + 200, FEE)
    (disc,) = await scenario.open_ones()
    assert (disc["difference"], disc["fix"]) == (-200, None)


async def test_fee_that_is_not_booked(scenario: Scenario) -> None:
    paid = await scenario.paid(fee=None)
    item = (await scenario.run(paid.line())).one(LineClass.FEE)
    assert item["object_id"] == paid.charge_id
    (disc,) = await scenario.open_ones()
    assert (disc["difference"], disc["fix"]) == (-FEE, Fix.BOOK_FEE)


async def test_fee_that_belongs_to_nothing(scenario: Scenario) -> None:
    line = other(kind=PspLineKind.FEE, amount=-2500)
    (await scenario.run(line)).one(LineClass.FEE)
    (disc,) = await scenario.open_ones()
    assert (disc["tenant_id"], disc["difference"], disc["fix"]) == ("platform", -2500, Fix.BOOK_FEE)
    await scenario.post(Kind.PSP_FEE, "stripe:txn_other", books.psp_fee("stripe", 2500, "INR"))
    assert (await scenario.run(line)).counts == {"matched": 1}
    assert await scenario.open_ones() == []


async def test_a_fee_that_the_psp_does_not_list(scenario: Scenario) -> None:
    await scenario.post(Kind.PSP_FEE, "stripe:txn_unlisted", books.psp_fee("stripe", 2500, "INR"))
    (await scenario.run()).one(LineClass.FEE)


async def test_two_lines_for_one_charge(scenario: Scenario) -> None:
    paid = await scenario.paid()
    again = paid.line(reference="txn_again", occurred_at=NOON - hours(1), fee=0)
    item = (await scenario.run(again, paid.line())).one(LineClass.DUPLICATE)
    assert item["line_reference"] == "txn_again", "the other one is what our charge knows"
    assert paid.txn in item["reason"]


async def test_the_same_line_twice_in_a_file(scenario: Scenario) -> None:
    paid = await scenario.paid()
    found = await scenario.run(paid.line(), paid.line(), source=Source.FILE)
    item = found.one(LineClass.DUPLICATE)
    assert (item["line_no"], found.counts) == (2, {"matched": 1, "duplicate": 1})


async def test_the_same_line_twice_from_the_api_is_one(scenario: Scenario) -> None:
    paid = await scenario.paid()
    assert (await scenario.run(paid.line(), paid.line())).counts == {"matched": 1}


async def test_a_second_line_days_later(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line())
    tomorrow = (DAY + timedelta(days=1), DAY + timedelta(days=2))
    again = paid.line(reference="txn_again", occurred_at=NOON + timedelta(days=1), fee=0)
    (await scenario.run(again, window=tomorrow)).one(LineClass.DUPLICATE)


async def test_what_a_charge_takes_back_is_a_part_of_it(scenario: Scenario) -> None:
    paid = await scenario.paid()
    whole = paid.line(amount=AMOUNT + 3000)
    back = paid.line(reference="txn_back", amount=-3000, fee=0)
    assert (await scenario.run(whole, back)).counts == {"matched": 1}
    failed = paid.line(reference="txn_failed", amount=-AMOUNT, fee=0, occurred_at=NOON + timedelta(days=1))
    found = await scenario.run(failed, window=(DAY + timedelta(days=1), DAY + timedelta(days=2)))
    assert found.one(LineClass.AMOUNT)["there_amount"] == 0


async def test_missing_at_the_psp(scenario: Scenario) -> None:
    paid = await scenario.paid()
    item = (await scenario.run()).one(LineClass.MISSING_AT_PSP)
    assert (item["object_id"], item["line_no"]) == (paid.charge_id, None)
    assert "the PSP does not list it" in item["reason"]
    (disc,) = await scenario.open_ones()
    assert disc["difference"] == -(AMOUNT - FEE), "the fee that was booked with it is not there either"


async def test_missing_here(scenario: Scenario) -> None:
    paid = await scenario.paid()
    stranger = paid.line(
        reference="txn_x", our_reference="ch_stranger", charge_reference="pi_x", source_reference="ch_x"
    )
    item = (await scenario.run(paid.line(), stranger)).one(LineClass.MISSING_HERE)
    assert "ch_stranger" in item["reason"]
    (disc,) = await scenario.open_ones()
    assert (disc["tenant_id"], disc["difference"]) == ("platform", AMOUNT - FEE)


@pytest.mark.parametrize("end", [None, "FAILED"])
async def test_status(scenario: Scenario, end: str | None) -> None:
    """The PSP has charged it, and ours is under way or ended unpaid."""
    made = await scenario.attempted()
    if end:
        await scenario.sql("UPDATE payment_order SET status = $2 WHERE id = $1", made.order_id, end)
        await scenario.sql("UPDATE payment SET status = $2 WHERE id = $1", made.payment_id, end)
    item = (await scenario.run(made.line())).one(LineClass.STATUS)
    assert (item["record_status"], item["object_id"]) == (end or "EXECUTING", made.charge_id)
    (disc,) = await scenario.open_ones()
    assert disc["fix"] == Fix.ADVANCE_PAYMENT


async def test_a_record_that_neither_side_has(scenario: Scenario) -> None:
    made = await scenario.attempted()
    await scenario.sql(
        "UPDATE charge SET outcome = 'SUCCEEDED', received_amount = 50000, received_currency = 'INR',"
        " last_answer_at = $2 WHERE id = $1",
        made.charge_id,
        NOON,
    )
    assert "neither booked nor listed" in (await scenario.run()).one(LineClass.STATUS)["reason"]


# --- refunds, disputes, payouts ---


def refund_line(paid: object, refund_id: str | None, reference: str, amount: int, **changes: object) -> PspLine:
    fields = {
        "reference": f"txn_{reference}_{amount > 0}",
        "kind": PspLineKind.REFUND,
        "amount": -amount,
        "fee": 0,
        "currency": "INR",
        "occurred_at": NOON,
        "source_reference": reference,
        "charge_reference": paid.intent,  # type: ignore[attr-defined]
        "our_reference": refund_id,
    }
    return PspLine(**fields | changes)


async def test_refunds(scenario: Scenario) -> None:
    paid = await scenario.paid()
    one = await scenario.refund(paid, 10_000, reference="re_1")
    two = await scenario.refund(paid, 5_000, reference="re_2")
    lines = [refund_line(paid, one, "re_1", 10_000), refund_line(paid, two, "re_2", 5_000)]
    assert (await scenario.run(paid.line(), *lines)).counts == {"matched": 3}
    found = await scenario.run(paid.line(), lines[0], lines[1].model_copy(update={"amount": -4_000}))
    assert found.one(LineClass.AMOUNT)["object_id"] == two


async def test_a_refund_that_came_back(scenario: Scenario) -> None:
    paid = await scenario.paid()
    one = await scenario.refund(paid, 10_000, reference="re_1")
    line = refund_line(paid, one, "re_1", 10_000)
    back = refund_line(paid, one, "re_1", -10_000, kind=PspLineKind.REFUND_FAILURE)
    item = (await scenario.run(paid.line(), line, back)).one(LineClass.STATUS)
    assert (item["kind"], item["record_status"]) == ("refund_failure", "SUCCEEDED")
    assert (await scenario.open_ones())[0]["fix"] == Fix.ADVANCE_REFUND
    await scenario.book_refund(one, "re_1", 10_000, RefundOutcome.FAILED, NOON + hours(1))
    found = await scenario.run(paid.line(), line, back)
    assert (found.counts, found.matched.closed) == ({"matched": 3}, 1)


async def test_a_refund_made_in_the_dashboard(scenario: Scenario) -> None:
    paid = await scenario.paid()
    line = refund_line(paid, None, "re_hand", 7_000)
    item = (await scenario.run(paid.line(), line)).one(LineClass.MISSING_HERE)
    assert (item["payment_id"], item["tenant_id"]) == (paid.payment_id, "shop")
    assert (await scenario.open_ones())[0]["fix"] == Fix.ADVANCE_REFUND


async def test_a_refund_that_has_no_answer(scenario: Scenario) -> None:
    paid = await scenario.paid()
    one = await scenario.refund(paid, 10_000)
    item = (await scenario.run(paid.line(), refund_line(paid, one, "re_1", 10_000))).one(LineClass.STATUS)
    assert (item["record_status"], item["object_id"]) == ("REQUESTED", one)


async def test_disputes(scenario: Scenario) -> None:
    paid = await scenario.paid()
    line = PspLine(
        reference="txn_dp",
        kind=PspLineKind.DISPUTE,
        amount=-AMOUNT,
        fee=1500,
        currency="INR",
        occurred_at=NOON,
        source_reference="dp_psp",
        charge_reference=paid.intent,
    )
    (await scenario.run(paid.line(), line)).one(LineClass.MISSING_HERE)
    assert (await scenario.open_ones())[0]["fix"] == Fix.ADVANCE_DISPUTE
    await scenario.post(Kind.DISPUTE_WITHDRAWN, "stripe:txn_dp", books.dispute_withdrawn("stripe", AMOUNT, "INR"))
    found = await scenario.run(paid.line(), line)
    assert found.one(LineClass.FEE)["line_reference"] == "txn_dp"
    await scenario.post(Kind.DISPUTE_FEE, "stripe:txn_dp", books.psp_fee("stripe", 1500, "INR"))
    found = await scenario.run(paid.line(), line)
    assert found.one(LineClass.MATCHED)["how"] == "psp_id"
    assert await scenario.open_ones() == []


async def test_payouts_to_our_bank_are_proposed(scenario: Scenario) -> None:
    line = other(kind=PspLineKind.PAYOUT, amount=-90_000, source_reference="po_1", occurred_at=LATER - hours(0.1))
    window = (DAY, LATER + hours(1))
    item = (await scenario.run(line, window=window)).one(LineClass.MISSING_HERE)
    assert item["reason"].endswith("to our bank, which is not booked.")
    assert (await scenario.open_ones())[0]["fix"] == Fix.BOOK_BANK_PAYOUT, "at once: nobody else does it"


async def test_a_posting_that_has_no_line(scenario: Scenario) -> None:
    await scenario.post(Kind.BANK_PAYOUT, "stripe:po_lost", books.bank_payout("stripe", 100, "INR"))
    assert (await scenario.run()).one(LineClass.MISSING_AT_PSP)["kind"] == "payout"


# --- time ---


async def test_expected_at_the_psp_until_its_grace_is_over(scenario: Scenario) -> None:
    paid = await scenario.paid()
    grace = timedelta(days=2)
    item = (await scenario.run(at=NOON + grace - hours(0.01))).one(LineClass.TIMING)
    assert item["due_at"] == NOON + grace
    (disc,) = await scenario.open_ones()
    item = (await scenario.run(at=NOON + grace)).one(LineClass.MISSING_AT_PSP)
    (same,) = await scenario.open_ones()
    assert (same["id"], same["class"], same["due_at"]) == (disc["id"], "missing_at_psp", NOON + grace)
    assert (same["first_run_id"], same["object_id"]) == (disc["first_run_id"], paid.charge_id)


async def test_expected_here_until_a_webhook_would_have_come(scenario: Scenario) -> None:
    made = await scenario.attempted()
    (await scenario.run(made.line(), at=NOON + hours(0.9))).one(LineClass.TIMING)
    assert (await scenario.open_ones())[0]["fix"] is None, "the webhook does it"
    (await scenario.run(made.line(), at=NOON + hours(1))).one(LineClass.STATUS)


async def test_a_run_of_another_time_makes_it_missing(scenario: Scenario) -> None:
    """Its window is over, and every run looks at what is open."""
    await scenario.paid()
    (await scenario.run(at=NOON + hours(2))).one(LineClass.TIMING)
    later = (DAY + timedelta(days=3), DAY + timedelta(days=4))
    (await scenario.run(window=later)).one(LineClass.MISSING_AT_PSP)


async def test_a_line_just_outside_the_window(scenario: Scenario) -> None:
    paid = await scenario.paid(at=DAY + timedelta(seconds=2))
    before = paid.line(occurred_at=DAY - timedelta(seconds=2))
    found = await scenario.run(before)
    assert (found.items, found.counts) == ([], {})
    yesterday = (DAY - timedelta(days=1), DAY)
    assert (await scenario.run(before, window=yesterday)).counts == {"matched": 1}


async def test_a_file_that_ends_at_midnight(scenario: Scenario) -> None:
    """Its last line is booked on the next day, and the next file has not got it."""
    paid = await scenario.paid(at=DAY + timedelta(seconds=2))
    yesterday = (DAY - timedelta(days=1), DAY)
    await scenario.run(
        paid.line(occurred_at=DAY - timedelta(seconds=2)), window=yesterday, source=Source.FILE, margin_s=0
    )
    assert (await scenario.run(source=Source.FILE, margin_s=0)).items == []


async def test_booked_days_after_its_line(scenario: Scenario) -> None:
    made = await scenario.attempted()
    (await scenario.run(made.line())).one(LineClass.STATUS)
    await scenario.settle(made, NOON + timedelta(days=3))
    found = await scenario.run(window=(DAY + timedelta(days=3), DAY + timedelta(days=4)))
    assert (found.items, found.matched.closed) == ([], 1)
    (disc,) = await scenario.open_ones(None)
    assert (disc["status"], disc["resolution"], disc["note"]) == ("FIXED", "matched", f"matched in {found.run_id}")
    assert disc["resolved_by"] == "reconciliation"
