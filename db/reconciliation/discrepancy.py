"""Discrepancies: what people see and decide, and who is told when nobody does. Nothing of them is ever erased."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import outbox
from db.ledger import posting as ledger
from db.reconciliation import finding as reconciliation_finding
from db.reconciliation import run as reconciliation
from db.schema.payment import charge
from db.schema.reconciliation import discrepancy, reconciliation_line, reconciliation_run
from db.schema.refund import refund
from db.schema.tenant import operator_task
from domain import ledger as books
from domain.ids import new_id
from domain.ledger import Kind, Posting, Transaction
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.lines import PspLineKind
from domain.reconciliation.reconciliation import (
    TASK_KIND,
    Decision,
    DiscrepancyStatus,
    ResolveStep,
    Subject,
    discrepancy_event,
)

_OPEN = DiscrepancyStatus.OPEN.value


# --- reading ---


async def get(connection: AsyncConnection, discrepancy_id: str, *, lock: bool = False) -> Discrepancy:
    """The discrepancy of a stored id, under its row lock if told."""
    query = select(discrepancy).where(discrepancy.c.id == discrepancy_id)
    return _of((await connection.execute(query.with_for_update() if lock else query)).mappings().one())


def _of(row: Mapping[Any, Any]) -> Discrepancy:
    return Discrepancy.model_validate(dict(row))


async def find(connection: AsyncConnection, tenant_id: str | None, discrepancy_id: str) -> Discrepancy | None:
    """The discrepancy, if it is of this tenant (None: of any), or None."""
    query = select(discrepancy).where(discrepancy.c.id == discrepancy_id)
    shown = await reconciliation.tenants_shown(connection, tenant_id)
    if shown is not None:
        query = query.where(discrepancy.c.tenant_id.in_(shown))
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _of(row)


async def page(
    connection: AsyncConnection,
    tenant_id: str | None,
    *,
    status: str | None = None,
    cls: str | None = None,
    run_id: str | None = None,
    payment_id: str | None = None,
    overdue_at: datetime | None = None,
    before: int | None = None,
    limit: int,
) -> list[Discrepancy]:
    """Newest first; `before` is the `seq` that a page ended with; `run_id`: the last run that found it; `overdue_at`:
    open past their deadline then."""
    d = discrepancy.c
    query: Select[Any] = select(discrepancy).order_by(d.seq.desc()).limit(limit)
    shown = await reconciliation.tenants_shown(connection, tenant_id)
    if shown is not None:
        query = query.where(d.tenant_id.in_(shown))
    wanted = ((d.status, status), (d["class"], cls), (d.last_run_id, run_id), (d.payment_id, payment_id))
    query = query.where(*(column == value for column, value in wanted if value is not None))
    if overdue_at is not None:
        query = query.where(d.status == _OPEN, d.due_at <= overdue_at)
    if before is not None:
        query = query.where(d.seq < before)
    return [_of(row) for row in (await connection.execute(query)).mappings()]


class OpenCount(NamedTuple):
    """The number of open discrepancies of a class, and of those past their deadline."""

    psp: str
    subject: str
    cls: str
    open: int
    overdue: int


async def open_counts(connection: AsyncConnection, at: datetime, tenant_id: str | None = None) -> list[OpenCount]:
    """Count what is open at `at`, by PSP, subject and class."""
    d = discrepancy.c
    query = (
        select(
            d.psp,
            d.subject,
            d["class"],
            func.count().label("open"),
            func.count().filter(d.due_at <= at).label("overdue"),
        )
        .where(d.status == _OPEN)
        .group_by(d.psp, d.subject, d["class"])
        .order_by(d.psp, d.subject, d["class"])
    )
    shown = await reconciliation.tenants_shown(connection, tenant_id)
    if shown is not None:
        query = query.where(d.tenant_id.in_(shown))
    return [OpenCount(*row) for row in await connection.execute(query)]


async def to_fix(
    connection: AsyncConnection, run_id: str, *, after: str, limit: int, asked: bool = False
) -> list[Discrepancy]:
    """Open ones of a run with a proposed fix, by id, as far as the run may settle them. `asked`: those whose workflow
    was told, to look at again."""
    d = discrepancy.c
    tenants = await reconciliation.tenants_fixed(connection, await reconciliation.get(connection, run_id))
    query = (
        select(discrepancy)
        .where(d.last_run_id == run_id, d.status == _OPEN, d.fix.is_not(None), d.id > after)
        .order_by(d.id)
        .limit(limit)
    )
    if asked:
        query = query.where(d.fix_asked_at.is_not(None))
    if tenants is not None:
        query = query.where(d.tenant_id.in_(tenants))
    return [_of(row) for row in (await connection.execute(query)).mappings()]


# --- fixed by rule ---


async def asked(connection: AsyncConnection, discrepancy_id: str, note: str, at: datetime) -> None:
    """Note that a workflow was told. It stays open until the fact is there."""
    await connection.execute(
        update(discrepancy)
        .where(discrepancy.c.id == discrepancy_id, discrepancy.c.status == _OPEN)
        .values(fix_asked_at=at, fix_note=note, updated_at=func.now())
    )


async def end(
    connection: AsyncConnection,
    row: Discrepancy,
    status: DiscrepancyStatus,
    resolution: str,
    *,
    by: str,
    note: str | None,
    transaction_id: str | None,
    at: datetime,
) -> None:
    """Close an open one, whose row lock the caller has, with its task and its event."""
    ended = await connection.execute(
        update(discrepancy)
        .where(discrepancy.c.id == row.id, discrepancy.c.status == _OPEN)
        .values(
            status=status.value,
            resolution=resolution,
            note=note,
            resolved_by=by,
            resolved_at=at,
            ledger_transaction_id=transaction_id,
            updated_at=func.now(),
        )
        .returning(discrepancy)
    )
    changed = dict(ended.mappings().one())
    await reconciliation_finding.close_tasks(connection, [changed["id"]], by, resolution)
    await outbox.add(connection, [discrepancy_event("resolved", changed, at)])


# --- a person's decision ---


async def explained(connection: AsyncConnection, row: Discrepancy) -> str | None:
    """The sentence that says which other record of ours, or which line of the PSP's, is what this refund's break is
    about; None if there is none."""
    if row.kind not in (PspLineKind.REFUND, PspLineKind.REFUND_FAILURE):
        return None
    line, run = reconciliation_line.c, reconciliation_run.c
    if row.line_no is not None:
        named = (
            select(refund.c.id)
            .join(reconciliation_line, line.source_reference == refund.c.reference)
            .where(
                line.run_id == row.line_run_id,
                line.line_no == row.line_no,
                refund.c.payment_id == row.payment_id,
                refund.c.id.is_distinct_from(row.object_id),
            )
        )
        record = await connection.scalar(named)
        return None if record is None else f"{row.line_reference} is the refund {record} here."
    listed = (
        select(line.reference)
        .join(refund, refund.c.reference == line.source_reference)
        .join(charge, (charge.c.id == refund.c.charge_id) & (charge.c.reference == line.charge_reference))
        .join(reconciliation_run, run.id == line.run_id)
        .where(refund.c.id == row.object_id, line.kind == row.kind, run.matched_at.is_not(None))
        .limit(1)
    )
    reference = await connection.scalar(listed)
    return None if reference is None else f"The PSP lists {row.object_id} as {reference}."


async def book_decision(connection: AsyncConnection, row: Discrepancy, step: ResolveStep) -> str | None:
    """Book `adjust` or `to_suspense`: the transaction's id. It brings the ledger to what the other side says, in each
    currency; its source is the discrepancy, so it is booked once."""
    account = books.BANK if row.subject is Subject.BANK else books.psp_clearing(row.psp)
    suspense = step.decision is Decision.TO_SUSPENSE
    against = books.SUSPENSE if suspense else books.ADJUSTMENTS
    kind = Kind.SUSPENSE if suspense else Kind.ADJUSTMENT
    postings: list[Posting] = []
    for currency, amount in (row.differences or {}).items():
        postings += [
            Posting(account=account, currency=currency, amount=amount),
            Posting(account=against, currency=currency, amount=-amount),
        ]
    transaction = Transaction(kind=kind, source_id=row.id, postings=tuple(postings))
    await ledger.post(connection, row.tenant_id, [transaction], step.at)
    return await ledger.transaction_id(connection, kind, row.id)


# --- the alarm ---


async def alert(connection: AsyncConnection, at: datetime, limit: int = 1_000) -> list[Discrepancy]:
    """Open a task for each that is open past its deadline and has none, with its event; a page of those that it was
    opened for."""
    d, k = discrepancy.c, operator_task.c
    told = select(k.id).where(k.object_id == d.id, k.kind == TASK_KIND, k.closed_at.is_(None)).exists()
    rows = await connection.execute(
        select(discrepancy).where(d.status == _OPEN, d.due_at <= at, ~told).order_by(d.due_at, d.id).limit(limit)
    )
    late = [dict(row) for row in rows.mappings()]
    if late:
        await connection.execute(upsert(operator_task).on_conflict_do_nothing(), [_task(row) for row in late])
        await outbox.add(connection, [discrepancy_event("overdue", row, at) for row in late])
    return [_of(row) for row in late]


def _task(row: Mapping[str, Any]) -> dict[str, Any]:
    """About the discrepancy, not its payment: a payment may have several, and each is closed with its own."""
    return {
        "id": new_id("task"),
        "tenant_id": row["tenant_id"],
        "object_id": row["id"],
        "kind": TASK_KIND,
        "detail": row["reason"],
    }
