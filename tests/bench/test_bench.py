"""`python -m bench` as somebody runs it, for a moment: what it reports and that the money is right. Never a timing."""

import asyncio
import json
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from bench.load import timing
from bench.money import Paid, PspLog, compare
from bench.options import SHAPES as ALL_SHAPES
from bench.options import Lane
from bench.page import page, replaced
from bench.plan import SubjectName
from bench.plot import plot
from bench.results import SHAPES, SUBJECTS, Cell, Report
from bench.statements import count_statements
from bench.subjects.registry import missing
from bench.summary import claims_of, lines_of
from bench.table import WIDTH

ROOT = Path(__file__).parents[2]


async def test_a_short_run(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYSAGA_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench", "--seconds", "0.2", "--rounds", "1", "--concurrency", "1", "--counted", "2"),
        *("--subjects", "noop,saga,dbos,process,http"),
        cwd=ROOT,
        # Short, as is the name of this test: the path of PostgreSQL's socket is below it.
        env=environment | {"TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=150)
    text = output.decode()
    assert process.returncode == 0, text
    lines = text.strip().splitlines()
    assert {"version", "machine", "lines", "counted", "claims", "money"} <= json.loads(lines[-1]).keys()
    assert max(map(len, lines[:-1])) <= WIDTH, text
    report = Report.model_validate_json(lines[-1])
    _money_is_right(report)
    without_peers = missing("dbos") is not None
    subjects = [line.subject for line in report.lines if line.group == SUBJECTS]
    assert subjects == ["noop", "saga", *([] if without_peers else ["dbos"]), "process", "http"]
    assert report.missing == ({"dbos": "dbos"} if without_peers else {})
    assert ("is not installed" in text) is without_peers
    assert tuple(line.shape for line in report.lines if line.group == SHAPES) == ALL_SHAPES
    assert all(cell.sent > 0 and cell.errors == 0 for line in report.lines for cell in line.cells), text
    counted = report.count("http")
    assert counted is not None
    assert counted.events is not None
    assert counted.round_trips >= counted.write_commits >= 2
    assert list(tmp_path.iterdir()) == []
    ET.fromstring(plot(report))  # noqa: S314 - our own
    assert "| (f) Paysaga, HTTP | 1 |" in page(report)


def _money_is_right(report: Report) -> None:
    assert report.money.passed
    assert {"Paysaga", "saga"} <= {books.subject for books in report.money.books}
    for books in report.money.books:
        assert books.succeeded == books.charges > 0
        assert books.taken == books.booked > 0
    assert report.money.books[0].refunded > 0


def test_percentiles_are_times_of_requests_that_there_were() -> None:
    found = timing([0.001 * n for n in range(1, 101)])
    assert (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms) == (50, 95, 99, 100)
    assert timing([0.5]).p99_ms == 500
    assert timing([]).p50_ms is None


def test_a_cent_that_is_not_where_it_has_to_be_is_named() -> None:
    payments = [
        Paid("pay_right", "SUCCESS", 500),
        Paid("pay_twice", "SUCCESS", 500),
        Paid("pay_short", "SUCCESS", 500),
        Paid("pay_never", "SUCCESS", 500),
        Paid("pay_kept", "FAILED", 500),
        Paid("pay_open", "PENDING", 500),
        Paid("pay_declined", "FAILED", 500),
    ]
    charges = {
        "pay_right": [500],
        "pay_twice": [500, 500],
        "pay_short": [499],
        "pay_kept": [500],
        "pay_stranger": [500],
    }
    problems = compare(payments, PspLog(charges, {}))
    named = [next(word for word in problem.split() if word.startswith("pay_")).rstrip(",") for problem in problems[:5]]
    assert named == ["pay_twice", "pay_short", "pay_never", "pay_kept", "pay_open"]
    assert problems[5:] == ["and 1 more"]
    assert compare(payments[:1], PspLog({"pay_right": [500]}, {})) == []


def test_money_that_went_back_is_compared_as_well() -> None:
    payments = [Paid("pay_back", "SUCCESS", 500, refunded=500), Paid("pay_lost", "SUCCESS", 500)]
    log = PspLog({"pay_back": [500], "pay_lost": [500]}, {"pay_back": [500], "pay_lost": [500]})
    assert compare(payments, log) == ["pay_lost gave 0 back, and the PSP [500]"]


def test_statements_are_counted_by_the_first_line_of_each() -> None:
    at = "2026-01-31 12:00:00.000 UTC [17]"
    log = f"""{at} paysaga@paysaga LOG:  execute __asyncpg_stmt_1__: SELECT 1
{at} paysaga@paysaga DETAIL:  Parameters: $1 = 'LOG:  statement'
{at} postgres@bench LOG:  statement: BEGIN;
\t@bench LOG:  statement: not a line of its own
{at} postgres@bench LOG:  execute __asyncpg_stmt_2__: UPDATE payment
{at} postgres@bench LOG:  execute <unnamed>: SELECT 2
{at} postgres@bench LOG:  statement: COMMIT;
{at} postgres@postgres LOG:  statement: SELECT pg_reload_conf()
{at} paysaga@paysaga LOG:  duration: 600.000 ms
{at} @ LOG:  parameter "log_statement" changed to "all"
"""
    found = count_statements(log)
    assert found.sent == {"paysaga": 1, "bench": 4, "postgres": 1}
    assert found.commits == {"paysaga": 1, "bench": 1, "postgres": 1}


def _cell(number: int, per_s: float, *, thrown_away: bool = False) -> Cell:
    return Cell(
        round=number,
        sent=10,
        per_s=per_s,
        p50_ms=60.0 + number,
        p95_ms=90.0,
        errors=0,
        answers={},
        cpu_ms={"api": 5.0, "load": 1.0},
        write_commits=3.0,
        wal_kb=14.0,
        busy_cores=1.0,
        others_cores=2.0 if thrown_away else 0.0,
        thrown_away=thrown_away,
    )


def test_a_disturbed_round_is_in_no_median() -> None:
    lane = Lane("http", "one", 10)
    cells = [_cell(1, 60), _cell(2, 70), _cell(3, 5, thrown_away=True), _cell(4, 80)]
    (line,) = lines_of({(SUBJECTS, lane): cells})
    assert (line.per_s, line.per_s_least, line.per_s_most, line.rounds) == (70, 60, 80, 3)
    assert (line.p50_ms, line.cpu_total_ms, line.disturbed) == (62, 5.0, False)
    (line,) = lines_of({(SUBJECTS, lane): cells[2:3]})
    assert (line.per_s, line.disturbed) == (5, True)


def test_a_claim_is_met_not_met_or_not_measured() -> None:
    rates: dict[SubjectName, float] = {"noop": 100.0, "http": 70.0, "saga": 30.0}
    lines = lines_of({(SUBJECTS, Lane(name, "one", 10)): [_cell(1, rate)] for name, rate in rates.items()})
    known: dict[str, Any] = {"psp": "cheap", "psp_ms": 50.0, "lines": lines, "counted": []}
    report = Report.model_construct(**known)
    claims = {claim.says: (claim.value, claim.met) for claim in claims_of(report)}
    assert claims["HTTP / no-op workflow, 10 at once ≥ 0.65"] == (0.7, True)
    assert claims["HTTP / saga of 5 activities, 10 at once ≥ 3"] == (2.333, False)
    assert claims["HTTP / no-op workflow, 20 at once ≥ 0.7"] == (None, None)
    assert claims["HTTP p50 ms, 10 at once ≤ 100"] == (61.0, True)


def test_only_what_stands_between_the_marks_of_the_page_is_replaced() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    once = replaced(text, "| a table |")
    assert "| a table |" in once
    assert replaced(once, "| another |") == replaced(text, "| another |")
    assert once.startswith(text[: text.index("<!--")])
