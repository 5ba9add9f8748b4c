"""Every command that the README, the pages, the tasks, the hints and the refusals print can be typed as it stands."""

import ast
import asyncio
import json
import os
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.hints import _HINTS, hint
from db.task import CLOSED_BY_HAND, Task
from domain.ids import new_id
from tests.api.objects import discrepancy
from tests.audit.command import paysaga_command
from tests.support.printed import Refused, blocks, commands, for_shells, require_parses
from tests.support.shop import Shop

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "activities", "cli", "config", "db", "demo", "domain", "embedded", "gateways", "runtime", "services")
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "deploy/README.md",
    ROOT / "sandbox/README.md",
]
STARTS = re.compile(r"\s*(\.venv/bin/|paysaga |make |docker |curl |python3? |pip |export |cp )")
RUNS_ON = ("make run", ".venv/bin/python -m sandbox")
"""What stays in the foreground: nothing behind it in a block would be run."""


def page(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- pages ---


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_a_page_shows_commands_that_the_program_takes(path: Path) -> None:
    for command in commands(path.read_text()):
        require_parses(command)


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_a_block_can_be_pasted_into_bash_and_zsh(path: Path) -> None:
    text = path.read_text()
    for language, block in blocks(text):
        if language == "sh":
            assert for_shells(block) is None
            assert not block.startswith(RUNS_ON) or block.count("\n") == 1
        else:
            assert [line for line in block.splitlines() if STARTS.match(line)] == [], "say ```sh"
    indented = [line for line in text.splitlines() if line.startswith("    ") and STARTS.match(line)]
    assert indented == [], "say ```sh"


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_a_target_of_make_that_is_named_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.MULTILINE)) <= targets


def test_a_page_names_commands_in_full() -> None:
    """`refunds list` is none: whoever pastes it is told so by the shell."""
    groups = "payments|refunds|disputes|merchants|payouts|reconcile|ledger|webhooks|keys|operators|workflows|tasks|risk"
    for path in PAGES:
        assert re.findall(rf"`(?:{groups}) [^`]*`", path.read_text()) == [], page(path)


# --- what the program itself says ---


FILLED = "2026-11-20"
"""In place of what a sentence fills in: an id as well as a day."""


def texts(path: Path) -> Iterator[str]:
    """Every text in a file that somebody is shown: of the docstrings, those of commands and routes."""
    tree = ast.parse(path.read_text())
    shown = page(path).startswith(("api/", "cli/commands/", "cli/main"))
    own = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    silent = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module) or (isinstance(node, own) and not shown)
        if isinstance(node.body[0], ast.Expr)
    }
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in silent or id(node) in inner:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_a_sentence_of_the_program_names_commands_that_it_takes() -> None:
    found = 0
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        if page(path) == "cli/hints.py":
            continue  # below, with ids
        for text in texts(path):
            for command in commands(text):
                found += 1
                require_parses(command)
    assert found > 20


# --- tasks ---

IDS = {noun: new_id(noun) for noun in ("pay", "re", "dp", "whk", "task", "pt", "rec", "disc")}
OBJECTS = {
    "payout_not_made": "shop/seller-1/INR",
    "payout_run_missed": "2026-11-20",
    "unmatched": IDS["disc"],
    "reconciliation_failed": IDS["rec"],
    "workflow_failing": f"payment:{IDS['pay']}",
}
DETAIL = f"Refund {IDS['re']}, dispute {IDS['dp']}, event {IDS['whk']}."


def task_of(kind: str, detail: str = DETAIL) -> Task:
    object_id = OBJECTS.get(kind, IDS["pt"])
    return Task(IDS["task"], "shop", IDS["pay"], object_id, kind, detail, datetime.now(UTC), None, None, None)


@pytest.mark.parametrize("kind", sorted({*_HINTS, *CLOSED_BY_HAND, "of a kind to come"}))
def test_the_hint_of_a_task_can_be_pasted(kind: str) -> None:
    said = hint(task_of(kind))
    found = commands(said)
    for command in found:
        require_parses(command)
        words = shlex.split(command)
        assert not {"ID", "SELLER", "NAME"} & set(words)
        unknown = [word for word in words if "…" in word]
        assert unknown == [] or words[-2:] == ["--reference", *unknown], "the PSP's id alone is the person's to find"
    lines = said.splitlines()
    assert [line for line in lines if "`" in line] == [f"`{command}`" for command in found], "alone on its line"
    assert max(len(line) for line in lines if "`" not in line) < 80


@pytest.mark.parametrize("kind", sorted(_HINTS))
def test_a_task_that_does_not_name_its_object_says_where_to_find_it(kind: str) -> None:
    for command in commands(hint(task_of(kind, ""))):
        require_parses(command)
        assert not re.search(r"\b(re|dp|whk)_…(?!$)", command.removesuffix("--reference re_…"))


def test_what_cannot_be_typed_is_noticed() -> None:
    for line in (
        "paysaga payments show",
        "paysaga payments resolve ID",
        "paysaga payments resolve ID --decision …",
        "paysaga payments resolve ID --decision maybe",
        "paysaga ledger statement SELLER",
        "paysaga payments capture ID [--amount 1.00]",
        "paysaga payments show ID  # the story",
        "paysaga payouts show ID more",
        "paysaga nothing",
    ):
        with pytest.raises(Refused):
            require_parses(line)


async def test_a_seller_is_added_as_the_page_about_containers_says(shop: Shop) -> None:
    (command,) = (b for _, b in blocks((ROOT / "deploy/README.md").read_text()) if b.startswith("curl"))
    command = command.replace("http://localhost:8000", str(shop.paysaga.http.base_url).rstrip("/"))
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command), env={**os.environ, "KEY": shop.secret}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert json.loads(output)["seller_account"] == "seller_anna"


async def test_what_the_pages_of_a_deployment_print_is_taken_by_it(shop: Shop) -> None:
    """The commands of real tasks and of a real break, run as they are printed, under the login's name."""
    found = await discrepancy(shop)
    payment = await shop.paid(shop.checkout())
    webhook = "INSERT INTO operator_task (id, tenant_id, payment_id, kind, detail) VALUES ($1, $2, $3, $4, '')"
    task = new_id("task")
    await shop.paysaga.sql(webhook, task, shop.tenant, payment["id"], "refund_came_back")
    environment = shop.paysaga.environment() | {"LOGNAME": "olga"}

    async def run(command: str) -> str:
        said = await paysaga_command(environment, *shlex.split(command)[1:])
        assert said.code == 0, (command, said.err)
        return said.out

    tasks = await run("paysaga tasks")
    printed = [c for c in commands(tasks) if payment["id"] in c or task in c]
    assert f"paysaga refunds create {payment['id']}" in printed
    for command in dict.fromkeys(printed):
        await run(command)
    (closed,) = await shop.paysaga.sql("SELECT closed_by FROM operator_task WHERE id = $1", task)
    assert closed["closed_by"] == "olga"
    offered = re.findall(r"paysaga reconcile resolve .*", await run(f"paysaga reconcile discrepancy {found}"))
    for command in offered:
        require_parses(command.strip())
    await run(offered[-1])
    (row,) = await shop.paysaga.sql("SELECT status, resolved_by FROM discrepancy WHERE id = $1", found)
    assert (row["status"], row["resolved_by"]) == ("RESOLVED", "olga")
