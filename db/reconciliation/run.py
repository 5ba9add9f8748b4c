"""Runs of the reconciliation: opened once, read with their lines and items, ended."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, Text, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import task
from db.core import outbox
from db.reconciliation.record import Item
from db.schema.base import PLATFORM_TENANT
from db.schema.reconciliation import discrepancy, reconciliation_item, reconciliation_run, settlement_file
from db.schema.tenant import tenant
from domain.ids import new_id
from domain.reconciliation.reconciliation import (
    BOOKING_FIXES,
    BY_ITSELF,
    FAILED_KIND,
    NewRun,
    RunStatus,
    Subject,
    run_event,
)

_ENDED = (RunStatus.COMPLETED.value, RunStatus.FAILED.value)


async def open_run(connection: AsyncConnection, new: NewRun, run_id: str | None = None) -> dict[str, Any]:
    """Store a run, once per key; the row. Raises KeyError for a file that the tenant does not have."""
    values: dict[str, Any] = {
        name: getattr(new, name)
        for name in ("key", "tenant_id", "psp", "window_from", "window_to", "business_date", "zone")
    }
    values |= {"margin_s": new.margin_s, "apply": new.apply, "actor": new.by, "at": new.at}
    values |= {"subject": new.subject.value, "source": new.source.value, "status": RunStatus.STAGING.value}
    if new.file_id is not None:
        values |= await _file(connection, new)
    found = await connection.execute(
        upsert(reconciliation_run)
        .values(id=run_id or new_id("rec"), **values)
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(reconciliation_run)
    )
    row = found.mappings().one_or_none()
    if row is not None:
        await outbox.add(connection, [run_event("started", row, row["at"])])
        return dict(row)
    known = await connection.execute(select(reconciliation_run).where(reconciliation_run.c.key == new.key))
    return dict(known.mappings().one())


async def under_way(connection: AsyncConnection, tenant_id: str) -> int:
    """Count the runs of a tenant that have not ended. Others of it that ask wait for this transaction."""
    await connection.execute(select(tenant.c.id).where(tenant.c.id == tenant_id).with_for_update())
    found: int | None = await connection.scalar(
        select(func.count())
        .select_from(reconciliation_run)
        .where(reconciliation_run.c.tenant_id == tenant_id, reconciliation_run.c.status.not_in(_ENDED))
    )
    return found or 0


async def _file(connection: AsyncConnection, new: NewRun) -> dict[str, Any]:
    found = await connection.execute(
        select(settlement_file.c.id, settlement_file.c.name, settlement_file.c.sha256).where(
            settlement_file.c.id == new.file_id,
            settlement_file.c.tenant_id == new.tenant_id,
            settlement_file.c.kind == new.subject.value,
        )
    )
    row = found.one_or_none()
    if row is None:
        raise KeyError(new.file_id)
    return {"file_id": row.id, "file_name": row.name, "file_sha256": row.sha256.hex()}


async def get(connection: AsyncConnection, run_id: str, *, lock: bool = False) -> dict[str, Any]:
    """The run's row, under its lock if told."""
    query = select(reconciliation_run).where(reconciliation_run.c.id == run_id)
    return dict((await connection.execute(query.with_for_update() if lock else query)).mappings().one())


async def note(connection: AsyncConnection, run_id: str, sentences: Sequence[str]) -> None:
    """Add remarks for people about how the lines were matched."""
    notes = reconciliation_run.c.notes
    more = bindparam("more", list(sentences), type_=ARRAY(Text))
    await connection.execute(
        update(reconciliation_run)
        .where(reconciliation_run.c.id == run_id)
        .values(notes=func.array_cat(func.coalesce(notes, text("'{}'::text[]")), more))
    )


async def fail(connection: AsyncConnection, run_id: str, failure: str, at: datetime) -> None:
    """End a run that cannot be carried out; nothing was judged. Who asked for it sees that; of one that ran by itself
    an operator is told."""
    ended = await connection.execute(
        update(reconciliation_run)
        .where(reconciliation_run.c.id == run_id, reconciliation_run.c.status.not_in(_ENDED))
        .values(status=RunStatus.FAILED.value, failure=failure, completed_at=at, updated_at=func.now())
        .returning(reconciliation_run)
    )
    row = ended.mappings().one_or_none()
    if row is None:
        return
    await outbox.add(connection, [run_event("failed", row, at)])
    if row["actor"] == BY_ITSELF:
        await task.open_task(connection, row["tenant_id"], None, FAILED_KIND, failure, object_id=run_id)


async def complete(connection: AsyncConnection, run_id: str, at: datetime) -> dict[str, Any]:
    """End a run, once, with its event; the row."""
    row = await get(connection, run_id, lock=True)
    if row["status"] in _ENDED:
        return row
    ended = await connection.execute(
        update(reconciliation_run)
        .where(reconciliation_run.c.id == run_id)
        .values(status=RunStatus.COMPLETED.value, completed_at=at, updated_at=func.now())
        .returning(reconciliation_run)
    )
    row = dict(ended.mappings().one())
    await outbox.add(connection, [run_event("completed", row, at)])
    return row


async def count_fixes(connection: AsyncConnection, run_id: str, at: datetime) -> None:
    """Write down how many of the run's discrepancies were booked by rule, and of how many a workflow was asked, as of
    `at`: from the rows, so that a step that is carried out again counts nothing twice."""
    d = discrepancy.c
    of_run = select(func.count()).select_from(discrepancy).where(d.last_run_id == run_id)
    booked = (d.resolution.in_([fix.value for fix in BOOKING_FIXES]), d.resolved_by == BY_ITSELF, d.resolved_at == at)
    await connection.execute(
        update(reconciliation_run)
        .where(reconciliation_run.c.id == run_id)
        .values(
            fixed=of_run.where(*booked).scalar_subquery(),
            asked=of_run.where(d.fix_asked_at == at).scalar_subquery(),
            updated_at=func.now(),
        )
    )


async def count(connection: AsyncConnection, run_id: str, **more: int) -> None:
    """Add to the run's `closed`, in the transaction that closes."""
    columns = reconciliation_run.c
    await connection.execute(
        update(reconciliation_run)
        .where(columns.id == run_id)
        .values(**{name: columns[name] + number for name, number in more.items()}, updated_at=func.now())
    )


async def unfinished(connection: AsyncConnection, after_s: float, after_id: str, limit: int) -> list[dict[str, Any]]:
    """Runs that have not ended and that no step has touched for so long; by id, a page at a time."""
    run = reconciliation_run.c
    rows = await connection.execute(
        select(reconciliation_run)
        .where(run.status.not_in(_ENDED), run.updated_at < func.now() - timedelta(seconds=after_s), run.id > after_id)
        .order_by(run.id)
        .limit(limit)
    )
    return [dict(row) for row in rows.mappings()]


# --- reading ---


async def tenants_shown(connection: AsyncConnection, tenant_id: str | None) -> list[str] | None:
    """The tenants whose rows a tenant sees: its own, and what belongs to nobody where it is alone on this PSP account.
    None (an operator): all."""
    if tenant_id is None:
        return None
    others = await connection.scalar(
        select(tenant.c.id).where(tenant.c.id.not_in([tenant_id, PLATFORM_TENANT])).limit(1)
    )
    return [tenant_id] if others else [tenant_id, PLATFORM_TENANT]


async def tenants_fixed(connection: AsyncConnection, run: Mapping[str, Any]) -> list[str] | None:
    """The tenants whose discrepancies a run may settle: those of the tenant that asked for it, as it sees them. None
    (the platform's): all."""
    return await tenants_shown(connection, None if run["tenant_id"] == PLATFORM_TENANT else run["tenant_id"])


async def find(connection: AsyncConnection, tenant_id: str | None, run_id: str) -> dict[str, Any] | None:
    """The run's row, if it is of this tenant (None: of any), or None."""
    query = select(reconciliation_run).where(reconciliation_run.c.id == run_id)
    shown = await tenants_shown(connection, tenant_id)
    if shown is not None:
        query = query.where(reconciliation_run.c.tenant_id.in_(shown))
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else dict(row)


async def page(
    connection: AsyncConnection,
    tenant_id: str | None,
    *,
    subject: Subject | None = None,
    status: str | None = None,
    before: int | None = None,
    limit: int,
) -> list[dict[str, Any]]:
    """Runs, newest first; `before` is the sequence number that a page ended with."""
    query: Select[Any] = select(reconciliation_run).order_by(reconciliation_run.c.seq.desc()).limit(limit)
    shown = await tenants_shown(connection, tenant_id)
    if shown is not None:
        query = query.where(reconciliation_run.c.tenant_id.in_(shown))
    for column, wanted in ((reconciliation_run.c.subject, subject), (reconciliation_run.c.status, status)):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(reconciliation_run.c.seq < before)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def items(
    connection: AsyncConnection,
    tenant_id: str | None,
    run_id: str,
    *,
    cls: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Item]:
    """The items of a run that are the tenant's, which were not plainly matched; `discrepancy_status` is the present
    one, `after` is the `seq` that a page ended with."""
    query: Select[Any] = (
        select(reconciliation_item, discrepancy.c.status.label("discrepancy_status"))
        .outerjoin(discrepancy, discrepancy.c.id == reconciliation_item.c.discrepancy_id)
        .where(reconciliation_item.c.run_id == run_id, reconciliation_item.c.seq > after)
        .order_by(reconciliation_item.c.seq)
        .limit(limit)
    )
    shown = await tenants_shown(connection, tenant_id)
    if shown is not None:
        query = query.where(reconciliation_item.c.tenant_id.in_(shown))
    if cls is not None:
        query = query.where(reconciliation_item.c["class"] == cls)
    return [Item.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]
