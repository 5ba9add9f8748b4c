"""A bank statement against what the PSP paid to our bank."""

from datetime import UTC, datetime, timedelta

import pytest

from db.payout import trace
from db.reconciliation import report
from db.reconciliation import run as runs
from domain import ledger as books
from domain.calendar import working_days_after
from domain.ledger import Kind
from domain.reconciliation.lines import BankLine, PspLine, PspLineKind
from domain.reconciliation.reconciliation import LineClass, Source, Subject
from tests.reconciliation.scenario import DAY, LATER, NOON, Found, Scenario, hours

MONTH = (DAY - timedelta(days=5), DAY + timedelta(days=20))


def entry(reference: str = "bank-1", *names: str, amount: int = 90_000, at: datetime = NOON) -> BankLine:
    return BankLine(reference=reference, amount=amount, currency="INR", booked_at=at, references=names)


async def booked(scenario: Scenario, payout: str = "po_1", amount: int = 90_000, at: datetime = NOON) -> None:
    kind = Kind.BANK_PAYOUT if amount > 0 else Kind.BANK_PAYOUT_REVERSAL
    await scenario.post(kind, f"stripe:{payout}", books.bank_payout("stripe", amount, "INR"), at)


async def statement(scenario: Scenario, *lines: BankLine, at: datetime = LATER, **fields: object) -> Found:
    more = {"source": Source.FILE, "subject": Subject.BANK, "window": MONTH, "apply": True} | fields
    return await scenario.run(*lines, at=at, **more)


async def test_by_the_payouts_name(scenario: Scenario) -> None:
    await booked(scenario)
    item = (await statement(scenario, entry("bank-1", "X", "po_1"))).one(LineClass.MATCHED)
    assert (item["how"], item["object_id"], item["line_no"]) == ("psp_id", "po_1", 1)
    assert (await statement(scenario)).items == [], "confirmed once is confirmed"


async def test_by_a_guess(scenario: Scenario) -> None:
    await booked(scenario)
    item = (await statement(scenario, entry(at=NOON + timedelta(days=3)))).one(LineClass.MATCHED)
    assert item["how"] == "guess"


async def test_an_entry_that_was_matched_by_a_guess_stays_the_payouts(scenario: Scenario) -> None:
    """Also where an overlapping statement, or the same one, has it again; its names say that it is the PSP's."""
    await booked(scenario)
    line = entry("bank-1", "STRIPE")
    for again in range(3):
        item = (await statement(scenario, line)).one(LineClass.MATCHED)
        assert item["how"] == "guess"
        assert ("by an earlier run, by a guess from amount and day" in item["reason"]) is bool(again)
    found = await statement(scenario, entry("bank-0", "RENT", amount=-7), line, window=(DAY, DAY + timedelta(days=1)))
    assert found.classes == ["matched", "unrelated"]
    assert (await statement(scenario, entry("bank-2", "STRIPE"))).classes == ["missing_here"], "another entry is not"


async def test_a_dry_run_confirms_nothing(scenario: Scenario) -> None:
    await booked(scenario)
    assert (await statement(scenario, entry("bank-1", "STRIPE"), apply=False)).classes == ["matched"]
    assert (await statement(scenario, apply=False)).classes == ["timing"], "it is still looked for"
    assert (await statement(scenario, entry("bank-2", "po_1"))).classes == ["matched"], "and may be another entry"
    assert (await statement(scenario)).items == []


async def notes(scenario: Scenario, found: Found) -> list[str]:
    return list((await scenario.database.read(lambda c: runs.get(c, found.run_id)))["notes"] or ())


async def test_a_guess_between_two_that_are_alike_is_said(scenario: Scenario) -> None:
    await booked(scenario, "po_2")
    await booked(scenario, at=NOON - hours(24))
    found = await statement(scenario, entry("bank-1", "STRIPE"))
    assert found.counts == {"matched": 1, "timing": 1}
    (item,) = [item for item in found.items if item["class"] == "matched"]
    assert (item["how"], item["object_id"]) == ("guess", "po_1"), "the older one"
    assert item["reason"].startswith("A guess: 1 entry and 2 payouts have this amount at this time, ")
    assert await notes(scenario, found) == [
        "1 entry and 2 payouts of 900.00 INR are alike, and no name tells them apart. They were paired in the order of "
        "their days, which is a guess: bank-1 with po_1."
    ]
    # What is confirmed stays so, also where a name that comes later says that it was the other one.
    both = entry("bank-1", "STRIPE"), entry("bank-2", "po_1", at=NOON + hours(1))
    for _ in range(2):
        found = await statement(scenario, *both)
        assert found.counts == {"matched": 2}
        assert {(item["line_reference"], item["object_id"]) for item in found.items} == {
            ("bank-1", "po_1"), ("bank-2", "po_2"),
        }  # fmt: skip
    assert (await statement(scenario)).items == []


async def test_several_that_are_alike_are_paired_in_the_order_of_their_days(scenario: Scenario) -> None:
    for number in range(3):
        await booked(scenario, f"po_{number}", at=NOON + timedelta(days=number))
    lines = [entry(f"bank-{number}", "RENT" if number == 1 else "STRIPE", at=DAY + timedelta(days=number + 2))
             for number in (2, 1, 0, 3)]  # fmt: skip
    found = await statement(scenario, *lines)
    paired = {item["line_reference"]: item["object_id"] for item in found.items if item["class"] == "matched"}
    assert paired == {"bank-0": "po_0", "bank-2": "po_1", "bank-3": "po_2"}, "who names the PSP goes first"
    assert found.counts == {"matched": 3, "unrelated": 1}
    assert (await statement(scenario, *lines)).counts == {"matched": 3, "unrelated": 1}


async def test_by_amount_and_day_alone(scenario: Scenario) -> None:
    """An entry long before the payout is another one; a payout that comes back may be at the bank before."""
    await booked(scenario)
    early = entry("bank-1", "STRIPE", at=NOON - timedelta(days=3))
    assert (await statement(scenario, early)).classes == ["missing_here", "timing"]
    late = entry("bank-2", "STRIPE", at=NOON + timedelta(days=11))
    assert (await statement(scenario, early, late)).classes == ["missing_here", "missing_here", "timing"]
    await booked(scenario, amount=-90_000)
    back = entry("bank-3", "STRIPE", at=NOON - timedelta(days=3), amount=-90_000)
    found = await statement(scenario, back)
    (item,) = [item for item in found.items if item["class"] == "matched"]
    assert (item["line_reference"], item["kind"]) == ("bank-3", "payout_reversal")


async def test_an_entry_of_another_payout_is_not_guessed_to_be_this_ones(scenario: Scenario) -> None:
    await booked(scenario)
    assert (await statement(scenario, entry("bank-1", "po_unknown"))).classes == ["missing_here", "timing"]


async def test_a_payout_that_was_booked_days_after_it_was_made(scenario: Scenario) -> None:
    """The statement is of the days before the reconciliation; and the day is that of the zone."""
    made = DAY - timedelta(days=2)
    line = PspLine(
        reference="txn_1", kind=PspLineKind.PAYOUT, amount=-90_000, fee=0, currency="INR", occurred_at=made,
        source_reference="po_1",
    )  # fmt: skip
    await scenario.run(line, window=(made, DAY))
    await booked(scenario, at=LATER)
    found = await statement(scenario, entry("bank-1", "STRIPE", at=DAY), window=(DAY, DAY + timedelta(days=1)))
    assert found.one(LineClass.MATCHED)["object_id"] == "po_1"


async def traced(scenario: Scenario, payout: str, name: str) -> None:
    await scenario.database.run(lambda c: trace.keep(c, "stripe", [(payout, name)]))


async def test_by_the_banks_own_reference_of_the_payout(scenario: Scenario) -> None:
    """The PSP tells it days later, and a bank writes it, and the payout's name, in capitals."""
    await booked(scenario)
    await booked(scenario, "po_Two")
    await traced(scenario, "po_1", "091000019-ab12")
    lines = entry("bank-1", "X", "PO_TWO"), entry("bank-2", "091000019-AB12", at=NOON - timedelta(days=4))
    found = await statement(scenario, *lines)
    assert found.counts == {"matched": 2}
    matched = {item["line_reference"]: item for item in found.items}
    assert (matched["bank-1"]["object_id"], matched["bank-2"]["object_id"]) == ("po_Two", "po_1")
    assert {item["how"] for item in found.items} == {"psp_id"}
    assert matched["bank-2"]["reason"] == "Matched by 091000019-AB12, which the entry names."
    (item,) = [i for i in (await statement(scenario, entry("bank-2", "091000019-ab12", amount=80_000))).items if i]
    assert item["class"] == "amount"


@pytest.mark.parametrize(
    "text", ["STRIPE PO1SVXPAYSOUT ANNA77/X", "Payout po-1svxpaysoutanna77.", "TRACE NO 091000019 0001"]
)
async def test_a_name_that_the_bank_has_broken(scenario: Scenario, text: str) -> None:
    await booked(scenario, "po_1SvxPaysOutAnna77")
    await booked(scenario, "po_2SvxPaysOutAnna77")
    await traced(scenario, "po_1SvxPaysOutAnna77", "0910-0001-9000-1")
    found = await statement(scenario, entry("bank-1", *text.split()).model_copy(update={"text": text}))
    (item,) = [item for item in found.items if item["class"] == "matched"]
    assert (item["how"], item["object_id"]) == ("psp_id", "po_1SvxPaysOutAnna77")


async def test_a_reference_of_two_payouts_tells_nothing(scenario: Scenario) -> None:
    for number in (1, 2):
        await booked(scenario, f"po_{number}", at=NOON + timedelta(days=number))
        await traced(scenario, f"po_{number}", "0000")
    lines = [entry(f"bank-{number}", "0000", at=NOON + timedelta(days=number)) for number in (2, 1)]
    found = await statement(scenario, *lines)
    assert {(item["line_reference"], item["object_id"]) for item in found.items} == {
        ("bank-1", "po_1"), ("bank-2", "po_2"),
    }  # fmt: skip
    assert len(await notes(scenario, found)) == 1


async def test_amount_and_currency(scenario: Scenario) -> None:
    await booked(scenario)
    item = (await statement(scenario, entry("bank-1", "po_1", amount=80_000))).one(LineClass.AMOUNT)
    assert item["reason"] == "The bank lists 800.00 INR for the PSP's po_1, and we booked 900.00 INR."
    right = await statement(scenario, entry("bank-2", "po_1", at=NOON + hours(20)))
    found = {item["class"]: item["line_reference"] for item in right.items}
    assert found == {"matched": "bank-2", "duplicate": "bank-1"}, "the right amount, though it comes later"


@pytest.mark.parametrize("names", [("po_unknown",), ("Stripe", "PAYOUT"), ("txn_1",)])
async def test_an_entry_of_the_psp_that_is_not_booked(scenario: Scenario, names: tuple[str, ...]) -> None:
    (await statement(scenario, entry("bank-1", *names, amount=-123))).one(LineClass.MISSING_HERE)
    (disc,) = await scenario.open_ones()
    assert (disc["subject"], disc["tenant_id"], disc["difference"]) == ("bank", "platform", -123)


async def test_an_entry_that_is_nothing_of_the_psps(scenario: Scenario) -> None:
    """Rent, salaries: it is in the log, in no total, and nobody is asked about it."""
    await booked(scenario)
    rent = entry("bank-2", "RENT", "shop", amount=-120_000)
    found = await statement(scenario, entry("bank-1", "po_1"), rent)
    assert found.counts == {"matched": 1, "unrelated": 1}
    (item,) = [item for item in found.items if item["class"] == "unrelated"]
    assert (item["discrepancy_id"], item["reason"][:12]) == (None, "Not of the P")
    assert await scenario.open_ones(None) == []
    run = await scenario.database.read(lambda c: runs.get(c, found.run_id))
    assert (await report.summary(scenario.database, run, None, LATER)).totals == [report.Total("INR", 90_000, 90_000)]
    assert (await statement(scenario)).items == [], "it is told once"


async def test_an_entry_whose_payout_is_booked_later_and_that_only_its_amount_names(scenario: Scenario) -> None:
    (await statement(scenario, entry())).one(LineClass.UNRELATED)
    await booked(scenario)
    next_day = (DAY + timedelta(days=2), DAY + timedelta(days=3))
    assert (await statement(scenario, window=next_day)).one(LineClass.MATCHED)["how"] == "guess"


async def test_a_statement_is_of_one_currency(scenario: Scenario) -> None:
    await booked(scenario)
    await scenario.post(Kind.BANK_PAYOUT, "stripe:po_usd", books.bank_payout("stripe", 500, "USD"))
    much_later = NOON + timedelta(days=30)
    assert (await statement(scenario, entry("bank-1", "po_1"), at=much_later)).counts == {"matched": 1}
    found = await statement(scenario, entry("bank-2", "RENT").model_copy(update={"currency": "USD"}), at=much_later)
    assert found.classes == ["missing_at_psp", "unrelated"]


async def test_the_same_entry_in_the_statement_of_the_day_and_of_the_month(scenario: Scenario) -> None:
    await booked(scenario)
    line = entry("entry:1234:1", "po_1")
    assert (await statement(scenario, line)).counts == {"matched": 1}
    assert (await statement(scenario, line)).counts == {"matched": 1}


async def test_an_entry_whose_payout_is_booked_later(scenario: Scenario) -> None:
    (await statement(scenario, entry("bank-1", "po_1"))).one(LineClass.MISSING_HERE)
    await booked(scenario)
    found = await statement(scenario, window=(DAY + timedelta(days=2), DAY + timedelta(days=3)))
    assert (found.classes, found.matched.closed) == (["matched"], 1)


async def test_not_on_the_statement_within_five_working_days(scenario: Scenario) -> None:
    await booked(scenario)
    due_at = working_days_after(NOON, 5)
    item = (await statement(scenario, at=due_at - hours(0.1))).one(LineClass.TIMING)
    assert item["due_at"] == due_at == NOON + timedelta(days=7), "a weekend lies between"
    item = (await statement(scenario, at=due_at)).one(LineClass.MISSING_AT_PSP)
    assert item["reason"] == "We booked a payout of 900.00 INR for the PSP's po_1, and the bank does not list it."
    found = await statement(scenario, entry("bank-1", "po_1"), at=due_at + hours(1))
    assert (found.classes, found.matched.closed) == (["matched"], 1)


async def test_twice(scenario: Scenario) -> None:
    await booked(scenario)
    line = entry("bank-1", "po_1")
    assert (await statement(scenario, line, line)).classes == ["duplicate", "matched"]
    again = await statement(scenario, entry("bank-2", "po_1"), window=(DAY, DAY + timedelta(days=2)))
    assert again.one(LineClass.DUPLICATE)["line_reference"] == "bank-2"


async def test_a_payout_that_came_back(scenario: Scenario) -> None:
    await booked(scenario)
    await booked(scenario, amount=-90_000, at=NOON + hours(30))
    lines = entry("bank-1", "po_1"), entry("bank-2", "po_1", amount=-90_000, at=NOON + hours(48))
    assert (await statement(scenario, *lines)).counts == {"matched": 2}


async def test_a_statement_without_a_window_is_of_whole_days(scenario: Scenario) -> None:
    """An entry has the midnight of its day, and the payout was made later on it."""
    await booked(scenario)
    found = await statement(scenario, entry("bank-1", "STRIPE", at=DAY), window=None)
    assert found.one(LineClass.MATCHED)["how"] == "guess"
    run = await scenario.database.read(lambda c: runs.get(c, found.run_id))
    assert (run["window_from"], run["window_to"]) == (DAY, DAY + timedelta(days=1))


async def test_lines_outside_the_window_are_counted(scenario: Scenario) -> None:
    found = await statement(scenario, entry("bank-1", "RENT"), entry("bank-2", "RENT", at=NOON - timedelta(days=9)))
    run = await scenario.database.read(lambda c: runs.get(c, found.run_id))
    assert (run["lines"], run["outside"]) == (2, 1)


async def test_an_entry_that_was_known_by_the_banks_reference_alone(scenario: Scenario) -> None:
    await booked(scenario)
    (await statement(scenario, entry("0001", "STRIPE"))).one(LineClass.MATCHED)
    again = entry("0001#0123456789ab", "STRIPE"), entry("0001#ba9876543210", "RENT", amount=-5)
    assert (await statement(scenario, *again)).classes == ["matched", "unrelated"]


def test_working_days() -> None:
    friday = datetime(2026, 3, 13, 9, tzinfo=UTC)
    assert working_days_after(friday, 1) == datetime(2026, 3, 16, 9, tzinfo=UTC)
    assert working_days_after(friday, 5) == datetime(2026, 3, 20, 9, tzinfo=UTC)
