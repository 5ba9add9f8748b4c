"""`python -m bench` as somebody runs it, for a moment: what it reports and that the money is right. Never a timing."""

import asyncio
import json
import os
import sys
from pathlib import Path

from bench.load import timing
from bench.money import Paid, PspLog, compare
from bench.results import Report

ROOT = Path(__file__).parents[2]


async def test_a_short_run(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYSAGA_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench",
        *("--seconds", "0.5", "--concurrency", "2"),
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
    assert {"version", "machine", "payments", "reference", "money"} <= json.loads(lines[-1]).keys()
    report = Report.model_validate_json(lines[-1])
    assert report.money.passed
    assert report.money.succeeded == report.money.charges > 0
    assert report.money.taken == report.money.booked > 0
    assert [(load.kind, load.concurrency) for load in report.payments] == [
        ("happy", 2),
        ("orders", 2),
        ("declined", 2),
    ]
    assert all(load.payments > 0 and load.errors == 0 and load.per_s > 0 for load in report.payments), text
    assert [reference.name for reference in report.reference] == ["psp-2", "noop", "commit", "healthz"]
    assert all(reference.count > 0 and reference.errors == 0 for reference in report.reference), text
    assert "Payments through HTTP" in text
    assert list(tmp_path.iterdir()) == []


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
