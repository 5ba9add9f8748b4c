"""Numbers of a run: each thing counts once, however often a worker dies and its activity is carried out again."""

from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from temporalio.testing import ActivityEnvironment

from activities.dispute import DisputeActivities
from activities.payout import PayoutActivities
from activities.reconciliation import ReconciliationActivities
from db.core.database import Database
from db.core.keyring import Keyring
from db.payment import charge as charges
from db.reconciliation import run as runs
from domain.dispute import BookDisputeStep
from domain.payout import BankWaitPolicy, BookPayoutStep
from domain.psp import ChargeOutcome, ChargeResult, DisputeOutcome, DisputeResult, PayoutOutcome, PayoutResult
from domain.reconciliation.reconciliation import FailStep, FixStep, RunStep
from gateways.guard import Guard
from gateways.stripe.gateway import StripePsp
from runtime.notifier import CompletionNotifier
from runtime.under_way import UnderWay
from runtime.workflow_client import WorkflowClient
from tests.reconciliation.scenario import LATER, NOON, RING, Scenario
from tests.reconciliation.test_reconciliation_stage import Killed


class Running:
    """A Temporal in which every workflow runs, and none is told anything in its first task."""

    async def is_running(self, _: str) -> bool:
        return True


def worker(scenario: Scenario) -> ReconciliationActivities:
    return ReconciliationActivities(
        scenario.database,
        {},
        cast(WorkflowClient, Running()),
        RING,
        booking_grace_s=3600,
        listing_grace_s=3600,
        bank_days=5,
        page_timeout_s=1,
        match_timeout_s=60,
    )


async def row_of(database: Database, run_id: str) -> dict[str, Any]:
    return await database.read(lambda c: runs.get(c, run_id))


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_fixes_are_counted_once(scenario: Scenario) -> None:
    """Two fees are booked and one workflow is asked; then the same step again, as after a worker's death."""
    first, second = await scenario.paid(fee=None), await scenario.paid(fee=None)
    sent = await scenario.attempted()
    found = await scenario.run(first.line(), second.line(), sent.line())
    step = FixStep(run_id=found.run_id, at=LATER)
    for _ in range(2):
        await ActivityEnvironment().run(worker(scenario).apply_fixes, step)
        run = await row_of(scenario.database, found.run_id)
        assert (run["fixed"], run["asked"]) == (2, 1)


async def test_a_worker_that_died_before_it_counted(scenario: Scenario) -> None:
    """The fixes of its page are booked: the next worker counts them although there is nothing left to fix."""
    paid = await scenario.paid(fee=None)
    found = await scenario.run(paid.line())
    steps = worker(scenario)

    async def die(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(runs, "count_fixes", die)
        await ActivityEnvironment().run(steps.apply_fixes, FixStep(run_id=found.run_id, at=LATER))
    assert (await row_of(scenario.database, found.run_id))["fixed"] == 0
    await ActivityEnvironment().run(steps.apply_fixes, FixStep(run_id=found.run_id, at=LATER))
    assert (await row_of(scenario.database, found.run_id))["fixed"] == 1


async def test_a_run_ends_once_in_the_metrics(scenario: Scenario) -> None:
    paid = await scenario.paid()
    found = await scenario.run(paid.line())
    ended = {"psp": "stripe", "subject": "psp", "status": "COMPLETED"}
    matched = {"psp": "stripe", "class": "matched"}
    before = counted("paysaga_reconciliations_total", **ended)
    lines = counted("paysaga_reconciliation_lines_total", **matched)
    for _ in range(2):
        await ActivityEnvironment().run(
            worker(scenario).complete_reconciliation, RunStep(run_id=found.run_id, at=LATER)
        )
    assert counted("paysaga_reconciliations_total", **ended) == before + 1
    assert counted("paysaga_reconciliation_lines_total", **matched) == lines + 1


async def test_a_run_fails_once_in_the_metrics(scenario: Scenario) -> None:
    run_id = await scenario.open()
    failed = {"psp": "stripe", "subject": "psp", "status": "FAILED"}
    before = counted("paysaga_reconciliations_total", **failed)
    for _ in range(2):
        step = FailStep(run_id=run_id, failure="no such file", at=LATER)
        report = await ActivityEnvironment().run(worker(scenario).fail_reconciliation, step)
        assert report.failure == "no such file"
    assert counted("paysaga_reconciliations_total", **failed) == before + 1


async def unclear_answers(scenario: Scenario, charge_id: str, *answers: tuple[ChargeOutcome, datetime | None]) -> int:
    for outcome, at in answers:
        result = ChargeResult(outcome=outcome, answered_at=at)
        await scenario.database.run(lambda c, result=result: charges.record(c, charge_id, result))  # type: ignore[misc]
    (row,) = await scenario.sql("SELECT unknown_count FROM charge WHERE id = $1", charge_id)
    return int(row["unknown_count"])


async def test_an_unclear_answer_is_counted_once(scenario: Scenario) -> None:
    """However often the step that records it is carried out; the next answer counts again."""
    made = await scenario.attempted(known=False)
    unknown, not_found = ChargeOutcome.UNKNOWN, ChargeOutcome.NOT_FOUND
    assert await unclear_answers(scenario, made.charge_id, (unknown, NOON), (unknown, NOON)) == 1
    later = NOON + timedelta(seconds=5)
    assert await unclear_answers(scenario, made.charge_id, (not_found, later), (not_found, later)) == 2
    assert await unclear_answers(scenario, made.charge_id, (unknown, None), (unknown, None)) == 4, "of older histories"


async def test_an_unclear_answer_about_a_dispute_is_counted_once(scenario: Scenario) -> None:
    made = await scenario.paid()
    await scenario.sql(
        "INSERT INTO dispute (id, tenant_id, payment_id, charge_id, psp, reference, amount, currency, status, fee)"
        " VALUES ('dp_1', 'shop', $1, $2, 'stripe', 'du_1', 100, 'INR', 'OPENED', 0)",
        made.payment_id,
        made.charge_id,
    )
    guard = Guard("stripe", concurrency_max=1, rate_per_s=1, breaker_failures=1, breaker_open_s=1)
    psp = StripePsp(api_key="sk_test_counts", guard=guard, currencies=())
    activities = DisputeActivities(scenario.database, {"stripe": psp}, cast(Keyring, None), timeout_s=1)
    for minutes, count in ((5, 1), (10, 2)):
        step = BookDisputeStep(
            dispute_id="dp_1",
            result=DisputeResult(outcome=DisputeOutcome.UNKNOWN, reason="timeout"),
            next_check_at=NOON + timedelta(minutes=minutes),
            at=NOON,
        )
        for _ in range(2):
            await ActivityEnvironment().run(activities.book_dispute, step)
            (row,) = await scenario.sql("SELECT unknown_count FROM dispute")
            assert row["unknown_count"] == count


async def test_an_unclear_answer_about_a_payout_is_counted_once(scenario: Scenario) -> None:
    await scenario.sql(
        "INSERT INTO payout (id, tenant_id, seller_account, amount, currency, psp, destination, status, reference,"
        " actor) VALUES ('pt_1', 'shop', 'anna', 100, 'INR', 'stripe', 'acct_1', 'IN_TRANSIT', 'po_1', 'test')"
    )
    await scenario.sql(
        "INSERT INTO payout_transition (tenant_id, payout_id, to_status, reason, at)"
        " VALUES ('shop', 'pt_1', 'IN_TRANSIT', 'test', $1)",
        NOON,
    )
    activities = PayoutActivities(
        scenario.database,
        {},
        CompletionNotifier(UnderWay(here=False)),
        fast_timeout_s=1,
        timeout_s=1,
        send_for_s=1,
        bank=BankWaitPolicy(),
    )
    for minutes, count in ((5, 1), (10, 2)):
        step = BookPayoutStep(
            payout_id="pt_1",
            result=PayoutResult(outcome=PayoutOutcome.UNKNOWN, reason="timeout"),
            next_check_at=NOON + timedelta(minutes=minutes),
            at=NOON,
        )
        for _ in range(2):
            await ActivityEnvironment().run(activities.book_payout, step)
            (row,) = await scenario.sql("SELECT unknown_count FROM payout")
            assert row["unknown_count"] == count
