"""Staging that is killed at any page and run again; files that are stored once; a small bench."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import reconciliation as module
from activities.reconciliation import ReconciliationActivities
from bench import reconcile
from bench.reconcile_books import COLUMNS
from db.core.database import LockTimeout
from db.core.keyring import Keyring, Undecryptable
from db.core.permanent_errors import permanent_reason
from db.reconciliation import file as files
from db.reconciliation import report
from db.reconciliation import run as runs
from db.reconciliation.stage import stage
from domain.errors import Unavailable
from domain.psp import PayoutTraces
from domain.reconciliation.lines import PspLine, PspLines
from domain.reconciliation.reconciliation import IMPOSSIBLE, NewRun, RunStep, Source, StageStep, Subject
from embedded.stack import EmbeddedStack
from runtime.workflow_client import WorkflowClient
from services import keyring as keyrings
from tests.reconciliation.scenario import DAY, LATER, NOON, RING, Scenario
from tests.reconciliation.test_reconciliation_bank import booked
from tests.reconciliation.test_reconciliation_classes import other


class Killed(BaseException):
    """The worker's end, wherever it was."""


class Lister:
    """A PSP that lists `pages`; it ends the process when page number `dies_at` was asked for."""

    def __init__(self, pages: list[list[PspLine]], dies_at: int | None = None) -> None:
        self.pages, self.dies_at = pages, dies_at
        self.asked: list[str | None] = []

    async def list_lines(self, *, cursor: str | None, **_: Any) -> PspLines:
        number = int(cursor or 0)
        self.asked.append(cursor)
        if number == self.dies_at:
            self.dies_at = None
            raise Killed
        following = str(number + 1) if number + 1 < len(self.pages) else None
        return PspLines(lines=tuple(self.pages[number]), cursor=following)


def worker(scenario: Scenario, psp: Any = None) -> ReconciliationActivities:
    return ReconciliationActivities(
        scenario.database,
        {"stripe": psp},
        cast(WorkflowClient, None),
        RING,
        booking_grace_s=3600,
        listing_grace_s=3600,
        bank_days=5,
        page_timeout_s=1,
        match_timeout_s=60,
    )


async def references(scenario: Scenario, run_id: str) -> list[str]:
    rows = await scenario.sql("SELECT reference FROM reconciliation_line WHERE run_id = $1 ORDER BY line_no", run_id)
    return [row["reference"] for row in rows]


@pytest.mark.parametrize("dies_at", range(4))
async def test_killed_at_any_page(scenario: Scenario, dies_at: int) -> None:
    pages = [[other(f"txn_{n}_{i}") for i in range(3)] for n in range(4)]
    psp = Lister(pages, dies_at)
    run_id = await scenario.open()
    steps = worker(scenario, psp)
    with pytest.raises(Killed):
        await ActivityEnvironment().run(steps.stage_from_psp, StageStep(run_id=run_id))
    staged = await ActivityEnvironment().run(steps.stage_from_psp, StageStep(run_id=run_id))
    assert (staged.done, staged.lines) == (True, 12)
    assert await references(scenario, run_id) == [line.reference for page in pages for line in page]
    assert len(psp.asked) == 5, "no page that was kept is asked for again"
    again = await ActivityEnvironment().run(steps.stage_from_psp, StageStep(run_id=run_id))
    assert (again, len(psp.asked)) == (staged, 5)


async def test_so_many_pages_at_a_time(scenario: Scenario) -> None:
    psp = Lister([[other(f"txn_{n}")] for n in range(5)])
    run_id = await scenario.open()
    step = StageStep(run_id=run_id, pages=2)
    done = [(await ActivityEnvironment().run(worker(scenario, psp).stage_from_psp, step)).done for _ in range(3)]
    assert done == [False, False, True]


async def test_two_workers_at_one_run(scenario: Scenario) -> None:
    """One was taken for dead and is not: the lines are here once."""
    pages = [[other(f"txn_{n}_{i}") for i in range(3)] for n in range(6)]
    run_id = await scenario.open()
    workers = [worker(scenario, Lister(pages)) for _ in range(2)]
    await asyncio.gather(
        *(ActivityEnvironment().run(w.stage_from_psp, StageStep(run_id=run_id)) for w in workers),
        return_exceptions=True,
    )
    await ActivityEnvironment().run(workers[0].stage_from_psp, StageStep(run_id=run_id))
    assert await references(scenario, run_id) == [line.reference for page in pages for line in page]


# --- what can never be kept ---


async def never(step: Any) -> str:
    with pytest.raises(ApplicationError) as caught:
        await step
    assert caught.value.non_retryable
    assert caught.value.type == IMPOSSIBLE
    return caught.value.message


@pytest.mark.parametrize(
    "changes", [{"amount": 10**20}, {"description": "a\0b"}, {"description": "\ud800"}, {"our_reference": "a\0"}]
)
async def test_lines_that_cannot_be_kept_are_not_tried_for_ever(scenario: Scenario, changes: dict[str, Any]) -> None:
    """No reader makes such lines; should one, the run ends."""
    run_id = await scenario.open()
    steps = worker(scenario, Lister([[other("txn_0")], [other("txn_1", **changes)]]))
    why = await never(ActivityEnvironment().run(steps.stage_from_psp, StageStep(run_id=run_id)))
    assert why.startswith("The lines after 1 cannot be kept: ")
    assert await references(scenario, run_id) == ["txn_0"]


async def test_lines_that_cannot_be_matched_are_not_tried_for_ever(scenario: Scenario) -> None:
    run_id = await scenario.open(window=(DAY, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)))
    await scenario.staged(run_id, [other()])
    step = RunStep(run_id=run_id, at=LATER)
    why = await never(ActivityEnvironment().run(worker(scenario).match_lines, step))
    assert why.startswith("The lines cannot be matched: ")


def test_what_may_work_later_is_tried_again() -> None:
    cut = Unavailable("The database does not answer.")
    cut.__cause__ = TimeoutError()
    assert permanent_reason(cut) is None
    assert permanent_reason(LockTimeout("Another request holds this object.")) is None
    value = Unavailable("The database does not answer.")
    value.__cause__ = OverflowError("value out of int64 range")
    assert permanent_reason(value) == "value out of int64 range", "however the driver's error was taken"


async def test_a_run_that_has_failed_is_not_staged_any_more(scenario: Scenario) -> None:
    run_id = await scenario.open()
    await scenario.database.run(lambda c: runs.fail(c, run_id, "line 3: broken", LATER))
    staged = await ActivityEnvironment().run(worker(scenario).stage_from_psp, StageStep(run_id=run_id))
    assert (staged.done, staged.failure) == (False, "line 3: broken")


async def test_totals_are_larger_than_any_amount(scenario: Scenario) -> None:
    lines = [other(f"txn_{n}", amount=9 * 10**18, fee=0) for n in range(2)]
    run_id = (await scenario.run(*lines, source=Source.FILE)).run_id
    run = await scenario.database.read(lambda c: runs.get(c, run_id))
    totals = (await report.summary(scenario.database, run, None, LATER)).totals
    assert totals == [report.Total("INR", 18 * 10**18, 0)]


# --- files ---


def itemized(lines: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for n in range(lines):
        writer.writerow((f"txn_{n}", "2026-03-10 12:00:00", "", "inr", "7.00", "0.00", "7.00", "other", "", "", "", ""))
    return text.getvalue().encode()


async def stored(scenario: Scenario, content: bytes, name: str = "march.csv", subject: Subject = Subject.PSP) -> str:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 700):
            yield content[start : start + 700]

    return (await files.store(scenario.database, RING, scenario.tenant, subject, name, "kim", chunks()))[0]


async def file_run(scenario: Scenario, file_id: str, subject: Subject = Subject.PSP) -> str:
    new = NewRun(
        key=file_id,
        tenant_id=scenario.tenant,
        psp="stripe",
        subject=subject,
        source=Source.FILE,
        file_id=file_id,
        apply=False,
        by="kim",
        at=LATER,
    )
    return str((await scenario.database.run(lambda c: runs.open_run(c, new)))["id"])


async def test_a_file_that_was_killed_in_the_middle(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_PAGE", 10)
    run_id = await file_run(scenario, await stored(scenario, itemized(35)))
    steps, kept, calls = worker(scenario), stage, 0

    async def dying(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        return await kept(*arguments, **more)

    monkeypatch.setattr(module, "stage", dying)
    with pytest.raises(Killed):
        await ActivityEnvironment().run(steps.stage_from_file, StageStep(run_id=run_id))
    assert len(await references(scenario, run_id)) == 20
    staged = await ActivityEnvironment().run(steps.stage_from_file, StageStep(run_id=run_id))
    assert (staged.done, staged.lines) == (True, 35)
    assert await references(scenario, run_id) == [f"txn_{n}" for n in range(35)]
    row = await scenario.database.read(lambda c: runs.get(c, run_id))
    assert (row["file_name"], row["window_from"]) == ("march.csv", DAY.replace(hour=12))


async def test_the_same_bytes_are_the_same_file(scenario: Scenario) -> None:
    content = itemized(3)
    first = await stored(scenario, content)
    assert await stored(scenario, content, "again.csv") == first
    assert await stored(scenario, content, subject=Subject.BANK) != first
    both = await asyncio.gather(stored(scenario, content + b"\n"), stored(scenario, content + b"\n"))
    assert len(set(both)) == 1
    assert [await scenario.database.read(lambda c, n=n: files.chunk(c, RING, first, n)) for n in range(2)] == [  # type: ignore[misc]
        content,
        None,
    ]
    found = await scenario.database.read(lambda c: files.find(c, scenario.tenant, first))
    assert found is not None
    assert (found.name, found.size, found.actor) == ("march.csv", len(content), "kim")
    assert await scenario.database.read(lambda c: files.find(c, "rival", first)) is None


async def test_a_file_is_kept_encrypted_and_an_old_one_is_still_read(scenario: Scenario) -> None:
    """Each chunk in its place: as a part of another file, or under another key, it is refused."""
    content = itemized(files.CHUNK_BYTES // 60)
    file_id = await stored(scenario, content)
    query = "SELECT no, data, encrypted FROM settlement_file_chunk WHERE file_id = $1 ORDER BY no"
    chunks = await scenario.sql(query, file_id)
    assert len(chunks) > 1
    assert all(row["encrypted"] and row["data"].startswith(b"test:") for row in chunks)
    assert not any(b"txn_1" in row["data"] for row in chunks)
    other_id = await stored(scenario, content[:100])
    for place in (f"{other_id}:1", f"{file_id}:0"):
        with pytest.raises(Undecryptable):
            RING.decrypt_bytes(chunks[1]["data"], bound_to=place)
    with pytest.raises(Undecryptable):
        await scenario.database.read(lambda c: files.chunk(c, Keyring({"test": bytes(32)}), file_id, 0))
    insert = "INSERT INTO settlement_file_chunk (file_id, no, data, encrypted) VALUES ($1, $2, $3, false)"
    await scenario.sql(insert, other_id, 1, content)
    assert await scenario.database.read(lambda c: files.chunk(c, RING, other_id, 1)) == content
    rotated = await keyrings.rotate(scenario.database, Keyring({"new": bytes(32), "test": bytes(range(32))}))
    assert rotated.in_use["settlement_file_chunk.data"] == {"new": len(chunks) + 2}
    alone = Keyring({"new": bytes(32)})
    assert await scenario.database.read(lambda c: files.chunk(c, alone, other_id, 1)) == content
    parts = [await scenario.database.read(lambda c, n=n: files.chunk(c, alone, file_id, n)) for n in range(len(chunks))]  # type: ignore[misc]
    assert b"".join(part or b"" for part in parts) == content


async def test_a_file_that_cannot_be_read(scenario: Scenario) -> None:
    run_id = await file_run(scenario, await stored(scenario, itemized(3) + b"broken\n"))
    staged = await ActivityEnvironment().run(worker(scenario).stage_from_file, StageStep(run_id=run_id))
    assert not staged.done
    assert str(staged.failure).startswith("line 5: 1 fields, and not 12")


async def test_an_empty_file(scenario: Scenario) -> None:
    run_id = await file_run(scenario, await stored(scenario, itemized(0)))
    staged = await ActivityEnvironment().run(worker(scenario).stage_from_file, StageStep(run_id=run_id))
    assert staged.done
    assert (await scenario.match(run_id)).counts == {"matched": 0}


STATEMENT = b"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt>
<Ntry><Amt Ccy="INR">900.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
<BookgDt><Dt>2026-03-10</Dt></BookgDt><AcctSvcrRef>bank-1</AcctSvcrRef></Ntry></Stmt></BkToCstmrStmt></Document>"""


async def test_a_psp_that_does_not_tell_the_banks_references_stops_no_statement(scenario: Scenario) -> None:
    """Which is said; and it is not asked where nothing is open."""
    asked: list[datetime] = []

    class Silent:
        async def list_traces(self, *, created_from: datetime, **_: Any) -> PayoutTraces:
            asked.append(created_from)
            return PayoutTraces(reason="timeout")

    run_id = await file_run(scenario, await stored(scenario, STATEMENT, subject=Subject.BANK), Subject.BANK)
    await ActivityEnvironment().run(worker(scenario, Silent()).stage_from_file, StageStep(run_id=run_id))
    assert asked == []
    await booked(scenario)
    run_id = await file_run(scenario, await stored(scenario, STATEMENT + b"\n", subject=Subject.BANK), Subject.BANK)
    await ActivityEnvironment().run(worker(scenario, Silent()).stage_from_file, StageStep(run_id=run_id))
    row = await scenario.database.read(lambda c: runs.get(c, run_id))
    assert (asked, row["notes"]) == (
        [NOON],
        ["The PSP did not tell the bank's references of its payouts (timeout): run it again later."],
    )
    assert (await scenario.match(run_id)).counts == {"matched": 1}


# --- the bench ---


async def test_a_small_bench_finds_what_is_planted(servers: EmbeddedStack, tmp_path: Path) -> None:
    measured = await reconcile.measure(servers, tmp_path, 2_000, 80)
    assert (measured.planted, measured.found, measured.wrong) == (80, 80, [])
    assert reconcile.Report([measured]).problems() == []
