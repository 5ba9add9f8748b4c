"""Reconciliation: copying the other side's lines, matching them, and fixing what is safe by rule.

Each activity can be killed anywhere and run again: staging goes on behind the last whole page, matching is one
transaction, a fix is booked once.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, BinaryIO, NoReturn
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Counter
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeat import heartbeating
from activities.queues import Queue, on
from activities.reconciliation_alarm import alarm
from activities.retry import try_again
from db.core.database import Database
from db.core.keyring import Keyring
from db.core.permanent_errors import permanent_reason
from db.payout import trace
from db.reconciliation import bank
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import file as files
from db.reconciliation import match as matching
from db.reconciliation import run as runs
from db.reconciliation.fix import Refused
from db.reconciliation.stage import Position, bounds, position_of, stage
from domain.errors import PaysagaError
from domain.reconciliation.lines import BankLine, PspLine
from domain.reconciliation.pair import Terms
from domain.reconciliation.reconciliation import (
    IMPOSSIBLE,
    FailStep,
    Fixed,
    FixStep,
    Matching,
    NewRun,
    ReconciliationReport,
    RunStatus,
    RunStep,
    Staged,
    StageStep,
    Subject,
)
from gateways.bank.camt053 import read_camt053
from gateways.packed_file import read_packed
from gateways.protocol import Psp
from gateways.registry import ADAPTERS
from gateways.settlement_file import Reading, SettlementFileError
from runtime.workflow_client import WorkflowClient
from services.discrepancy import apply_fix

FILE_PAGE = 5_000
"""Lines of a file that are copied in one transaction."""

_SPOOL_BYTES = 8_000_000
"""Bytes of a file that are held in memory; what is above waits on this worker's disk while it is read."""

_ENDED = (RunStatus.COMPLETED, RunStatus.FAILED)

RUNS = Counter("paysaga_reconciliations", "Runs that ended", ["psp", "subject", "status"])
LINES = Counter("paysaga_reconciliation_lines", "Lines and records by what they turned out to be", ["psp", "class"])

log = structlog.get_logger("paysaga.reconciliation")


class ReconciliationActivities:
    """`booking_grace_s`, `listing_grace_s`, `bank_days`: the terms of `Terms`. `match_timeout_s` bounds each statement
    of the matching, `page_timeout_s` the PSP's answer to one page."""

    def __init__(
        self,
        database: Database,
        psps: Mapping[str, Psp],
        workflow_client: WorkflowClient,
        keyring: Keyring,
        *,
        booking_grace_s: float,
        listing_grace_s: float,
        bank_days: int,
        page_timeout_s: float,
        match_timeout_s: float,
    ) -> None:
        self._database = database
        self._psps = psps
        self._workflow_client = workflow_client
        self._keyring = keyring
        self._booking_grace_s, self._listing_grace_s, self._bank_days = booking_grace_s, listing_grace_s, bank_days
        self._page_timeout_s = page_timeout_s
        self._match_timeout_s = match_timeout_s

    def _terms(self, step: RunStep | FixStep) -> Terms:
        return Terms(step.at, self._booking_grace_s, self._listing_grace_s, self._bank_days)

    @activity.defn
    @on(Queue.OWN)
    async def open_reconciliation(self, new: NewRun) -> str:
        """Store a run, once; its id."""
        return str((await self._database.run(lambda c: runs.open_run(c, new)))["id"])

    # --- staging ---

    @activity.defn
    @on(Queue.PSP)
    @heartbeating
    async def stage_from_psp(self, step: StageStep) -> Staged:
        """Copy up to so many pages of the PSP's list, from where the last ended."""
        run = await self._database.read(lambda c: runs.get(c, step.run_id))
        position = position_of(run)
        if run["status"] == RunStatus.FAILED:
            return Staged(lines=position.lines, done=False, failure=run["failure"])
        with _possible("The window cannot be asked for"):
            created_from, created_to = bounds(run)
        for _ in range(step.pages):
            if position.done:
                break
            page = await self._psps[run["psp"]].list_lines(
                created_from=created_from,
                created_to=created_to,
                cursor=position.cursor,
                otherwise_at=run["window_from"],  # not the margin's: that is judged in no run
                timeout_s=self._page_timeout_s,
            )
            if page.reason is not None:
                raise try_again(page.reason)
            position = await self._keep(step.run_id, position, page.lines, page.cursor, last=page.cursor is None)
        return Staged(lines=position.lines, done=position.done)

    @activity.defn
    @on(Queue.OWN, Queue.BATCH)
    @heartbeating
    async def stage_from_file(self, step: StageStep) -> Staged:
        """Copy a file's lines, from where the last worker ended. A file that cannot be read ends the run: what was
        copied of it stays as evidence, and is never matched."""
        run = await self._database.read(lambda c: runs.get(c, step.run_id))
        position = position_of(run)
        if position.done or run["status"] == RunStatus.FAILED:
            return Staged(lines=position.lines, done=position.done, failure=run["failure"])
        notes = await self._learn_traces(run) if run["subject"] == Subject.BANK else []
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
            await self._fetch(run["file_id"], spool)
            try:
                position = await self._stage_file(run, position, spool, notes)  # type: ignore[arg-type]
            except SettlementFileError as error:
                return Staged(lines=position.lines, done=False, failure=str(error))
        return Staged(lines=position.lines, done=position.done)

    async def _learn_traces(self, run: Mapping[str, Any]) -> list[str]:
        """Ask the PSP under which references our bank has its payouts, which it knows days after it made them. Without
        an answer the entries are matched by what else they say, and a remark tells of it."""
        since = await self._database.read(lambda c: bank.untraced_since(c, run["psp"], run["at"]))
        if since is None:
            return []
        told = await self._psps[run["psp"]].list_traces(created_from=since, timeout_s=self._page_timeout_s)
        if told.reason is not None:
            return [f"The PSP did not tell the bank's references of its payouts ({told.reason}): run it again later."]
        await self._database.run(lambda c: trace.keep(c, run["psp"], told.traces))
        return []

    async def _fetch(self, file_id: str, spool: Any) -> None:
        no = 0
        keyring = self._keyring
        while chunk := await self._database.read(lambda c, n=no: files.chunk(c, keyring, file_id, n)):  # type: ignore[misc]
            await asyncio.to_thread(spool.write, chunk)
            no += 1
        spool.seek(0)

    async def _stage_file(self, run: dict[str, Any], position: Position, file: BinaryIO, notes: list[str]) -> Position:
        reading = Reading(zone=ZoneInfo(run["zone"] or "UTC"), notes=notes)
        with closing(read_packed(file, _reader(run), reading)) as lines:  # before the file that it reads is
            await asyncio.to_thread(_skip, lines, position.lines)
            while not position.done:
                page = await asyncio.to_thread(lambda: list(islice(lines, FILE_PAGE)))
                if not page and not position.lines:
                    reading.note("The file has no line to compare: is it the right one, and of the right time?")
                position = await self._keep(
                    run["id"], position, page, None, last=len(page) < FILE_PAGE, notes=reading.remarks()
                )
        return position

    async def _keep(
        self,
        run_id: str,
        position: Position,
        lines: Sequence[PspLine | BankLine],
        following: str | None,
        *,
        last: bool,
        notes: Sequence[str] = (),
    ) -> Position:
        with _possible(f"The lines after {position.lines} cannot be kept"):
            kept = await self._database.run(
                lambda c: stage(c, run_id, lines, read=position.pages, following=following, last=last, notes=notes)
            )
        if not kept.done and kept.pages != position.pages + 1:
            _overtaken(run_id)
        return kept

    # --- matching ---

    @activity.defn
    @on(Queue.OWN, Queue.BATCH)
    @heartbeating
    async def match_lines(self, step: RunStep) -> Matching:
        """Match what was staged, in one transaction of its own."""

        async def work(connection: Any) -> Matching:
            return await matching.match(connection, step.run_id, self._terms(step))

        with _possible("The lines cannot be matched"):
            return await self._database.run_long(work, timeout_s=self._match_timeout_s)

    # --- fixes ---

    @activity.defn
    @on(Queue.OWN)
    @heartbeating
    async def apply_fixes(self, step: FixStep) -> Fixed:
        """Do what is proposed for a page of the run's open discrepancies. What cannot be done now stays open."""
        page = await self._database.read(
            lambda c: discrepancies.to_fix(c, step.run_id, after=step.after, limit=step.limit)
        )
        booked = asked = refused = 0
        for row in page:
            if row.fix_asked_at == step.at:  # by this very step, before its worker died
                asked += 1
                continue
            try:
                done = await apply_fix(self._database, self._workflow_client, row, step.at)
            except Exception as error:
                if not isinstance(error, (PaysagaError, Refused)) and permanent_reason(error) is None:
                    raise
                log.warning("fix refused", discrepancy=row.id, fix=row.fix, why=str(error))
                refused += 1
                continue
            booked, asked = booked + done, asked + (not done)
        await self._database.run(lambda c: runs.count_fixes(c, step.run_id, step.at))
        after = page[-1].id if len(page) == step.limit else None
        return Fixed(booked=booked, asked=asked, refused=refused, after=after)

    @activity.defn
    @on(Queue.OWN, Queue.BATCH)
    @heartbeating
    async def verify_fixes(self, step: RunStep) -> int:
        """Look again at what a workflow was asked for: what is there by now is closed. How many."""
        closed, after = 0, ""
        while True:
            page = await self._database.read(
                lambda c, a=after: discrepancies.to_fix(c, step.run_id, after=a, limit=1_000, asked=True)  # type: ignore[misc]
            )
            ids = [row.id for row in page]

            async def work(connection: Any, ids: list[str] = ids) -> int:
                return await matching.look_again(connection, step.run_id, ids, self._terms(step))

            if ids:
                with _possible("The discrepancies cannot be looked at again"):
                    closed += await self._database.run_long(work, timeout_s=self._match_timeout_s)
            if len(page) < 1_000:
                return closed
            after = ids[-1]

    # --- the end ---

    @activity.defn
    @on(Queue.OWN)
    async def complete_reconciliation(self, step: RunStep) -> ReconciliationReport:
        """End the run, and tell a person of whatever is open past its deadline, this run's or not."""
        run = await self._end(step.run_id, lambda c: runs.complete(c, step.run_id, step.at))
        overdue = await alarm(self._database, step.at)
        return ReconciliationReport(
            run_id=run["id"],
            status=RunStatus(run["status"]),
            lines=run["lines"],
            counts=run["counts"] or {},
            **{name: run[name] for name in ("opened", "closed", "fixed", "asked")},
            overdue=overdue,
        )

    @activity.defn
    @on(Queue.OWN)
    async def fail_reconciliation(self, step: FailStep) -> ReconciliationReport:
        """End a run that cannot be carried out, in words for a person; of a scheduled one, somebody is told."""
        run = await self._end(step.run_id, lambda c: runs.fail(c, step.run_id, step.failure, step.at))
        log.error("reconciliation failed", run=step.run_id, why=step.failure)
        return ReconciliationReport(
            run_id=run["id"], status=RunStatus(run["status"]), lines=run["lines"], failure=step.failure
        )

    async def _end(self, run_id: str, end: Callable[[Any], Awaitable[object]]) -> dict[str, Any]:
        """The run's row once it has ended. A run is counted by the one transaction that ends it: an activity that is
        carried out again counts nothing."""

        async def work(connection: Any) -> tuple[dict[str, Any], bool]:
            before = await runs.get(connection, run_id, lock=True)
            await end(connection)
            return await runs.get(connection, run_id), before["status"] not in _ENDED

        run, ended_now = await self._database.run(work)
        if ended_now:
            RUNS.labels(run["psp"], run["subject"], run["status"]).inc()
            for cls, number in (run["counts"] or {}).items():
                LINES.labels(run["psp"], cls).inc(number)
        return run


@contextmanager
def _possible(otherwise: str) -> Iterator[None]:
    """Turn an error that no repetition helps into one that is not tried again: the workflow ends the run as FAILED and
    says why."""
    try:
        yield
    except Exception as error:
        why = permanent_reason(error)
        if why is None:
            raise
        raise ApplicationError(f"{otherwise}: {why}", type=IMPOSSIBLE, non_retryable=True) from error


def _reader(run: Mapping[str, Any]) -> Callable[[BinaryIO, Reading], Iterator[Any]]:
    """The reader of the run's file: every bank writes the same kind of statement, each PSP its own file."""
    return read_camt053 if run["subject"] == Subject.BANK else ADAPTERS[run["psp"]].read_settlement_file


def _skip(lines: Iterator[Any], number: int) -> None:
    """Pass over the lines that an earlier worker copied."""
    for _ in islice(lines, number):
        pass


def _overtaken(run_id: str) -> NoReturn:
    """Another worker stages the same run: this one was taken for dead, and lets it."""
    raise try_again(f"{run_id} is staged by another worker")
