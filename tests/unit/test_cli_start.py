"""Commands import what they need when they are called: a command starts as quickly as what it does allows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("aiohttp", "alembic", "fastapi", "limits", "sqlalchemy", "stripe", "temporalio")

_HELP = """
import json, sys
from typer.testing import CliRunner
from cli.main import app
for words in {words}:
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""
_PAGES = """
import json, pkgutil, sys
from importlib import import_module
import cli.pages, cli.connection, cli.documents
ASK_TEMPORAL = {{"audit", "reconciliation_run"}}
for found in pkgutil.iter_modules(cli.pages.__path__):
    if found.name not in ASK_TEMPORAL:
        import_module("cli.pages." + found.name)
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""
_DOCUMENTS = """
import json, pkgutil, sys
from importlib import import_module
import api
nouns = [found.name for found in pkgutil.iter_modules(api.__path__) if found.ispkg]
assert nouns
for noun in nouns:
    import_module(f"api.{{noun}}.shapes")
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""


def imported(code: str) -> list[str]:
    """Of `HEAVY`, by a Python of its own."""
    command = (sys.executable, "-c", code)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout)
    return names


@pytest.mark.parametrize(
    "words", [[[]], [["payments"], ["payments", "show"], ["tasks"], ["audit"], ["reconcile", "run"]]]
)
def test_help_imports_neither_the_database_nor_temporal(words: list[list[str]]) -> None:
    assert imported(_HELP.format(words=words, heavy=HEAVY)) == []


def test_pages_of_the_database_import_nothing_of_temporal_or_a_psp() -> None:
    assert imported(_PAGES.format(heavy=HEAVY)) == ["sqlalchemy"]


def test_shapes_of_documents_import_nothing_of_http_temporal_or_a_psp() -> None:
    assert imported(_DOCUMENTS.format(heavy=HEAVY)) == ["sqlalchemy"]


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_help_of_a_program_names_the_command_that_was_typed(command: str, tmp_path: Path) -> None:
    environment = {"PAYSAGA_HOME": str(tmp_path), "PATH": "", "NO_COLOR": "1"}
    typed = (sys.executable, "-m", "cli.main", command, "--help")
    done = subprocess.run(typed, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"paysaga {command} " in done.stdout
    assert "python -m" not in done.stdout
