"""The money invariants, each as one query that returns what violates it: no rows is a clean audit.

All of them are read in one snapshot (repeatable read, read only), so that a running system audits clean: what belongs
together is committed together. What takes its time is given it: the graces are in `audit_words`, each with its reason.
The seal of the ledger (I13), payouts (I15) and reconciliation have no tables yet. The I's are those of the design; the
P's are what else the rows promise each other.
"""

# ruff: noqa: S608 - what is put into the queries are the constants of this file and of those with the invariants

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.audit_aftermath import AFTERMATH
from db.audit_books import BOOKS
from db.audit_payments import PAYMENTS
from db.audit_words import Invariant
from db.database import Database
from db.tables import ledger_account, ledger_posting, payment
from domain.status import TERMINAL

FINDINGS_MAX = 100
"""Rows that are read per invariant; all are counted."""


@dataclass(frozen=True)
class Finding:
    """One row that violates an invariant."""

    code: str
    tenant_id: str
    object_id: str
    problem: str

    def __str__(self) -> str:
        return f"{self.code} {self.object_id} ({self.tenant_id}): {self.problem}"


@dataclass(frozen=True)
class Checked:
    """What an invariant's query said: how many rows it looked through, how many violate it, the first of those."""

    code: str
    title: str
    rows: int
    violations: int
    findings: list[Finding] = field(default_factory=list)


INVARIANTS: tuple[Invariant, ...] = tuple(
    sorted((*BOOKS, *PAYMENTS, *AFTERMATH), key=lambda invariant: (invariant.code[0], int(invariant.code[1:])))
)


async def run_audit(database: Database, invariants: Sequence[Invariant] = INVARIANTS) -> list[Checked]:
    """Ask each invariant, all in one snapshot. A statement is bounded by the database's own timeout."""

    async def work(connection: AsyncConnection) -> list[Checked]:
        # The first statement of the transaction, or PostgreSQL refuses it.
        await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return await ask_each(connection, invariants)

    return await database.run(work)


async def ask_each(connection: AsyncConnection, invariants: Sequence[Invariant] = INVARIANTS) -> list[Checked]:
    """Within the caller's transaction, which decides what is seen."""
    rows = {table: await _count(connection, table) for table in sorted({invariant.table for invariant in invariants})}
    return [await _check(connection, invariant, rows[invariant.table]) for invariant in invariants]


async def audit_database(database: Database) -> list[Finding]:
    """Every violation (at most FINDINGS_MAX of each invariant); an empty list is a clean audit."""
    return [finding for checked in await run_audit(database) for finding in checked.findings]


async def _count(connection: AsyncConnection, table: str) -> int:
    return int((await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar_one())


async def _check(connection: AsyncConnection, invariant: Invariant, rows: int) -> Checked:
    limited = (
        f"SELECT tenant_id, object_id, problem, count(*) OVER () AS total FROM ({invariant.sql}) AS violations"
        f" ORDER BY tenant_id, object_id LIMIT {FINDINGS_MAX}"
    )
    found = (await connection.exec_driver_sql(limited)).all()
    findings = [Finding(invariant.code, row.tenant_id, row.object_id, row.problem) for row in found]
    return Checked(invariant.code, invariant.title, rows, found[0].total if found else 0, findings)


# --- beside the invariants ---


async def trial_balance(connection: AsyncConnection, tenant_id: str | None = None) -> list[dict[str, Any]]:
    """Every account with its balance, per currency (debit positive); their sum is zero."""
    query = (
        select(
            ledger_account.c.name,
            ledger_account.c.currency,
            ledger_account.c.kind,
            func.coalesce(func.sum(ledger_posting.c.amount), 0).label("balance"),
        )
        .outerjoin(
            ledger_posting,
            (ledger_posting.c.tenant_id == ledger_account.c.tenant_id)
            & (ledger_posting.c.account == ledger_account.c.name)
            & (ledger_posting.c.currency == ledger_account.c.currency),
        )
        .group_by(ledger_account.c.name, ledger_account.c.currency, ledger_account.c.kind)
        .order_by(ledger_account.c.currency, ledger_account.c.name)
    )
    if tenant_id is not None:
        query = query.where(ledger_account.c.tenant_id == tenant_id)
    return [dict(row) | {"balance": int(row["balance"])} for row in (await connection.execute(query)).mappings()]


async def open_payments(connection: AsyncConnection, older_than_s: float) -> list[dict[str, Any]]:
    """Payments that are open and to which nothing has happened for a while: each should have a workflow."""
    rows = await connection.execute(
        select(payment.c.id, payment.c.tenant_id, payment.c.status)
        .where(payment.c.status.not_in(sorted(TERMINAL)), payment.c.updated_at < _ago(older_than_s))
        .order_by(payment.c.id)
    )
    return [dict(row) for row in rows.mappings()]


async def ended_among(
    connection: AsyncConnection, payment_ids: Sequence[str], older_than_s: float
) -> list[dict[str, Any]]:
    """Those of the payments that ended a while ago: none should have a workflow."""
    rows = await connection.execute(
        select(payment.c.id, payment.c.tenant_id, payment.c.status)
        .where(
            payment.c.id.in_(payment_ids),
            payment.c.status.in_(sorted(TERMINAL)),
            payment.c.updated_at < _ago(older_than_s),
        )
        .order_by(payment.c.id)
    )
    return [dict(row) for row in rows.mappings()]


def _ago(seconds: float) -> Any:
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
