"""Staging: a run's lines are copied as they are listed, each page in one transaction with the position where the next
one begins. Whoever is killed on the way leaves whole pages, and the next worker goes on behind them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import outbox
from db.payout import trace
from db.reconciliation import run as reconciliation
from db.schema.reconciliation import reconciliation_line, reconciliation_run
from domain.reconciliation.lines import BankLine, PspLine
from domain.reconciliation.reconciliation import RunStatus, Subject, run_event

BANK_KIND = "bank"

_COLUMNS = (
    "run_id", "line_no", "reference", "kind", "amount", "fee", "currency", "occurred_at", "available_on",
    "source_reference", "charge_reference", "our_reference", "description", "names",
)  # fmt: skip


@dataclass(frozen=True)
class Position:
    """The position of a run's staging: `cursor` is the next page's, None at the beginning; `lines` are here; `pages`
    were read."""

    cursor: str | None
    pages: int
    lines: int
    done: bool


def position_of(row: dict[str, Any]) -> Position:
    return Position(row["cursor"], row["pages"], row["lines"], row["staged_at"] is not None)


async def stage(
    connection: AsyncConnection,
    run_id: str,
    lines: Sequence[PspLine | BankLine],
    *,
    read: int,
    following: str | None,
    last: bool,
    notes: Sequence[str] = (),
) -> Position:
    """Keep a page and where the next one begins, and with the last one what there is to say about them all. `read`:
    the number of the page, from 0: one that is here already, or that does not follow the last one, changes nothing.
    Returns where staging stands now."""
    row = await reconciliation.get(connection, run_id, lock=True)
    position = position_of(row)
    if position.done or position.pages != read or row["status"] != RunStatus.STAGING.value:
        return position
    first = position.lines + 1
    records = [_record(run_id, number, line) for number, line in enumerate(lines, first)]
    if records:
        await _copy(connection, records)
        await trace.keep(connection, row["psp"], _traces(lines))
    values: dict[str, Any] = {"cursor": following, "pages": read + 1, "lines": position.lines + len(records)}
    if last:
        values |= {"status": RunStatus.MATCHING.value, "staged_at": func.now(), "notes": list(notes)}
        values |= await _window(connection, row)
    changed = await connection.execute(
        update(reconciliation_run)
        .where(reconciliation_run.c.id == run_id)
        .values(**values, updated_at=func.now())
        .returning(reconciliation_run)
    )
    if last:
        moved = changed.mappings().one()
        await outbox.add(connection, [run_event("matching", moved, moved["staged_at"])])
    return Position(following, read + 1, position.lines + len(records), last)


async def _copy(connection: AsyncConnection, records: list[tuple[Any, ...]]) -> None:
    """COPY through the driver's own connection: it is in the same transaction as the statement before it."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.copy_records_to_table("reconciliation_line", records=records, columns=_COLUMNS)


async def _window(connection: AsyncConnection, row: dict[str, Any]) -> dict[str, Any]:
    """A file that came without a window speaks of the time of its lines; a bank's, of whole days."""
    if row["window_from"] is not None:
        return {}
    line = reconciliation_line.c
    ends = (
        await connection.execute(
            select(
                func.min(line.occurred_at), func.max(line.occurred_at) + func.make_interval(0, 0, 0, 0, 0, 0, 1)
            ).where(line.run_id == row["id"])
        )
    ).one()
    if ends[0] is None:
        return {}
    if row["subject"] == Subject.BANK:
        zone = ZoneInfo(row["zone"] or "UTC")
        first, last = (moment.astimezone(zone).date() for moment in ends)
        after = last + timedelta(days=1)
        return {
            "window_from": datetime.combine(first, time(), zone),
            "window_to": datetime.combine(after, time(), zone),
        }
    return {"window_from": ends[0], "window_to": ends[1]}


def _traces(lines: Sequence[PspLine | BankLine]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if isinstance(line, PspLine) and line.trace_id is not None and line.source_reference is not None:
            yield line.source_reference, line.trace_id


def _record(run_id: str, number: int, line: PspLine | BankLine) -> tuple[Any, ...]:
    if isinstance(line, PspLine):
        return (
            run_id, number, line.reference, line.kind.value, line.amount, line.fee, line.currency, line.occurred_at,
            line.available_on, line.source_reference, line.charge_reference, line.our_reference, line.description,
            [line.trace_id] if line.trace_id is not None else None,
        )  # fmt: skip
    names: list[str] = list(line.references)
    return (
        run_id, number, line.reference, BANK_KIND, line.amount, 0, line.currency, line.booked_at, None, None, None,
        None, line.text, names,
    )  # fmt: skip


def bounds(row: dict[str, Any]) -> tuple[datetime, datetime]:
    """The time that the PSP is asked for: the window and the margin on both sides of it."""
    margin = timedelta(seconds=row["margin_s"])
    return row["window_from"] - margin, row["window_to"] + margin
