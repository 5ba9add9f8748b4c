"""Limits of commands that only the terminal has: those of the API's texts of the same kind."""

import pytest

from tests.audit.test_operator_commands import run
from tests.commands.conftest import BY, audit_log
from tests.support.shop import Shop


@pytest.fixture
async def task(shop: Shop) -> str:
    """One that a person closes."""
    task_id = f"task_{shop.tenant}"
    await shop.paysaga.sql(
        "INSERT INTO operator_task (id, tenant_id, object_id, kind, detail) VALUES ($1, $2, $1, 'webhook_dead', '')",
        task_id,
        shop.tenant,
    )
    return task_id


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ("n" * 2001, "note: String should have at most 2000 characters"),
        ("4242 4242 4242 4242", "Card data is never accepted here; send a token."),
    ],
)
async def test_a_note_that_is_not_acceptable(shop: Shop, task: str, note: str, why: str) -> None:
    said = await run(shop, "tasks", "close", task, "--note", note, *BY)
    assert (said.code, said.err) == (1, f"paysaga: {task}: {why}\n")
    assert await audit_log(shop, task) == []


async def test_a_task_is_closed(shop: Shop, task: str) -> None:
    assert (await run(shop, "tasks", "close", task, "--note", "n" * 2000, *BY)).code == 0
    (logged,) = await audit_log(shop, task)
    assert (logged.actor, logged.action, logged.detail["kind"]) == ("olga", "task.close", "webhook_dead")


async def test_a_key_with_a_name_that_is_not_acceptable(shop: Shop) -> None:
    for name, why in (("n" * 201, "name: String should have at most 200 characters"), ("cvc 123", "Card data")):
        said = await run(shop, "keys", "create", "--tenant", shop.tenant, "--name", name)
        assert said.code == 1
        assert why in said.err
