"""`paysaga audit`: the money invariants of a database, and whether Temporal agrees about what is under way."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.start import TENANT
from config.settings import Settings
from db.audit import INVARIANTS, Checked, Finding, ended_among, expecting, open_payments, run_audit
from db.database import Database
from domain.errors import Unavailable
from domain.ids import payment_workflow_id
from domain.payment import PAYMENT_WORKFLOW
from domain.seal import Head
from stack.errors import StackError
from workers.services import connect

_CODE = "I17"
_TITLE = "each open payment has a workflow, no ended one has"
_AGREE_AFTER_S = 60.0
"""The sweeper finds a missing workflow within this; the end of a workflow follows its last commit at once."""
_BATCH = 500
_DATABASE_TIMEOUT_S = 600.0
"""Of one query: the audit of a large ledger takes its time, and holds no lock meanwhile."""
_SHOWN_MAX = 10


async def audit(database: Database, temporal: Client | None = None) -> list[Finding]:
    """Every violation; an empty list is a clean audit. I17 is looked at when there is a client."""
    return [finding for checked in await check_everything(database, temporal) for finding in checked.findings]


async def check_everything(
    database: Database, temporal: Client | None = None, head: Head | None = None
) -> list[Checked]:
    """`head`: of the ledger's seal, as it was written down elsewhere. Raises Unavailable when the database does not
    answer, StackError when Temporal does not."""
    checked = await run_audit(database, expecting(head) if head else INVARIANTS)
    if temporal is None:
        return checked
    try:
        workflows = await _check_workflows(database, temporal)
    except RPCError as error:
        raise StackError(f"Temporal does not answer, so I17 cannot be checked: {error.message}.") from error
    after = next((i for i, c in enumerate(checked) if c.code == "I16"), len(checked) - 1) + 1
    return [*checked[:after], workflows, *checked[after:]]


# --- I17: PostgreSQL against Temporal ---


async def _check_workflows(database: Database, temporal: Client) -> Checked:
    """The visibility list is a moment behind, so it only names suspects; each is asked about by name."""
    running = await _running(temporal)
    open_now = await database.read(lambda c: open_payments(c, _AGREE_AFTER_S))
    findings = [*await _without_workflow(database, temporal, open_now, running), *_misfiled(open_now, running)]
    findings += await _ended_with_workflow(database, temporal, sorted(running))
    return Checked(_CODE, _TITLE, len(open_now), len(findings), findings)


async def _without_workflow(
    database: Database, temporal: Client, open_now: Sequence[dict[str, str]], running: dict[str, str | None]
) -> list[Finding]:
    suspects = [row for row in open_now if row["id"] not in running]
    lost = [row for row in suspects if not await _lately_running(temporal, row["id"])]
    if not lost:
        return []
    # While Temporal was asked, a payment may have ended, and its workflow with it.
    still_open = {row["id"] for row in await database.read(lambda c: open_payments(c, _AGREE_AFTER_S))}
    return [_finding(row, f"{row['status']}, and no workflow runs for it") for row in lost if row["id"] in still_open]


def _misfiled(open_now: Sequence[dict[str, str]], running: dict[str, str | None]) -> list[Finding]:
    return [
        _finding(row, f"its workflow is filed under {TENANT.name} {running[row['id']]!r}")
        for row in open_now
        if running.get(row["id"], row["tenant_id"]) != row["tenant_id"]
    ]


async def _ended_with_workflow(database: Database, temporal: Client, running: Sequence[str]) -> list[Finding]:
    findings: list[Finding] = []
    for start in range(0, len(running), _BATCH):
        part = running[start : start + _BATCH]
        ended = await database.read(lambda c, p=part: ended_among(c, p, _AGREE_AFTER_S))  # type: ignore[misc]
        findings += [
            _finding(row, f"{row['status']}, and its workflow still runs")
            for row in ended
            if await _lately_running(temporal, row["id"], grace_s=0)
        ]
    return findings


def _finding(row: dict[str, str], problem: str) -> Finding:
    return Finding(_CODE, row["tenant_id"], row["id"], problem)


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


# --- the command ---


async def run_audit_command(settings: Settings, console: Console, *, as_json: bool, head: Head | None = None) -> bool:
    """Print the audit of the settings' database; False if anything is wrong with it."""
    if settings.database_url is None:
        raise StackError("There is nothing to audit: no stack runs here, and PAYSAGA_DATABASE_URL is not set.")
    database = Database(
        settings.database_url.get_secret_value(), pool_size=0, timeout_s=_DATABASE_TIMEOUT_S, application="audit"
    )
    try:
        checked = await check_everything(database, await _temporal(settings, console, quiet=as_json), head)
    except Unavailable as error:
        raise StackError("The database does not answer: see PAYSAGA_DATABASE_URL.") from error
    finally:
        await database.close()
    if as_json:
        console.file.write(_as_json(checked) + "\n")
    else:
        console.print(audit_report(checked))
        for c in checked:
            if (
                c.note
            ):  # neither wrapped nor cut: it is copied and kept where nobody who owns the database can change it
                console.print(Text(f" {c.note}", "dim"), soft_wrap=True)
    return is_clean(checked)


async def _temporal(settings: Settings, console: Console, *, quiet: bool) -> Client | None:
    """The books can be audited while Temporal is down; then it is said that I17 was left out."""
    with suppress(RPCError, RuntimeError):
        return await connect(settings)
    if not quiet:
        console.print(Text(f"Temporal does not answer, so {_CODE} is left out.", style="yellow"))
    return None


def is_clean(checked: Sequence[Checked]) -> bool:
    return not any(c.violations for c in checked)


def audit_report(checked: Sequence[Checked]) -> RenderableType:
    """One line per invariant, then what violates it, then the sum."""
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("")
    table.add_column("", no_wrap=True)
    table.add_column("invariant")
    table.add_column("rows", justify="right")
    table.add_column("violations", justify="right")
    for c in checked:
        mark = Text("✗", "bold red") if c.violations else Text("✓", "bold green")
        count = Text(str(c.violations), "bold red" if c.violations else "green")
        table.add_row(mark, Text(c.code, "bold"), Text(c.title), f"{c.rows:,}", count)
    parts: list[RenderableType] = [table]
    for c in checked:
        parts += _violations(c)
    return Group(*parts, "", _verdict(checked))


def _violations(checked: Checked) -> list[RenderableType]:
    if not checked.violations:
        return []
    lines: list[RenderableType] = ["", Text.assemble((f" {checked.code} ", "bold red"), checked.title)]
    lines += [
        Text.assemble(("   • ", "red"), (finding.object_id, "bold"), f" ({finding.tenant_id}): {finding.problem}")
        for finding in checked.findings[:_SHOWN_MAX]
    ]
    left = checked.violations - _SHOWN_MAX
    return [*lines, Text(f"   … and {left} more", "dim")] if left > 0 else lines


def _verdict(checked: Sequence[Checked]) -> Text:
    wrong = sum(c.violations for c in checked)
    if wrong:
        return Text(f" {wrong} violation{'s' if wrong > 1 else ''}: the books are not in order.", "bold red")
    return Text(f" The books are in order: {len(checked)} invariants hold.", "bold green")


def _as_json(checked: Sequence[Checked]) -> str:
    document = {
        "clean": is_clean(checked),
        "invariants": [
            {
                "code": c.code,
                "title": c.title,
                "rows": c.rows,
                "violations": c.violations,
                "note": c.note or None,
                "findings": [
                    {"object_id": f.object_id, "tenant_id": f.tenant_id, "problem": f.problem} for f in c.findings
                ],
            }
            for c in checked
        ],
    }
    return json.dumps(document, indent=2)
