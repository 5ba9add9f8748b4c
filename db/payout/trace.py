"""The banks' own references of payouts (trace ids): written down when the PSP tells them, never changed."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.payout import payout_trace


async def keep(connection: AsyncConnection, psp: str, traces: Iterable[tuple[str | None, str | None]]) -> None:
    """Keep each (the PSP's payout, the bank's reference of it) once; one of them is None until it is told."""
    known = sorted({(payout, trace) for payout, trace in traces if payout is not None and trace is not None})
    rows = [{"psp": psp, "reference": payout, "trace_id": trace} for payout, trace in known]
    if rows:
        await connection.execute(upsert(payout_trace).on_conflict_do_nothing(), rows)


async def latest(connection: AsyncConnection, psp: str, reference: str | None) -> str | None:
    """The bank's reference of the PSP's payout of this name, or None."""
    trace = payout_trace.c
    found: str | None = await connection.scalar(
        select(trace.trace_id)
        .where(trace.psp == psp, trace.reference == reference)
        .order_by(trace.created_at.desc(), trace.trace_id)
        .limit(1)
    )
    return found
