"""Discrepancies: what people see and decide, and who is told when nobody does. Nothing of them is ever erased."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log
from db.core import outbox
from db.ledger import posting as ledger
from db.reconciliation import finding as reconciliation_finding
from db.reconciliation import run as reconciliation
from db.schema.reconciliation import discrepancy
from db.schema.tenant import operator_task
from domain import ledger as books
from domain.errors import Conflict, NotFound, Unprocessable
from domain.ids import new_id
from domain.ledger import Kind, Posting, Transaction
from domain.reconciliation.reconciliation import (
    TASK_KIND,
    Decision,
    DiscrepancyStatus,
    ResolveStep,
    Subject,
    allowed_decisions,
    discrepancy_event,
    refusal,
)

_OPEN = DiscrepancyStatus.OPEN.value


# --- reading ---


async def get(connection: AsyncConnection, discrepancy_id: str, *, lock: bool = False) -> dict[str, Any]:
    query = select(discrepancy).where(discrepancy.c.id == discrepancy_id)
    return dict((await connection.execute(query.with_for_update() if lock else query)).mappings().one())


async def find(connection: AsyncConnection, tenant_id: str | None, discrepancy_id: str) -> dict[str, Any] | None:
    """Of this tenant (None: of any), or None."""
    query = select(discrepancy).where(discrepancy.c.id == discrepancy_id)
    shown = await reconciliation.tenants_shown(connection, tenant_id)
    if shown is not None:
        query = query.where(discrepancy.c.tenant_id.in_(shown))
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else dict(row)


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
) -> list[dict[str, Any]]:
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
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def open_counts(connection: AsyncConnection, at: datetime, tenant_id: str | None = None) -> list[dict[str, Any]]:
    """`{psp, subject, class, open, overdue}` of what is open at `at`."""
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
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def to_fix(
    connection: AsyncConnection, run_id: str, *, after: str, limit: int, asked: bool = False
) -> list[dict[str, Any]]:
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
    return [dict(row) for row in (await connection.execute(query)).mappings()]


# --- fixed by rule ---


async def asked(connection: AsyncConnection, discrepancy_id: str, note: str, at: datetime) -> None:
    """A workflow was told. It stays open until the fact is there."""
    await connection.execute(
        update(discrepancy)
        .where(discrepancy.c.id == discrepancy_id, discrepancy.c.status == _OPEN)
        .values(fix_asked_at=at, fix_note=note, updated_at=func.now())
    )


async def end(
    connection: AsyncConnection,
    row: Mapping[str, Any],
    status: DiscrepancyStatus,
    resolution: str,
    *,
    by: str,
    note: str | None,
    transaction_id: str | None,
    at: datetime,
) -> dict[str, Any]:
    """Close an open one, with its task and its event; the row. It is locked by the caller."""
    ended = await connection.execute(
        update(discrepancy)
        .where(discrepancy.c.id == row["id"], discrepancy.c.status == _OPEN)
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
    return changed


# --- a person's decision ---


async def resolve(connection: AsyncConnection, step: ResolveStep, tenant_id: str | None = None) -> dict[str, Any]:
    """Do what a person decided, but for `apply_fix`, which is the activities': the row.

    Raises NotFound; Conflict `discrepancy_closed`; Unprocessable `decision_not_allowed`, `note_required`.
    """
    row = await check(connection, step, tenant_id)
    transaction_id = None
    if step.decision in (Decision.ADJUST, Decision.TO_SUSPENSE):
        transaction_id = await _book(connection, row, step)
    changed = await end(
        connection,
        row,
        DiscrepancyStatus.RESOLVED,
        step.decision.value,
        by=step.by,
        note=step.note or None,
        transaction_id=transaction_id,
        at=step.at,
    )
    await audit(connection, row, step, transaction_id)
    return changed


async def check(connection: AsyncConnection, step: ResolveStep, tenant_id: str | None = None) -> dict[str, Any]:
    """The discrepancy under its lock, if this can be decided about it now. Raises as `resolve`."""
    found = await find(connection, tenant_id, step.discrepancy_id)
    if found is None:
        raise NotFound("There is no such discrepancy.", code="discrepancy_not_found")
    row = await get(connection, step.discrepancy_id, lock=True)
    if row["status"] != _OPEN:
        detail = f"It is {row['status']} by {row['resolved_by']}: {row['resolution']}."
        raise Conflict(detail, code="discrepancy_closed")
    allowed = allowed_decisions(row)
    if step.decision not in allowed:
        names = ", ".join(allowed)
        why = refusal(row, step.decision)
        detail = f"{why} A discrepancy of the class {row['class']} like this one takes: {names}."
        raise Unprocessable(detail, code="decision_not_allowed", allowed=names)
    if step.decision is Decision.ACCEPT and not step.note.strip():
        raise Unprocessable("Nothing is booked: the note has to explain it.", code="note_required")
    return row


async def audit(
    connection: AsyncConnection, row: Mapping[str, Any], step: ResolveStep, transaction_id: str | None
) -> None:
    detail = {
        "decision": step.decision.value,
        "note": step.note,
        "class": row["class"],
        "reason": row["reason"],
        "ledger_transaction": transaction_id,
    }
    await audit_log.record(connection, row["tenant_id"], step.by, "discrepancy.resolve", row["id"], detail)


async def _book(connection: AsyncConnection, row: Mapping[str, Any], step: ResolveStep) -> str | None:
    """Bring the ledger to what the other side says, in each currency; the transaction's source is the discrepancy, so
    it is booked once."""
    account = books.BANK if row["subject"] == Subject.BANK else books.psp_clearing(row["psp"])
    suspense = step.decision is Decision.TO_SUSPENSE
    against = books.SUSPENSE if suspense else books.ADJUSTMENTS
    kind = Kind.SUSPENSE if suspense else Kind.ADJUSTMENT
    postings: list[Posting] = []
    for currency, amount in row["differences"].items():
        postings += [
            Posting(account=account, currency=currency, amount=amount),
            Posting(account=against, currency=currency, amount=-amount),
        ]
    transaction = Transaction(kind=kind, source_id=row["id"], postings=tuple(postings))
    await ledger.post(connection, row["tenant_id"], [transaction], step.at)
    return await ledger.transaction_id(connection, kind, row["id"])


# --- the alarm ---


async def alert(connection: AsyncConnection, at: datetime, limit: int = 1_000) -> list[dict[str, Any]]:
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
    return late


def _task(row: Mapping[str, Any]) -> dict[str, Any]:
    """About the discrepancy, not its payment: a payment may have several, and each is closed with its own."""
    return {
        "id": new_id("task"),
        "tenant_id": row["tenant_id"],
        "object_id": row["id"],
        "kind": TASK_KIND,
        "detail": row["reason"],
    }
