"""The audit as a person reads it: one line per invariant, then what violates it."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console, Group, RenderableType
from temporalio.client import Client
from temporalio.service import RPCError

from cli.connection import TEMPORAL_PATIENCE_S, without_database
from cli.nouns import as_json
from cli.pages import format as look
from cli.pages.page import as_text
from config.settings import Settings
from db.audit.audit import Checked
from db.core.database import FEW, Database
from domain.errors import Unavailable
from domain.seal import Head
from embedded.errors import StackError
from runtime.temporal import connect
from services.audit import DATABASE_TIMEOUT_S, WORKFLOWS_CODE, check_everything

_SHOWN_MAX = 10


# --- the command ---


async def run_audit_command(settings: Settings, console: Console, *, head: Head | None = None) -> bool:
    """Print the audit of the settings' database; False if anything is wrong with it."""
    if settings.database_url is None:
        raise StackError("There is nothing to audit: no stack runs here, and PAYSAGA_DATABASE_URL is not set.")
    database = Database(
        settings.database_url.get_secret_value(), pool_size=FEW, timeout_s=DATABASE_TIMEOUT_S, application="audit"
    )
    try:
        checked = await check_everything(database, await _temporal(settings, console, quiet=as_json()), head)
    except Unavailable as error:
        raise without_database(error) from error
    finally:
        await database.close()
    if as_json():
        sys.stdout.write(as_text(_document(checked)) + "\n")
    else:
        console.print(audit_report(checked))
        # Neither folded nor cut: they are copied, and kept where nobody who owns the database can change them.
        console.print(Group(*(look.whole((f" {c.note}", "dim")) for c in checked if c.note)), crop=False)
    return is_clean(checked)


async def _temporal(settings: Settings, console: Console, *, quiet: bool) -> Client | None:
    """The books can be audited while Temporal is down; then it is said that I17 was left out."""
    with suppress(RPCError, RuntimeError, TimeoutError):
        async with asyncio.timeout(TEMPORAL_PATIENCE_S):
            return await connect(settings, None)
    if not quiet:
        console.print(look.text((f"Temporal does not answer, so {WORKFLOWS_CODE} is left out.", "yellow")))
    return None


def is_clean(checked: Sequence[Checked]) -> bool:
    return not any(c.violations for c in checked)


def audit_report(checked: Sequence[Checked]) -> RenderableType:
    """One line per invariant, then what violates it, then the sum."""
    table = look.table("", "code", "invariant", "rows", "violations", right=("rows", "violations"))
    for c in checked:
        mark = look.text(("✗", "bold red")) if c.violations else look.text(("✓", "bold green"))
        count = look.text((str(c.violations), "bold red" if c.violations else "green"))
        table.add_row(mark, look.text((c.code, "bold")), look.text(c.title), f"{c.rows:,}", count)
    parts: list[RenderableType] = [table]
    for c in checked:
        parts += _violations(c)
    return Group(*parts, "", _verdict(checked))


def _violations(checked: Checked) -> list[RenderableType]:
    if not checked.violations:
        return []
    lines: list[RenderableType] = ["", look.text((f" {checked.code} ", "bold red"), checked.title)]
    lines += [
        look.text(("   • ", "red"), (finding.object_id, "bold"), f" ({finding.tenant_id}): {finding.problem}")
        for finding in checked.findings[:_SHOWN_MAX]
    ]
    left = checked.violations - _SHOWN_MAX
    return [*lines, look.text((f"   … and {left} more", "dim"))] if left > 0 else lines


def _verdict(checked: Sequence[Checked]) -> look.Words:
    wrong = sum(c.violations for c in checked)
    if wrong:
        return look.text((f" {wrong} violation{'s' if wrong > 1 else ''}: the books are not in order.", "bold red"))
    return look.text((f" The books are in order: {len(checked)} invariants hold.", "bold green"))


def _document(checked: Sequence[Checked]) -> dict[str, object]:
    return {
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
