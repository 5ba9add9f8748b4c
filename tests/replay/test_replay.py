"""The replay gate: today's workflows against yesterday's histories. Those of the run itself are replayed at its end
(`tests/conftest.py`).

A step that was renamed, removed, added or moved breaks payments that are under way; it breaks here first. When a change
is meant (`workflows/patches.py`), the histories stay and new ones are added:
`PAYSAGA_RECORD_HISTORIES=tests/replay/histories make test`.
"""

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

import activities
from db.core.keyring import Keyring
from runtime.codec import data_converter
from tests.support.histories import replayer

KEYRING = Keyring({"k1": bytes(32)})
"""As of before payloads were encrypted, what is stored is plain."""
STORED = sorted((Path(__file__).parent / "histories").glob("*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_stored_histories_replay(path: Path) -> None:
    history = WorkflowHistory.from_json(f"stored-{path.stem}", path.read_text())
    await replayer(data_converter(KEYRING)).replay_workflow(history)


NOT_STORED = {"seal_ledger", "open_reconciliation"}
"""Steps of runs that a schedule starts, each the first one: a new run goes by new code."""
_DEFINITION = "__temporal_activity_definition"


def activity_names() -> set[str]:
    """The registered names of every activity that there is."""
    modules = [import_module(f"activities.{file.name}") for file in pkgutil.iter_modules(activities.__path__)]
    classes = {found for module in modules for _, found in inspect.getmembers(module, inspect.isclass)}
    methods = [method for found in classes for _, method in inspect.getmembers(found, inspect.isfunction)]
    return {getattr(method, _DEFINITION).name for method in methods if hasattr(method, _DEFINITION)}


def test_every_step_is_stored() -> None:
    """The gate is as good as its histories: every activity must be in one of them."""
    seen = {step for path in STORED for step in path.stem.split(".")}
    assert activity_names() - seen == NOT_STORED
