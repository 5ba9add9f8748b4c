"""The import contracts describe the rooms, and each of them notices what it forbids."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from workers.worker import RELEASE

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS: list[str] = PROJECT["tool"]["importlinter"]["root_packages"]

PLANTED = {
    "Imports point down": ("domain/planted_up.py", "import services.command\n"),
    "The terminal does not go through HTTP": ("cli/planted_http.py", "import api.context\n"),
    "The API imports workers for its own worker alone": ("api/planted_worker.py", "import activities.charge\n"),
    "Workflows do no I/O": ("workflows/planted_io.py", "import db.payment.payment\n"),
    "Only a PSP's own folder imports its SDK": ("services/planted_sdk.py", "import stripe\n"),
    "Only a broker's own file imports its client": ("services/planted_client.py", "import nats\n"),
    "Only a channel's own file imports its client": ("services/planted_channel.py", "import aiosmtplib\n"),
    "Only db imports SQLAlchemy or asyncpg": ("runtime/planted_sql.py", "import asyncpg\n"),
    "Rows, PSPs and rules know nothing of Temporal": ("db/planted_temporal.py", "import temporalio\n"),
    "Settings are read only where objects are wired": ("services/planted_settings.py", "import config.settings\n"),
    "The sandbox is a server of its own": ("sandbox/planted_ours.py", "import domain.money\n"),
}
"""Contract → the file that breaks it, and its one import."""


def test_every_room_is_under_contract() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests"}
    assert packages == set(ROOMS) == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_release_is_that_of_the_project() -> None:
    assert PROJECT["project"]["version"] == RELEASE


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]} == set(PLANTED)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Contract → KEPT or BROKEN, in a copy of the tree with every violation planted."""
    copy = tmp_path_factory.mktemp("planted")
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for path, text in PLANTED.values():
        (copy / path).write_text(text)
    command = (sys.executable, str(Path(sysconfig.get_path("scripts")) / "lint-imports"), "--no-cache")
    environment = os.environ | {"PYTHONPATH": str(copy), "COLUMNS": "200"}
    result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    return dict(re.findall(r"^(.+?) (KEPT|BROKEN)", result.stdout, re.MULTILINE))


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_violation_breaks_the_contract(verdicts: dict[str, str], contract: str) -> None:
    assert verdicts[contract] == "BROKEN"
