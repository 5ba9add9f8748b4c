"""docs/states.md says what the code allows: no transition too many in its pictures and tables, and none missing."""

import re
from pathlib import Path

import pytest

from docs.generate_states import CHAPTERS, PAGE, Chapter, main, page
from domain.status import (
    DISPUTE_TRANSITIONS,
    MERCHANT_STEPS,
    MERCHANT_TRANSITIONS,
    PAYOUT_TRANSITIONS,
    REFUND_TRANSITIONS,
    TRANSITIONS,
)

ALLOWED = {
    "Payment order": {(old.value, new.value) for old, many in TRANSITIONS.items() for new in many},
    "Refund": set(REFUND_TRANSITIONS),
    "Dispute": set(DISPUTE_TRANSITIONS),
    "Payout": set(PAYOUT_TRANSITIONS),
    "Merchant": set(MERCHANT_TRANSITIONS),
}
Pairs = set[tuple[str, str]]


def section(chapter: Chapter) -> str:
    return page().split(f"## {chapter.title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([A-Z_]+)`", cell)


def listed(chapter: Chapter) -> Pairs:
    """Of the table `from | to | caused by | why`."""
    found = [row for row in rows(section(chapter)) if len(row) == 4]
    assert all(row[2] and row[3] for row in found), "each row says who and why"
    return {(old, new) for row in found for old in names(row[0]) for new in names(row[1])}


def drawn(chapter: Chapter) -> Pairs:
    """Of the picture, groups taken apart, and of the matrix beside it."""
    text, group = section(chapter), chapter.group
    members = {group.name: [str(member) for member in group.members]} if group else {}
    found = {
        (old, new)
        for left, right in re.findall(r"([A-Za-z_]+) --> ([A-Za-z_]+)", text)
        for old in members.get(left, [left])
        for new in members.get(right, [right])
    }
    for head, *body in [rows(block) for block in text.split("\n\n") if block.startswith("| from ╲ to")]:
        columns = [names(cell)[0] for cell in head[1:]]
        found |= {(names(row[0])[0], new) for row in body[1:] for new, by in zip(columns, row[1:], strict=True) if by}
    return found


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.title)
def test_tables_and_pictures_show_exactly_what_is_allowed(chapter: Chapter) -> None:
    assert listed(chapter) == ALLOWED[chapter.title]
    assert drawn(chapter) == ALLOWED[chapter.title]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.title)
def test_every_status_can_be_reached_and_is_named(chapter: Chapter) -> None:
    reached = {str(step.new) for step in chapter.steps}
    assert reached == {str(status) for status in chapter.statuses}
    assert all(f"`{name}`" in section(chapter) for name in reached)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.title)
def test_whoever_causes_a_transition_is_introduced(chapter: Chapter) -> None:
    introduced = {row[0] for row in rows(page().split("\n## ")[0])}
    assert {by for step in chapter.steps for by in step.by.split(", ")} <= introduced


def test_a_merchants_status_says_what_it_means_for_running_sagas() -> None:
    meaning = page().rpartition("What it means")[2]
    for step in MERCHANT_STEPS:
        assert not step.old or step.why in meaning


def test_the_check_fails_and_says_how_to_mend_it_while_the_page_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "states.md"
    assert main(["--check"], path) == 1
    assert "make docs" in capsys.readouterr().err
    assert not path.exists()
    assert main([], path) == 0
    assert main(["--check"], path) == 0
    path.write_text(path.read_text(encoding="utf-8").replace("IN_REVIEW", "REVIEWED"), encoding="utf-8")
    assert main(["--check"], path) == 1
    assert "make docs" in capsys.readouterr().err
