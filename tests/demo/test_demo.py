"""`paysaga demo` as somebody runs it: every story ends as told, what is planted is found and nothing else, the audit is
clean, and only the report is left behind."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from demo.day.kinds import KINDS
from demo.facts import Facts, account_name, differences, formula
from demo.stories.checkouts import CHAPTERS
from domain.reconciliation.reconciliation import BREAKS

_CHECKOUTS = 60
"""The shortest day there is: everything of it happens, with fewer cards."""


async def test_the_demo_tells_every_story_plays_the_day_and_leaves_its_report_alone(tmp_path: Path) -> None:
    # Short: the path of PostgreSQL's socket is below it.
    folder, home = tmp_path / "t", tmp_path / "home"
    folder.mkdir()
    text = await _demo(folder, home)
    stories = [story for _, chapter in CHAPTERS for story in chapter]
    assert f"{len(stories)} of {len(stories)} stories" in text
    assert all(story.title in text for story in stories)
    assert "✗" not in text

    assert "the shop heard of everything" in text
    assert len(re.findall(r"--> (payment|refund)\.\w+ .* signed, ", text)) == 4

    assert f"{_CHECKOUTS} checkouts in" in text
    assert all(f" ✓  {kind.title} " in text for kind in KINDS)
    assert all(f" {status} " in text for status in ("PAID", "FAILED", "RETURNED", "left out"))

    assert re.search(r"(\d+) planted, \1 found, nothing else\.", text)
    for cls in BREAKS:
        row = re.search(rf" ✓  {cls} .*?  (\d+)  +(\d+) ", text)
        assert row is not None, cls
        assert int(row[1]) == int(row[2]) >= 1, cls
    assert all(f"\n {end}" in text for end in ("Fixed by rule", "Decided by a person", "Waits for a person"))

    assert "The books are in order" in text
    assert os.listdir(folder) == []  # noqa: PTH208
    report = home / "demo" / "reconciliation.html"
    assert str(report) in re.sub(r"\s", "", text)
    assert "<html" in report.read_text()
    assert report.with_suffix(".csv").exists()


async def _demo(folder: Path, home: Path) -> str:
    """Run it as somebody does, in a folder for what is temporary and one that is their own; its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYSAGA_")}
    environment |= {"TMPDIR": str(folder), "PAYSAGA_HOME": str(home)}
    command = (sys.executable, "-m", "cli.main", "demo", "--checkouts", str(_CHECKOUTS))
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=300)
    text = output.decode()
    assert process.returncode == 0, text
    return text


def test_a_story_that_ends_otherwise_says_how() -> None:
    story = CHAPTERS[0][1][0]
    facts = Facts("PENDING", "psp_unknown", ("500.00", "500.00"), ("1.00",), {})
    assert differences(story, facts) == [
        "expected SUCCESS, got PENDING",
        "expected failure none, got psp_unknown",
        "the PSP should have charged 500.00 and charged 500.00 and 500.00",
        "the PSP should have refunded nothing and refunded 1.00",
        "the ledger should be 485.20 = anna 485.00 + our fee 15.00 − PSP fee 14.80 and is nothing booked",
    ]


@pytest.mark.parametrize(
    ("ledger", "shown"),
    [
        ({}, "nothing booked"),
        ({"at PSP": "-14.80", "PSP fee": "-14.80"}, "−14.80 = − PSP fee 14.80"),
        ({"at PSP": "5.00", "suspense": "5.00"}, "5.00 = suspense 5.00"),
        ({"PSP fee": "-1.00", "our fee": "1.00"}, "0.00 = our fee 1.00 − PSP fee 1.00"),
        ({"at PSP": "-2.00", "bo owes": "-2.00"}, "−2.00 = − bo owes 2.00"),
    ],
)
def test_the_ledger_as_a_formula(ledger: dict[str, str], shown: str) -> None:
    assert formula(ledger) == shown


def test_accounts_by_the_names_that_a_reader_uses() -> None:
    accounts = ("psp_clearing:stripe", "wallet:seller_bo:pending", "receivable:seller_bo", "psp_fees", "disputes_held")
    names = [account_name(a) for a in accounts]
    assert names == ["at PSP", "bo", "bo owes", "PSP fee", "claimed back"]


def test_what_follows_a_payment_is_compared_too() -> None:
    story = next(s for _, chapter in CHAPTERS for s in chapter if s.dispute_status == "LOST")
    facts = Facts(story.status, None, story.charged, (), story.ledger, ("1.00",), (), False, "REFUNDED", "WON")
    assert differences(story, facts) == [
        "the PSP has not heard of it",
        "the PSP should have let go nothing and let go 1.00",
        "the PSP should have given to the buyer's bank 500.00 and given to the buyer's bank nothing",
        "the refund status should be none and is REFUNDED",
        "the dispute status should be LOST and is WON",
    ]
