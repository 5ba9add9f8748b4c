"""What reconciling leaves in a database: runs of a day long ago, and breaks in every state."""

from datetime import timedelta
from typing import cast

import asyncpg

from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import run as runs
from domain.reconciliation.lines import BankLine, PspLine, PspLineKind
from domain.reconciliation.reconciliation import Decision, Source, Subject
from runtime.workflow_client import WorkflowClient
from services import discrepancy
from services.command import Caller
from tests.reconciliation.scenario import LATER, NOON, Scenario
from tests.reconciliation.test_reconciliation_classes import other
from tests.support.deployment import Deployment


async def reconciled(paysaga: Deployment, tenant: str, payment_id: str) -> dict[str, str]:
    """label → id of a run or a discrepancy. Of the payment the PSP lists 10.00 less than was booked."""
    scenario = Scenario(paysaga.database, cast("asyncpg.Pool[asyncpg.Record]", None))  # nothing is done as the owner
    scenario.tenant = tenant
    (charge,) = await paysaga.sql("SELECT id, reference FROM charge WHERE payment_id = $1", payment_id)
    found = await scenario.run(
        other("txn_open"),
        other("txn_accepted", amount=-800),
        other("txn_held", amount=9_000),
        other("txn_fee", kind=PspLineKind.FEE, amount=-300),
        _less(charge["id"], charge["reference"]),
        other("txn_second", occurred_at=NOON - timedelta(hours=1)),
    )
    bank = BankLine(reference="b1", amount=5_000, currency="INR", booked_at=NOON, references=("rent",), text="rent")
    statement = await scenario.run(bank, source=Source.FILE, subject=Subject.BANK)
    names = {"rec": found.run_id, "rec_bank": statement.run_id}
    rows = {row["line_reference"]: row for row in await scenario.open_ones()}
    names |= {f"disc_{line.removeprefix('txn_')}": row["id"] for line, row in rows.items()}
    decisions = {"accepted": Decision.ACCEPT, "held": Decision.TO_SUSPENSE, "less": Decision.ADJUST}
    decisions["fee"] = Decision.APPLY_FIX
    for label, decision in decisions.items():
        await discrepancy.resolve(
            paysaga.database, cast(WorkflowClient, None), Caller("olga"), names[f"disc_{label}"], decision, "as agreed"
        )
    for run_id in (found.run_id, statement.run_id):
        await paysaga.database.run(lambda c, r=run_id: runs.complete(c, r, LATER))  # type: ignore[misc]
    await paysaga.database.run(lambda c: discrepancies.alert(c, LATER))
    return names


def _less(charge_id: str, reference: str) -> PspLine:
    names = {"our_reference": charge_id, "source_reference": reference, "charge_reference": reference}
    return other("txn_less", kind=PspLineKind.CHARGE, amount=49_000, **names)
