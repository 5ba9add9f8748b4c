"""The log of a run in pages, which are only how it is read; and what the terminal shows of it."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.pages.reconciliation import items_page
from cli.pages.reconciliation_log import write_log
from db.reconciliation import log
from db.reconciliation import run as runs
from domain.reconciliation.reconciliation import LineClass, Source
from embedded.errors import StackError
from tests.reconciliation.scenario import AMOUNT, DAY, FEE, Scenario
from tests.reconciliation.test_reconciliation_classes import other


async def entries(scenario: Scenario, run_id: str, tenant: str | None = None) -> list[log.Entry]:
    run = await scenario.database.read(lambda c: runs.get(c, run_id))
    shown = await log.view(scenario.database, run, tenant)
    return [entry async for entry in log.entries(scenario.database, run, shown)]


async def a_run(scenario: Scenario) -> str:
    """Two items of one line, a line that comes again, one around the window, and records without a line."""
    paid = [await scenario.paid() for _ in range(5)]
    lines = [paid[0].line(), paid[1].line(amount=AMOUNT - 1, fee=FEE + 1), paid[0].line(), other()]
    lines += [other("txn_early", occurred_at=DAY - timedelta(minutes=1)), paid[2].line()]
    return (await scenario.run(*lines)).run_id


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_pages_are_nothing_but_pages(scenario: Scenario, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    run_id = await a_run(scenario)
    whole = await entries(scenario, run_id)
    assert [entry.line_no for entry in whole] == [1, 2, 2, 4, 6, None, None]
    assert [entry.cls for entry in whole[:5]] == ["matched", "amount", "fee", "missing_here", "matched"]
    monkeypatch.setattr(log, "PAGE", page)
    assert await entries(scenario, run_id) == whole


@pytest.mark.parametrize("page", [1, 100])
async def test_pages_of_a_tenant_that_shares_the_account(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    await scenario.seller("rival", "rita")
    run_id = await a_run(scenario)
    monkeypatch.setattr(log, "PAGE", page)
    assert [entry.line_no for entry in await entries(scenario, run_id, "shop")] == [2, 2, None, None]
    assert await entries(scenario, run_id, "rival") == []


async def test_what_comes_again_in_a_file_is_in_the_log(scenario: Scenario) -> None:
    paid = await scenario.paid()
    run_id = (await scenario.run(paid.line(), paid.line(), source=Source.FILE)).run_id
    assert [(entry.line_no, entry.cls) for entry in await entries(scenario, run_id)] == [
        (1, "matched"),
        (2, "duplicate"),
    ]


# --- on the terminal ---


async def shown(scenario: Scenario, run_id: str, cls: LineClass | None = None, after: int = 0, limit: int = 50) -> str:
    console = Console(file=io.StringIO(), width=300)
    console.print((await items_page(scenario.database, run_id, cls=cls, after=after, limit=limit)).shown)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


async def test_items_by_class_and_in_pages(scenario: Scenario) -> None:
    run_id = await a_run(scenario)
    items = await scenario.database.read(lambda c: runs.items(c, None, run_id))
    every = await shown(scenario, run_id)
    assert all(item.reason in every for item in items)
    amount = await shown(scenario, run_id, LineClass.AMOUNT)
    assert "499.99 INR" in amount
    assert "missing" not in amount
    assert "None." in await shown(scenario, run_id, LineClass.CURRENCY)
    first = await shown(scenario, run_id, limit=1)
    assert f"--after {items[0].seq}" in first
    rest = await shown(scenario, run_id, after=items[0].seq)
    assert items[0].reason not in rest
    assert items[1].reason in rest
    with pytest.raises(StackError, match="is STAGING"):
        await shown(scenario, await scenario.open())


async def test_the_log_as_csv_and_as_json_lines(scenario: Scenario, tmp_path: Path) -> None:
    run_id = await a_run(scenario)
    files = tmp_path / "log.csv", tmp_path / "log.jsonl"
    for file, as_json in zip(files, (False, True), strict=True):
        await write_log(scenario.database, run_id, file, as_json=as_json)
    rows = list(csv.DictReader(io.StringIO(files[0].read_text())))
    lines = [json.loads(line) for line in files[1].read_text().splitlines()]
    assert [(row["class"], row["reason"]) for row in rows] == [(line["class"], line["reason"]) for line in lines]
    assert lines[1]["there"]["amount"] == rows[1]["there_amount"] == "499.99"


def test_a_log_is_of_one_form() -> None:
    said = CliRunner().invoke(app, ["reconcile", "log", "rec_1", "--json", "--csv", "x.csv"])
    assert said.exit_code == 2
