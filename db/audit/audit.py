"""The money invariants, each as one query that returns what violates it: no rows is a clean audit.

All of them are read in one snapshot (repeatable read, read only), so that a running system audits clean: what belongs
together is committed together. What takes its time is given it: the graces are in `db.audit.invariant`, each with its
reason. The I's are those of the design; the P's are what else the rows promise each other; the R's are of the
reconciliation. I13, the seal of the ledger, is computed over all of it and is a function in the place of a query.
"""

# ruff: noqa: S608 - what is put into the queries are the constants of this file and of those with the invariants

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.audit.authorisations import AUTHORISATIONS
from db.audit.books import BOOKS
from db.audit.charges import CHARGES
from db.audit.disputes import DISPUTES
from db.audit.events import EVENTS
from db.audit.invariant import Answer, Finder, Invariant, Violation
from db.audit.months import MONTHS
from db.audit.payments import PAYMENTS
from db.audit.payouts import PAYOUTS
from db.audit.people import PEOPLE
from db.audit.reconciliation import RECONCILIATION
from db.audit.refunds import REFUNDS
from db.audit.seal import SEAL_CODE, seal_invariant
from db.core.database import Database
from db.core.snapshot import in_snapshot
from db.schema.payment import payment
from domain.seal import Head
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
    """An invariant's result: the rows it looked through, those that violate it, the first of these; `note` is a
    remark."""

    code: str
    title: str
    rows: int
    violations: int
    findings: list[Finding] = field(default_factory=list)
    note: str = ""


INVARIANTS: tuple[Invariant, ...] = tuple(
    sorted(
        (
            *BOOKS,
            seal_invariant(),
            *CHARGES,
            *PAYMENTS,
            *AUTHORISATIONS,
            *REFUNDS,
            *DISPUTES,
            *PAYOUTS,
            *PEOPLE,
            *MONTHS,
            *EVENTS,
            *RECONCILIATION,
        ),
        key=lambda invariant: (invariant.code[0], int(invariant.code[1:])),
    )
)


def expecting(head: Head) -> tuple[Invariant, ...]:
    """All of them, and the chain of the seal has to lead through a block that was written down elsewhere."""
    return tuple(seal_invariant(head) if invariant.code == SEAL_CODE else invariant for invariant in INVARIANTS)


async def run_audit(database: Database, invariants: Sequence[Invariant] = INVARIANTS) -> list[Checked]:
    """Ask each invariant, all in one snapshot. A statement is bounded by the database's own timeout."""
    return await in_snapshot(database, lambda connection: ask_each(connection, invariants))


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
    ask = _of_query(invariant.ask) if isinstance(invariant.ask, str) else invariant.ask
    answer = await ask(connection, FINDINGS_MAX)
    findings = [Finding(invariant.code, *violation) for violation in answer.first]
    return Checked(invariant.code, invariant.title, rows, answer.violations, findings, answer.note)


def _of_query(sql: str) -> Finder:
    async def look(connection: AsyncConnection, findings_max: int) -> Answer:
        limited = (
            f"SELECT tenant_id, object_id, problem, count(*) OVER () AS total FROM ({sql}) AS violations"
            f" ORDER BY tenant_id, object_id LIMIT {findings_max:d}"
        )
        found = (await connection.exec_driver_sql(limited)).all()
        return Answer(found[0].total if found else 0, [Violation(r.tenant_id, r.object_id, r.problem) for r in found])

    return look


# --- beside the invariants ---


@dataclass(frozen=True)
class PaymentState:
    """A payment, as it is compared with its workflow."""

    id: str
    tenant_id: str
    status: str


async def open_payments(connection: AsyncConnection, older_than_s: float) -> list[PaymentState]:
    """Payments that are open and to which nothing has happened for a while: each should have a workflow."""
    rows = await connection.execute(
        select(payment.c.id, payment.c.tenant_id, payment.c.status)
        .where(payment.c.status.not_in(sorted(TERMINAL)), payment.c.updated_at < _ago(older_than_s))
        .order_by(payment.c.id)
    )
    return [PaymentState(row.id, row.tenant_id, row.status) for row in rows]


async def ended_among(
    connection: AsyncConnection, payment_ids: Sequence[str], older_than_s: float
) -> list[PaymentState]:
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
    return [PaymentState(row.id, row.tenant_id, row.status) for row in rows]


def _ago(seconds: float) -> Any:
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
