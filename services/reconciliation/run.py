"""Runs of the reconciliation: asked for, stored and started; found, and summed up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO
from zoneinfo import ZoneInfo

from pydantic import Field

from db import audit_log
from db.core.database import Connection, Database
from db.core.idempotency import Request
from db.reconciliation import file, report, run
from db.reconciliation.record import SettlementFile
from db.reconciliation.report import Summary
from db.schema.base import PLATFORM_TENANT
from domain.calendar import known_zone
from domain.errors import BadRequest, Conflict, Forbidden, NotFound, Unavailable, Unprocessable
from domain.ids import CLIENT_ID, new_id
from domain.reconciliation.reconciliation import NewRun, ReconciliationReport, RunStatus, Source, Subject
from gateways.packed_file import looks_like_xml
from services.command import Caller, check, once

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from runtime.wiring import Runtime

WINDOW_DAYS_MAX = 400

FileName = Annotated[str, Field(min_length=1, max_length=200)]
"""A settlement file, as people know it."""

_YEARS = range(2000, 2200)
"""The years of a day that anybody may mean."""

_ENDED = (RunStatus.COMPLETED, RunStatus.FAILED)
_START_TIMEOUT_S = 5.0
_UNDER_WAY_MAX = 5
"""Runs of one tenant at once: each may copy a million lines."""


@dataclass(frozen=True)
class Wanted:
    """A run as it is asked for: over a business date, or a window (`until` is exclusive), or a file, which gives its
    own window. `zone`: of a file's times that have none; None: the business's. `apply`: what is safe by rule is done,
    else found and said only."""

    subject: Subject = Subject.PSP
    file_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    business_date: date | None = None
    zone: str | None = None
    apply: bool = False


@dataclass(frozen=True)
class Started:
    """A stored run and its workflow, which is None where the run had ended already; `replayed`: its key had been used
    before."""

    row: dict[str, Any]
    workflow: WorkflowHandle[Any, ReconciliationReport] | None
    replayed: bool


def yesterday(zone: str, now: datetime) -> date:
    """The business date before this moment, in the business's time zone."""
    return now.astimezone(ZoneInfo(zone)).date() - timedelta(days=1)


async def start(runtime: Runtime, caller: Caller, wanted: Wanted, *, request: Request | None = None) -> Started:
    """Store a run and start its workflow. Under a key that was used before it is the run of then, started again unless
    it has ended: that is following it.

    Raises Unprocessable `window_required`, `window_invalid`, `window_too_long`, `window_in_the_future`,
    `date_invalid`, `zone_invalid`, `file_required`, `file_unknown`; Forbidden `account_shared`; Conflict
    `idempotency_in_progress`, `reconciliations_under_way`; Unavailable where Temporal does not answer: the run is
    stored then, and the sweeper starts it.
    """
    new = _new_run(runtime, caller, wanted, datetime.now(UTC))

    async def store(connection: Connection) -> None:
        if new.file_id is not None:
            await _require_alone(connection, caller)
        if caller.tenant_id is not None:
            await _require_few(connection, caller.tenant_id)
        try:
            row = await run.open_run(connection, new, new.key)
        except KeyError as error:
            raise Unprocessable("There is no such file of this kind.", code="file_unknown") from error
        detail = {"subject": new.subject.value, "apply": new.apply, "file": row["file_name"]}
        await audit_log.record(connection, new.tenant_id, new.by, "reconciliation.run", new.key, detail)

    done = await once(runtime.database, new.tenant_id, request, new.key, store)
    row = await runtime.database.read(lambda c: run.get(c, done.object_id))
    return Started(row, await _start(runtime, row), done.replayed)


async def start_over_file(
    runtime: Runtime, caller: Caller, wanted: Wanted, name: str, content: AsyncIterator[bytes]
) -> Started:
    """Keep a file, as `upload`, and start a run over it, as `start`. Where the window is refused, it is not kept."""
    named = replace(wanted, file_id=name)
    _window(runtime.settings.business_zone, named, datetime.now(UTC))
    _zone(runtime.settings.business_zone, named)
    stored, _ = await upload(runtime, caller, wanted.subject, name, content)
    return await start(runtime, caller, replace(wanted, file_id=stored.id))


async def _start(runtime: Runtime, row: dict[str, Any]) -> WorkflowHandle[Any, ReconciliationReport] | None:
    if row["status"] in _ENDED:
        return None
    # Imported here, as the pages that read runs start without Temporal's client.
    from temporalio.service import RPCError

    from runtime.runs import start_stored_reconciliation

    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            return await start_stored_reconciliation(runtime.temporal, runtime.settings, row)
    except (RPCError, TimeoutError) as error:
        raise Unavailable(f"Temporal does not answer; {row['id']} is stored, and will be started.") from error


def _new_run(runtime: Runtime, caller: Caller, wanted: Wanted, now: datetime) -> NewRun:
    since, until = _window(runtime.settings.business_zone, wanted, now)
    return NewRun(
        key=new_id("rec"),
        tenant_id=caller.tenant_id or PLATFORM_TENANT,
        psp=runtime.psp.name,
        subject=wanted.subject,
        source=Source.API if wanted.file_id is None else Source.FILE,
        file_id=wanted.file_id,
        window_from=since,
        window_to=until,
        business_date=wanted.business_date,
        zone=_zone(runtime.settings.business_zone, wanted),
        margin_s=runtime.settings.reconcile_margin_s,
        apply=wanted.apply,
        by=caller.actor,
        at=now,
    )


def _window(zone: str, wanted: Wanted, now: datetime) -> tuple[datetime | None, datetime | None]:
    """(from, to), both None for a file that gives its own."""
    since, until, day = wanted.since, wanted.until, wanted.business_date
    by_file = wanted.file_id is not None
    _require(by_file or wanted.subject is Subject.PSP, "file_required", "A bank statement comes as a file.")
    _require((since is None) == (until is None), "window_invalid", "A window has two ends: from and to.")
    _require(since is None or day is None, "window_invalid", "A day, or a window; not both.")
    given = since is not None or day is not None or by_file
    _require(given, "window_required", "Say which time: business_date, or from and to.")
    if day is not None:
        _require(day.year in _YEARS, "date_invalid", "business_date: a day such as 2026-11-20")
        there = ZoneInfo(zone)
        since, until = datetime.combine(day, time(), there), datetime.combine(day + timedelta(days=1), time(), there)
    if since is None or until is None:
        return None, None
    _require(since < until, "window_invalid", "`from` is not before `to`.")
    _require(since <= now, "window_in_the_future", "The window begins in the future.")
    short = until - since <= timedelta(days=WINDOW_DAYS_MAX)
    _require(short, "window_too_long", f"A window has at most {WINDOW_DAYS_MAX} days.")
    return since, until


def _zone(business_zone: str, wanted: Wanted) -> str | None:
    """The zone of a file's times that have none; None where the PSP is asked."""
    if wanted.zone is not None:
        _require(wanted.file_id is not None, "zone_invalid", "A zone is of a file's times; the PSP's have their own.")
        _require(known_zone(wanted.zone), "zone_invalid", "zone: an IANA time zone such as Europe/Berlin")
    return (wanted.zone or business_zone) if wanted.file_id is not None else None


def _require(holds: bool, code: str, detail: str) -> None:
    if not holds:
        raise Unprocessable(detail, code=code)


async def _require_alone(connection: Connection, caller: Caller) -> None:
    """A file's words are its sender's: where others share the account, they would open and fix what is the others'."""
    shown = await run.tenants_shown(connection, caller.tenant_id)
    if shown is not None and PLATFORM_TENANT not in shown:
        detail = (
            "Several tenants share this PSP account: its operator reconciles files, with "
            "`paysaga reconcile run --file FILE`."
        )
        raise Forbidden(detail, code="account_shared")


async def _require_few(connection: Connection, tenant_id: str) -> None:
    if await run.under_way(connection, tenant_id) >= _UNDER_WAY_MAX:
        detail = f"{_UNDER_WAY_MAX} reconciliations of yours are under way: start another when one of them has ended."
        raise Conflict(detail, code="reconciliations_under_way")


# --- files ---


async def upload(
    runtime: Runtime, caller: Caller, kind: Subject, name: str, content: AsyncIterator[bytes]
) -> tuple[SettlementFile, bool]:
    """Keep a settlement file or a bank statement as it comes in, and say whether it is new: the same bytes are the same
    file, whatever their name.

    Raises Unprocessable `field_invalid`, `text_invalid`, `card_data_forbidden`; BadRequest `body_empty`; Unavailable.
    """
    check(FileName, name, "name")
    if not name.isprintable():
        raise Unprocessable("A name is printable.", code="text_invalid")
    tenant_id = caller.tenant_id or PLATFORM_TENANT
    content = _not_empty(content)
    file_id, new = await file.store(runtime.database, runtime.keyring, tenant_id, kind, name, caller.actor, content)
    row = await runtime.database.read(lambda c: file.find(c, tenant_id, file_id))
    assert row is not None, "it was stored a moment ago"
    return row, new


async def _not_empty(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for part in content:
        size += len(part)
        yield part
    if not size:
        raise BadRequest("The file is empty.", code="body_empty")


def subject_of(file: BinaryIO) -> Subject:
    """The side whose lines a file has, by its content: a bank's statement is XML. It is rewound."""
    return Subject.BANK if looks_like_xml(file) else Subject.PSP


# --- reading ---


async def find(database: Database, tenant_id: str | None, run_id: str) -> dict[str, Any]:
    """The run's row, as far as the tenant (None: an operator) may see it.

    Raises NotFound `reconciliation_not_found`.
    """
    named = CLIENT_ID.fullmatch(run_id) is not None
    row = await database.read(lambda c: run.find(c, tenant_id, run_id)) if named else None
    if row is None:
        raise NotFound("There is no such reconciliation.", code="reconciliation_not_found")
    return row


async def summary(database: Database, tenant_id: str | None, row: dict[str, Any]) -> Summary | None:
    """The results of a run as they stand now, as far as the tenant (None: an operator) may see it; None before it is
    matched."""
    if row["matched_at"] is None:
        return None
    return await report.summary(database, row, tenant_id, datetime.now(UTC))


def require_matched(row: dict[str, Any]) -> None:
    """Raises Conflict `reconciliation_not_matched` for a run of which there is nothing to show yet, or ever."""
    if row["matched_at"] is None:
        why = f"It FAILED: {row['failure']}" if row["status"] == RunStatus.FAILED else f"It is {row['status']}."
        raise Conflict(why, code="reconciliation_not_matched")
