"""docs/security.md names a test for each claim, and the test is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs/security.md").read_text().partition("## How each claim is tested\n")[2]
ROWS = [line.strip("|").split("|") for line in TABLE.splitlines() if line.startswith("| ")][1:]


def test_every_claim_has_a_test() -> None:
    assert len(ROWS) > 20
    assert not [claim for claim, tests in ROWS if not re.findall(r"`tests/[^`]+::\w+`", tests)]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[^`]+::\w+)`", TABLE))))
def test_a_test_that_is_named_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    assert re.search(rf"^(?:async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE), name
