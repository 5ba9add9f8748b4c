"""The rules of the house that no linter knows: short files, imports without cycles, docstrings without riddles."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
FILES = sorted(path for room in [*ROOMS, "bench", "docs"] for path in (ROOT / room).rglob("*.py"))
LINES_MAX = 400
ONE_STORY = "workflows/payment.py"
"""Longer than the others: a payment reads better whole."""
FUNCTION_LINES_MAX = 70
RIDDLE = re.compile(r"(What|Who|Whose|How)\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_short(path: Path) -> None:
    generated = "migrations" in path.parts
    assert generated or name_of(path) == ONE_STORY or len(path.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_fits_a_screen(path: Path) -> None:
    if "migrations" in path.parts:
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_docstring_says_what_a_thing_is_or_does(path: Path) -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree_of(path)):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        assert text is None or not RIDDLE.match(text), f"{getattr(node, 'name', 'the module')}: {text}"
        assert text is None or "TODO" not in text


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that are imported when `path` runs; those for type checkers alone do not count."""
    tree = tree_of(path)
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (name for a in node.names for name in (f"{node.module}.{a.name}", node.module))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_files_import_each_other_in_one_direction() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
    graph = {module: {i for i in imports(path) if i in modules} - {module} for module, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' → '.join(error.args[1])}")
