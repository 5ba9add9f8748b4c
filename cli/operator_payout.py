"""What operators do about payouts: make one, stop one, decide about one; when a seller is paid; release what is due.

Each decision is written to the audit log with the name of whoever made it. It goes into the row first; the workflow is
told, or finds it there.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from activities.payout import check_reference
from api.payout import Wish, new_payout, release_due
from api.views.payout import payout_item
from cli.hints import schedule_words
from cli.operator_ledger import opened, written
from cli.operator_merchant import find_merchant
from cli.refusals import refusals
from config.settings import Settings
from db import audit_log
from db.core.database import Database
from db.payout import lifecycle as payout_lifecycle
from db.payout import payout, release
from db.payout import schedule as payout_schedule
from db.payout.record import Payout
from db.schema.base import PLATFORM_TENANT
from domain.card_data import require_text
from domain.errors import Unavailable
from domain.ids import new_id
from domain.money import MoneyError, parse_major, to_major
from domain.payout import (
    WEEKDAYS,
    Interval,
    PayoutDecision,
    PayoutResolution,
    PayoutResolutionStep,
    PayoutSchedule,
    PayoutState,
    ReleaseFundsStep,
    next_due,
    next_run_day,
)
from domain.statement import csv_line, moment, plain
from domain.status import PayoutStatus
from embedded.errors import StackError
from runtime.wiring import Runtime, bank_wait_policy

_PATIENCE_S = 8.0
_LOOK_S = 0.2


async def find_payout(database: Database, payout_id: str) -> Payout:
    found = await database.read(lambda c: payout.find(c, None, payout_id)) if payout_id.isprintable() else None
    if found is None:
        raise StackError(f"There is no payout {payout_id}: `paysaga payouts list` shows them.")
    return found


async def create_payout(
    runtime: Runtime, seller: str, tenant: str | None, amount: str | None, currency: str | None, by: str
) -> str:
    """All that is available, or `amount` of it, in major units."""
    row = await find_merchant(runtime.database, seller, tenant)
    wish = Wish(row["tenant_id"], row["seller_account"], amount, currency, by)
    payout_id = new_id("pt")

    async def work(connection: Any) -> Payout:
        new = await new_payout(connection, runtime, payout_id, wish)
        made = await payout.request(connection, new, datetime.now(UTC))
        detail = {"seller_account": made.seller_account, "amount": made.amount, "currency": made.currency}
        await audit_log.record(connection, made.tenant_id, by, "payout.create", made.id, detail)
        return made

    with refusals(wish.seller_account):
        await release_due(runtime, wish.tenant_id, wish.seller_account)
        made = await runtime.database.run_patiently(work)
    with contextlib.suppress(Unavailable):  # it is stored: the sweeper starts it
        await runtime.workflow_client.start_payout(made, fresh=True)
    made = await _beyond(runtime, made, PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED)
    why = f" ({made.failure.message})" if made.failure else ""
    return f"{made.id} of {to_major(made.amount, made.currency)} {made.currency} is {made.status}{why}."


async def _beyond(runtime: Runtime, row: Payout, *statuses: PayoutStatus) -> Payout:
    """The payout once it has left these, or as it is when the wait is over."""
    payout_id = row.id
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while row.status in statuses:
                await asyncio.sleep(_LOOK_S)
                row = await runtime.database.read(lambda c: payout.get(c, payout_id))
    return row


async def cancel_payout(runtime: Runtime, payout_id: str, by: str) -> str:
    """Raises StackError where it is too late."""
    before = await find_payout(runtime.database, payout_id)

    async def mark(connection: Any) -> Payout:
        found = await payout_lifecycle.request_cancel(connection, before.id, by, datetime.now(UTC))
        await audit_log.record(
            connection, found.tenant_id, by, "payout.cancel", found.id, {"status": found.status.value}
        )
        return found

    if before.status is PayoutStatus.CANCELLED:
        return f"{before.id} is CANCELLED already."
    with refusals(before.id):
        found = await runtime.database.run(mark)
    with contextlib.suppress(Unavailable):  # the mark is on the row: its next look, or the sweeper, acts on it
        await runtime.workflow_client.start_payout(found, fresh=not payout_lifecycle.listens(found))
    now = await _decided(runtime, found)
    if now.cancel_failure is not None:
        raise StackError(f"{now.id} is {now.status} and goes on: {now.cancel_failure.message}")
    if now.status is PayoutStatus.CANCELLED:
        return f"{now.id} is CANCELLED: {to_major(now.amount, now.currency)} {now.currency} are in the wallet again."
    return f"{now.id} was {before.status}: it is being cancelled, if it is not too late."


async def _decided(runtime: Runtime, row: Payout) -> Payout:
    """The payout once its cancellation has come to something, or as it is when the wait is over."""
    payout_id = row.id
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while not row.ended and row.cancel_failure is None:
                await asyncio.sleep(_LOOK_S)
                row = await runtime.database.read(lambda c: payout.get(c, payout_id))
    return row


async def resolve_payout(runtime: Runtime, payout_id: str, resolution: PayoutResolution) -> str:
    """Decide about one that NEEDS_ATTENTION."""
    if resolution.decision is PayoutDecision.REFERENCE and not resolution.reference:
        raise StackError("The decision `reference` needs the PSP's name for it: --reference tr_… or po_…")
    row = await find_payout(runtime.database, payout_id)
    with refusals(row.id):
        timeout_s = runtime.settings.stripe_timeout_s
        await check_reference(runtime.psps[row.psp], row, resolution, timeout_s=timeout_s)
    step = PayoutResolutionStep(payout_id=row.id, resolution=resolution, at=datetime.now(UTC))

    async def work(connection: Any) -> PayoutState:
        bank = bank_wait_policy(runtime.settings)
        return await payout_lifecycle.resolve(connection, step, runtime.send_for_s, bank)

    with refusals(row.id):
        require_text(resolution.note)
        require_text(resolution.reference or "")
        state = await runtime.database.run(work)
    row = await runtime.database.read(lambda c: payout.get(c, payout_id))
    with contextlib.suppress(Unavailable):  # it is in the row: the workflow's next look, or the sweeper, goes on
        await runtime.workflow_client.start_payout(row)
    return f"{row.id} was NEEDS_ATTENTION and is {state.status}."


# --- schedules ---


@dataclass(frozen=True)
class ScheduleChange:
    """As it is typed; what is not said stays as it is."""

    daily: bool
    weekly: str | None
    monthly: str | None
    manual: bool
    minimum: tuple[str, ...]
    delay_days: int | None


async def set_schedule(
    settings: Settings, database: Database, seller: str, tenant: str | None, change: ScheduleChange, by: str
) -> str:
    row = await find_merchant(database, seller, tenant)
    schedule = _changed(payout_schedule.of(row), change)
    with refusals(row["seller_account"]):
        row = await database.run(
            lambda c: payout_schedule.put(c, row["tenant_id"], row["seller_account"], schedule, by)
        )
    day = next_due(schedule, next_run_day(datetime.now(UTC), settings.business_zone, settings.payout_run_at))
    following = f"; next on {day}" if day and payout_schedule.can_be_paid(row) else ""
    account = "" if row["payout_account"] else " It has no account at the PSP to be paid to."
    return f"{row['seller_account']} of {row['tenant_id']} is paid {schedule_words(schedule)}{following}.{account}"


def _changed(schedule: PayoutSchedule, change: ScheduleChange) -> PayoutSchedule:
    """Raises StackError."""
    chosen = [
        (Interval.DAILY, change.daily, (), ()),
        (Interval.WEEKLY, change.weekly is not None, _weekdays(change.weekly or ""), ()),
        (Interval.MONTHLY, change.monthly is not None, (), _monthdays(change.monthly or "")),
        (Interval.MANUAL, change.manual, (), ()),
    ]
    said = [(interval, weekdays, monthdays) for interval, wanted, weekdays, monthdays in chosen if wanted]
    if len(said) > 1:
        raise StackError("Say one of --daily, --weekly DAYS, --monthly DAYS and --manual.")
    if not said and not change.minimum and change.delay_days is None:
        raise StackError("Say --daily, --weekly DAYS, --monthly DAYS or --manual, or what else is to change.")
    interval, weekdays, monthdays = said[0] if said else (schedule.interval, schedule.weekdays, schedule.monthdays)
    minimum = dict(schedule.minimum) | dict(map(_minimum, change.minimum))
    try:
        return PayoutSchedule(
            interval=interval,
            weekdays=weekdays,
            monthdays=monthdays,
            minimum={currency: amount for currency, amount in minimum.items() if amount},
            delay_days=schedule.delay_days if change.delay_days is None else change.delay_days,
        )
    except ValidationError as error:
        raise StackError(f"That is no schedule: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from error


def _weekdays(text: str) -> tuple[int, ...]:
    """`mon,thursday`: enough of each name to know it."""
    days = set()
    for name in filter(None, (part.strip().lower() for part in text.split(","))):
        meant = [number for number, day in enumerate(WEEKDAYS) if day.startswith(name)]
        if len(meant) != 1:
            raise StackError(f"{name!r} is no day of the week: --weekly {','.join(WEEKDAYS[:2])}")
        days.add(meant[0])
    return tuple(sorted(days))


def _monthdays(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise StackError(f"{text!r} are no days of the month: --monthly 1,15")
    return tuple(sorted({int(part) for part in parts}))


def _minimum(text: str) -> tuple[str, int]:
    """`INR=100.00`"""
    currency, _, amount = text.partition("=")
    try:
        return currency, parse_major(amount, currency)
    except MoneyError as error:
        raise StackError(f"--minimum {text}: {error}") from error


# --- releases ---


def progress(console: Console) -> Progress:
    """A bar with how many of how many."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
        console=console,
    )  # fmt: skip


ITEM_COLUMNS = (
    "at", "description", "kind", "transaction_id", "payment_id", "order_id", "payment_order_id", "currency", "amount",
    "part_of", "returned",
)  # fmt: skip
_ITEMS_PAGE = 1_000


async def write_items(database: Database, payout_id: str, path: Path) -> RenderableType | None:
    """As CSV, page by page; the amounts add up to the payout's."""
    row = await find_payout(database, payout_id)
    after, lines = 0, 0
    with opened(path) as file:
        file.write(csv_line(ITEM_COLUMNS))
        while items := await database.read(
            lambda c, seq=after: payout.items(c, row.id, after=seq, limit=_ITEMS_PAGE)  # type: ignore[misc]
        ):
            for item in items:
                own = {"currency": item["currency"], "at": moment(item["at"])}
                own["payment_order_id"] = plain(item["payment_order_id"])
                shown = payout_item(item).model_dump() | own
                file.write(csv_line(["" if shown[c] is None else str(shown[c]) for c in ITEM_COLUMNS]))
            after, lines = items[-1]["posting_seq"], lines + len(items)
    return written(path, lines)


async def release_now(database: Database, console: Console, by: str) -> str:
    """Every order that is due now; what another transaction holds is left for the next time."""
    now = datetime.now(UTC)
    due = await database.read(lambda c: release.waiting(c, now))
    if not due:
        return "Nothing is due: what is pending becomes available later."
    step = ReleaseFundsStep(due_at=now, at=now)
    orders, more = 0, True
    with progress(console) as bar:
        line = bar.add_task("released", total=due, note="")
        while more:
            released = await database.run(lambda c: release.release(c, step))
            orders, more = orders + released.orders, released.more
            bar.update(line, completed=orders)
    detail = {"orders": orders}
    await database.run(lambda c: audit_log.record(c, PLATFORM_TENANT, by, "payout.release", "payment_order", detail))
    left = due - orders
    held = f"; {left} are held by others just now" if left > 0 else ""
    return f"{orders} order{'s are' if orders != 1 else ' is'} released: their sellers can be paid{held}."
