"""The demo's day without a stack: what is planned for it, and that it notices whatever is not as planned."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

import demo.__main__
import demo.run
from demo.day.kinds import KINDS
from demo.day.payouts import SellersPayout
from demo.day.plan import CHECKOUTS, SMALLEST, plan
from demo.day.plants import Plant
from demo.day.reconciliation import differences, miscounted, unfinished
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.reconciliation import (
    BREAKS,
    DiscrepancyStatus,
    Fix,
    LineClass,
    ReconciliationReport,
    RunStatus,
)

PLANTS = [Plant(cls, f"a {cls}", f"txn_{cls}") for cls in BREAKS]


def _row(plant: Plant, **changes: Any) -> Discrepancy:
    """As the database has a discrepancy."""
    of_any = {"seq": 1, "tenant_id": "platform", "psp": "stripe", "kind": "other", "fingerprint": plant.name}
    of_any |= {"first_run_id": "rec_1", "last_run_id": "rec_1", "opened_at": datetime.now(UTC), "status": "OPEN"}
    own = {"id": "disc_1", "cls": plant.cls, "subject": plant.subject, "line_reference": plant.name, "reason": "why"}
    return Discrepancy.model_validate(dict.fromkeys(Discrepancy.model_fields) | of_any | own | changes)


# --- the plan ---


def test_a_day_has_200_checkouts_of_every_kind_and_every_fault() -> None:
    day = plan(KINDS, CHECKOUTS)
    assert len(day) == CHECKOUTS == 200
    assert {one.kind for one in day} == set(KINDS)
    assert len({one.name for one in day}) == CHECKOUTS
    faults = [one.fault for one in day if one.fault is not None]
    assert len({(fault.webhook, fault.kind) for fault in faults}) == 15
    assert {one.currency for one in day} == {"INR", "USD", "EUR", "GBP", "JPY", "KWD"}
    assert day == plan(KINDS, CHECKOUTS)


@pytest.mark.parametrize("size", [SMALLEST, 61, 137, 400])
def test_a_day_of_another_size_has_all_of_it_too(size: int) -> None:
    day = plan(KINDS, size)
    assert len({one.name for one in day}) == size
    assert {one.kind for one in day} == set(KINDS)
    # The plants need so many cards that met no fault.
    assert sum(one.kind.title == "Card" and one.fault is None for one in day) >= 5


# --- what was planted and what was found ---


def test_all_that_was_planted_was_found_and_nothing_else() -> None:
    assert differences(PLANTS, [_row(plant) for plant in PLANTS]) == []


def test_what_was_not_found_or_found_twice_is_said() -> None:
    rows = [_row(plant) for plant in PLANTS[1:]]
    assert differences(PLANTS, [*rows, rows[0]]) == [
        "missing_at_psp: a missing_at_psp (txn_missing_at_psp) was found 0 times",
        "missing_here: a missing_here (txn_missing_here) was found 2 times",
    ]


def test_what_nobody_planted_is_said() -> None:
    rows = [_row(plant) for plant in PLANTS]
    stranger = _row(PLANTS[0], id="disc_2", line_reference="txn_other")
    assert differences(PLANTS, [*rows, stranger]) == ["missing_at_psp: nobody planted disc_2: why"]


def test_one_found_as_another_class_is_neither() -> None:
    rows = [_row(plant) for plant in PLANTS[1:]]
    assert differences(PLANTS, [*rows, _row(PLANTS[0], cls=LineClass.TIMING)]) == [
        "missing_at_psp: a missing_at_psp (txn_missing_at_psp) was found 0 times",
        "timing: nobody planted disc_1: why",
    ]


def test_each_class_has_to_be_planted() -> None:
    plants = [plant for plant in PLANTS if plant.cls is not LineClass.FEE]
    assert differences(plants, [_row(plant) for plant in plants]) == ["no discrepancy of the class fee was planted"]


def test_what_the_run_counts_is_compared_too() -> None:
    counts = {LineClass.MATCHED.value: 7, **{cls.value: 1 for cls in BREAKS}}
    report = ReconciliationReport(run_id="rec_1", status=RunStatus.COMPLETED, lines=15, counts=counts)
    assert miscounted(PLANTS, report) == []
    more = report.model_copy(update={"counts": counts | {"fee": 3}})
    assert miscounted(PLANTS, more) == ["fee: 1 were planted and 3 counted"]


def test_what_was_not_fixed_is_said() -> None:
    plant = Plant(LineClass.FEE, "a monthly fee", "txn_fee", fix=Fix.BOOK_FEE)
    fixed = _row(plant, status=DiscrepancyStatus.FIXED, resolution="book_fee")
    assert unfinished([plant], [fixed]) == []
    assert unfinished([plant], [_row(plant)]) == ["a monthly fee should be FIXED book_fee and is OPEN"]


# --- payouts ---


@pytest.mark.parametrize(
    ("expected", "status", "amount", "after", "wrong"),
    [
        ("PAID", "PAID", "90.00", "0", None),
        ("RETURNED", "RETURNED", "90.00", "90.00", None),
        (None, None, None, "100.00", None),
        ("PAID", "FAILED", "90.00", "90.00", "should be PAID and is FAILED"),
        ("PAID", None, None, "100.00", "should be PAID and is left out"),
        (None, "PAID", "90.00", "0", "should be left out and is PAID"),
        ("PAID", "PAID", "100.00", "0", "90.00 were due and 100.00 were sent"),
        ("FAILED", "FAILED", "90.00", "0", "the wallet should hold 90.00 and holds 0"),
    ],
)
def test_a_payout_keeps_back_what_the_seller_owes(
    expected: str | None, status: str | None, amount: str | None, after: str, wrong: str | None
) -> None:
    payout = {"status": status, "amount": amount} if status else None
    available, owed = Decimal("100.00"), Decimal("10.00")
    row = SellersPayout("seller_a", "INR", available, owed, "daily", expected, payout, Decimal(after))
    assert row.wrong == wrong


# --- the command ---


@pytest.mark.parametrize(("as_told", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_all_ended_as_told(
    monkeypatch: pytest.MonkeyPatch, as_told: bool, code: int
) -> None:
    programmes = []

    async def run(_: object, plan: demo.run.DemoPlan, **__: object) -> bool:
        programmes.append(plan)
        return as_told

    monkeypatch.setattr(demo.__main__, "run_demo", run)
    assert CliRunner().invoke(demo.__main__.app, []).exit_code == code
    assert programmes == [demo.run.DemoPlan(stories=True, checkouts=200)]
