"""docs/architecture.md names files that are there, and its two walks stay short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
ROOMS = {path.name for path in ROOT.iterdir() if path.is_dir()}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*/?(?:\.py)?)`", PAGE))))
def test_a_path_that_is_named_is_there(name: str) -> None:
    if "/" in name and name.partition("/")[0] in ROOMS:
        assert (ROOT / name).exists()


@pytest.mark.parametrize(
    ("title", "files_max"), [("A refund, from HTTP to the posting", 12), ("A webhook", 8)], ids=["refund", "webhook"]
)
def test_a_walk_is_short_and_each_step_finds_its_name(title: str, files_max: int) -> None:
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d+\. `([^`]+\.py)`(?: `(\w+)`)?", section, re.MULTILINE)
    assert 1 < len(steps) == section.count("\n", 0, len(section.rstrip()) + 1) <= files_max
    for path, name in steps:
        assert name in (ROOT / path).read_text(), f"{path}: {name}"
