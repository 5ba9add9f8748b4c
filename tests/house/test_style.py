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
FILES = sorted(path for room in [*ROOMS, "bench", "docs", "examples"] for path in (ROOT / room).rglob("*.py"))
LINES_MAX = 400
ONE_STORY = "workflows/payment.py"
"""Longer than the others: a payment reads better whole."""
FUNCTION_LINES_MAX = 70
RIDDLE = re.compile(r"(What|Who|Whose|How)\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_files_are_short() -> None:
    def is_short(path: Path) -> bool:
        return "migrations" in path.parts or name_of(path) == ONE_STORY or lines_of(path) <= LINES_MAX

    assert [name_of(path) for path in FILES if not is_short(path)] == []


def test_functions_fit_a_screen() -> None:
    def long(path: Path) -> Iterator[str]:
        functions = (n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
        for function in functions:
            if (function.end_lineno or 0) - function.lineno >= FUNCTION_LINES_MAX:
                yield f"{name_of(path)}: {function.name}"

    assert [name for path in FILES if "migrations" not in path.parts for name in long(path)] == []


def test_docstrings_say_what_a_thing_is_or_does() -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

    def riddles(path: Path) -> Iterator[str]:
        for node in ast.walk(tree_of(path)):
            text = ast.get_docstring(node) if isinstance(node, documented) else None
            if text is not None and (RIDDLE.match(text) or "TODO" in text):
                yield f"{name_of(path)}: {getattr(node, 'name', 'the module')}: {text}"

    assert [riddle for path in FILES for riddle in riddles(path)] == []


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


def test_routes_have_no_tenant_but_that_of_a_caller() -> None:
    """`caller` and `tenant_of` know of merchants, and of all who reach less than a tenant; a bare tenant does not."""

    def bare(path: Path) -> Iterator[str]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "who.tenant_id":
                yield f"{name_of(path)}:{node.lineno}"

    routes = [path for path in FILES if path.is_relative_to(ROOT / "api") and name_of(path) != "api/access.py"]
    assert [place for path in routes for place in bare(path)] == []


def test_requests_are_handled_on_the_event_loop() -> None:
    """FastAPI runs a route or a dependency that is no coroutine on a thread: two switches of thread a request."""

    def asked_for(tree: ast.AST) -> set[str]:
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        of_fastapi = (call for call in calls if ast.unparse(call.func) in ("Depends", "Security") and call.args)
        return {ast.unparse(call.args[0]).rpartition(".")[2] for call in of_fastapi}

    trees = [tree_of(path) for path in FILES if path.is_relative_to(ROOT / "api")]
    dependencies = {name for tree in trees for name in asked_for(tree)}
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    routes = {f.name for f in functions if any(ast.unparse(one).startswith("router.") for one in f.decorator_list)}
    assert ({f.name for f in functions} & dependencies) | routes == set()


def test_nothing_is_printed_at_the_terminal_past_what_makes_it_safe() -> None:
    """Pages are made of `cli.pages.format`, whose texts cannot steer a terminal; what prints them is written once."""
    makers = {"cli/command_line.py", "cli/pages/format.py", "cli/pages/layout.py"}
    forbidden = {"rich.text", "rich.text.Text", "rich.table", "rich.table.Table", "rich.markup", "rich.print"}
    writers = {"cli/command_line.py", "cli/files.py", "cli/main.py", "cli/pages/audit.py", "cli/commands/risk.py"}
    writing = re.compile(r"\bprint\(|\becho\(|std(?:out|err)\.write|\bConsole\(|\.from_markup\(")
    for path in (path for path in FILES if name_of(path).startswith("cli/")):
        name = name_of(path)
        if name not in makers:
            assert forbidden.isdisjoint(imports(path)), name
        bare = [line for line in path.read_text().splitlines() if writing.search(line) and "console.print(" not in line]
        assert name in writers or not bare, (name, bare)
