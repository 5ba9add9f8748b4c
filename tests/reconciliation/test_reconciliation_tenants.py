"""Several tenants on one account: a run that one of them asked for settles nothing of the others."""

import pytest
from temporalio.testing import ActivityEnvironment

from db.reconciliation import report
from db.reconciliation import run as runs
from domain.reconciliation.lines import PspLineKind
from domain.reconciliation.reconciliation import FixStep
from tests.reconciliation.scenario import LATER, Scenario
from tests.reconciliation.test_reconciliation_classes import other
from tests.reconciliation.test_reconciliation_stage import worker


@pytest.mark.parametrize(
    ("by", "shared", "fixed"),
    [
        ("shop", True, {"shop"}),
        ("shop", False, {"shop", "platform"}),
        ("platform", True, {"shop", "rival", "platform"}),
    ],
)
async def test_whose_fixes_a_run_applies(scenario: Scenario, by: str, shared: bool, fixed: set[str]) -> None:
    lines = [(await scenario.paid(fee=None)).line(), other("txn_radar", kind=PspLineKind.FEE, amount=-300)]
    if shared:
        await scenario.seller("rival")
        lines.append((await scenario.paid(fee=None, tenant="rival")).line())
    scenario.tenant = by
    found = await scenario.run(*lines)
    assert found.matched.fixes == len(fixed)
    done = await ActivityEnvironment().run(worker(scenario).apply_fixes, FixStep(run_id=found.run_id, at=LATER))
    assert done.booked == len(fixed)
    assert {row["tenant_id"] for row in await scenario.open_ones("FIXED")} == fixed


async def test_counters_of_everybody_are_the_operators(scenario: Scenario) -> None:
    await scenario.seller("rival")
    run_id = (await scenario.run((await scenario.paid()).line(fee=1))).run_id
    run = await scenario.database.read(lambda c: runs.get(c, run_id))
    names = ("lines", "opened", "closed", "fixed", "asked")
    theirs = await scenario.database.read(lambda c: report.brief(c, run, "shop"))
    assert ([theirs[name] for name in names], theirs["counts"]) == ([None] * 5, {"fee": 1})
    everything = await scenario.database.read(lambda c: report.brief(c, run, None))
    assert [everything[name] for name in names] == [1, 1, 0, 0, 0]
