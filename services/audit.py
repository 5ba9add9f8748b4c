"""The audit: the money invariants of a database, and whether Temporal agrees about what is under way."""

from collections.abc import Sequence
from datetime import UTC, datetime

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from db import task
from db.audit.audit import INVARIANTS, Checked, Finding, PaymentState, ended_among, expecting, open_payments, run_audit
from db.core.database import Database
from domain.errors import Unavailable
from domain.ids import payment_workflow_id
from domain.payment import PAYMENT_WORKFLOW
from domain.seal import Head
from runtime.search_attributes import TENANT
from services.workflow import FAILING

WORKFLOWS_CODE = "I17"
_TITLE = "each open payment has a workflow, no ended one has, none fails at each try"
_AGREE_AFTER_S = 60.0
"""The sweeper finds a missing workflow within this; the end of a workflow follows its last commit at once."""
_BATCH = 500
DATABASE_TIMEOUT_S = 600.0
"""Of one query: the audit of a large ledger takes its time, and holds no lock meanwhile."""


async def audit(database: Database, temporal: Client | None = None) -> list[Finding]:
    """Every violation; an empty list is a clean audit. I17 is looked at when there is a client."""
    return [finding for checked in await check_everything(database, temporal) for finding in checked.findings]


async def check_everything(
    database: Database, temporal: Client | None = None, head: Head | None = None
) -> list[Checked]:
    """`head`: of the ledger's seal, as it was written down elsewhere. Raises Unavailable when the database
    or Temporal does not answer."""
    checked = await run_audit(database, expecting(head) if head else INVARIANTS)
    if temporal is None:
        return checked
    try:
        workflows = await _check_workflows(database, temporal)
    except RPCError as error:
        raise Unavailable(f"Temporal does not answer, so I17 cannot be checked: {error.message}.") from error
    after = next((i for i, c in enumerate(checked) if c.code == "I16"), len(checked) - 1) + 1
    return [*checked[:after], workflows, *checked[after:]]


# --- I17: PostgreSQL against Temporal ---


async def _check_workflows(database: Database, temporal: Client) -> Checked:
    """The visibility list is a moment behind, so it only names suspects; each is asked about by name."""
    running = await _running(temporal)
    open_now = await database.read(lambda c: open_payments(c, _AGREE_AFTER_S))
    findings = [*await _without_workflow(database, temporal, open_now, running), *_misfiled(open_now, running)]
    findings += await _ended_with_workflow(database, temporal, sorted(running))
    findings += await _failing(database)
    return Checked(WORKFLOWS_CODE, _TITLE, len(open_now), len(findings), findings)


async def _without_workflow(
    database: Database, temporal: Client, open_now: Sequence[PaymentState], running: dict[str, str | None]
) -> list[Finding]:
    suspects = [row for row in open_now if row.id not in running]
    lost = [row for row in suspects if not await _lately_running(temporal, row.id)]
    if not lost:
        return []
    # While Temporal was asked, a payment may have ended, and its workflow with it.
    still_open = {row.id for row in await database.read(lambda c: open_payments(c, _AGREE_AFTER_S))}
    return [_finding(row, f"{row.status}, and no workflow runs for it") for row in lost if row.id in still_open]


async def _failing(database: Database) -> list[Finding]:
    """Workflows that the sweeper has found to fail at each try."""
    told = await database.read(lambda c: task.open_of_kind(c, FAILING))
    return [
        Finding(WORKFLOWS_CODE, row.tenant_id, row.payment_id or row.object_id or row.id, row.detail) for row in told
    ]


def _misfiled(open_now: Sequence[PaymentState], running: dict[str, str | None]) -> list[Finding]:
    return [
        _finding(row, f"its workflow is filed under {TENANT.name} {running[row.id]!r}")
        for row in open_now
        if running.get(row.id, row.tenant_id) != row.tenant_id
    ]


async def _ended_with_workflow(database: Database, temporal: Client, running: Sequence[str]) -> list[Finding]:
    findings: list[Finding] = []
    for start in range(0, len(running), _BATCH):
        part = running[start : start + _BATCH]
        ended = await database.read(lambda c, p=part: ended_among(c, p, _AGREE_AFTER_S))  # type: ignore[misc]
        findings += [
            _finding(row, f"{row.status}, and its workflow still runs")
            for row in ended
            if await _lately_running(temporal, row.id, grace_s=0)
        ]
    return findings


def _finding(row: PaymentState, problem: str) -> Finding:
    return Finding(WORKFLOWS_CODE, row.tenant_id, row.id, problem)


async def _running(temporal: Client) -> dict[str, str | None]:
    """Payment id → tenant, of every payment's workflow that is running. Other databases' are among them."""
    found = {}
    query = f"WorkflowType = '{PAYMENT_WORKFLOW}' AND ExecutionStatus = 'Running'"
    async for execution in temporal.list_workflows(query, page_size=1000):
        found[execution.id.partition(":")[2]] = execution.typed_search_attributes.get(TENANT)
    return found


async def _lately_running(temporal: Client, payment_id: str, *, grace_s: float = _AGREE_AFTER_S) -> bool:
    """Whether a run is open, or was a moment ago: then the sweeper has not had its time yet."""
    try:
        description = await temporal.get_workflow_handle(payment_workflow_id(payment_id)).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    if description.close_time is None:
        return True
    return (datetime.now(UTC) - description.close_time).total_seconds() < grace_s
