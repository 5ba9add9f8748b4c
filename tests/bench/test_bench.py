"""`python -m bench` as somebody runs it, for a moment: what it reports and that the money is right. Never a timing."""

import asyncio
import json
import os
import sys
from pathlib import Path

from bench.load import timing
from bench.results import Report

ROOT = Path(__file__).parents[2]


async def test_a_short_run_reports_everything_and_every_cent_is_there(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYSAGA_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench",
        *("--seconds", "2", "--concurrency", "2"),
        cwd=ROOT,
        # Short: the path of PostgreSQL's socket is below it.
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
