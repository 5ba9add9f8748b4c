"""A run repeated changes nothing; what was decided stays decided; what is gone is closed; each sees its own."""

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import run as runs
from domain import ledger as books
from domain.errors import Conflict, NotFound, Unprocessable
from domain.ledger import Kind
from domain.reconciliation.discrepancy import Discrepancy, allowed_decisions
from domain.reconciliation.reconciliation import Decision, LineClass
from runtime.workflow_client import WorkflowClient
from services import discrepancy
from services.command import Caller
from tests.reconciliation.scenario import AMOUNT, DAY, FEE, LATER, NOON, Scenario, hours
from tests.reconciliation.test_reconciliation_classes import other


async def resolve(
    scenario: Scenario, disc: str, decision: Decision, note: str = "seen", tenant: str | None = None
) -> dict[str, Any]:
    no_client = cast(WorkflowClient, None)
    decided = await discrepancy.resolve(
        scenario.database, no_client, Caller("kim", tenant), disc, decision, note, at=LATER
    )
    return decided.row.model_dump(by_alias=True)


async def events(scenario: Scenario, kind: str) -> list[str]:
    return [row["object_id"] for row in await scenario.sql("SELECT object_id FROM outbox WHERE type = $1", kind)]


# --- again ---


async def test_the_same_breaks_again(scenario: Scenario) -> None:
    unlisted, short = await scenario.paid(), await scenario.paid()
    lines = [short.line(amount=1), other()]
    first = await scenario.run(*lines)
    before = await scenario.open_ones()
    assert (len(before), first.matched.opened) == (3, 3)
    again = await scenario.run(*lines, at=LATER + hours(6))
    after = await scenario.open_ones(None)
    assert [(d["id"], d["class"], d["due_at"]) for d in after] == [(d["id"], d["class"], d["due_at"]) for d in before]
    assert {d["last_run_id"] for d in after} == {again.run_id}
    assert (again.matched.opened, again.matched.closed, again.counts) == (0, 0, first.counts)
    assert len(await events(scenario, "discrepancy.opened")) == 3
    assert unlisted.charge_id in {d["object_id"] for d in after}


async def test_matching_a_run_twice(scenario: Scenario) -> None:
    """The activity's answer was lost: the second finds what the first has written."""
    run_id = await scenario.open()
    await scenario.staged(run_id, [other()])
    first, second = [await scenario.match(run_id) for _ in range(2)]
    assert first == second
    assert len(await scenario.database.read(lambda c: runs.items(c, None, run_id))) == 1


async def test_two_runs_at_once(scenario: Scenario) -> None:
    ids = [await scenario.open() for _ in range(2)]
    for run_id in ids:
        await scenario.staged(run_id, [other()])
    await asyncio.gather(*(scenario.match(run_id) for run_id in ids))
    assert len(await scenario.open_ones(None)) == 1


async def test_what_the_psp_sets_right_is_closed(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line(amount=AMOUNT - 1), other())
    found = await scenario.run(paid.line(), other())
    assert (found.classes, found.matched.closed) == (["missing_here"], 1)
    (disc,) = await scenario.open_ones("FIXED")
    assert (disc["object_id"], disc["there_amount"]) == (paid.charge_id, AMOUNT - 1), "what it was stays on record"
    assert await events(scenario, "discrepancy.resolved") == [disc["id"]]


async def test_it_comes_back_as_a_new_one(scenario: Scenario) -> None:
    paid = await scenario.paid()
    for amount in (AMOUNT - 1, AMOUNT, AMOUNT - 1):
        await scenario.run(paid.line(amount=amount))
    assert [d["status"] for d in await scenario.open_ones(None)] == ["OPEN", "FIXED"]


async def test_what_was_nobodys_becomes_somebodys(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.sql("UPDATE charge SET reference = NULL WHERE id = $1", paid.charge_id)
    line = paid.line(our_reference=None, occurred_at=NOON - hours(2))
    assert (await scenario.run(line)).classes == ["missing_at_psp", "missing_here"]
    await scenario.sql("UPDATE charge SET reference = $2 WHERE id = $1", paid.charge_id, paid.intent)
    found = await scenario.run(window=(DAY + timedelta(days=2), DAY + timedelta(days=3)))
    assert (found.classes, found.matched.closed) == (["matched"], 2)


# --- decisions ---


async def test_adjust(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line(amount=AMOUNT - 1000))
    (disc,) = await scenario.open_ones()
    assert allowed_decisions(Discrepancy.model_validate(disc)) == [Decision.ADJUST, Decision.ACCEPT]
    row = await resolve(scenario, disc["id"], Decision.ADJUST, "chargeback by letter")
    assert (row["status"], row["resolved_by"], row["note"]) == ("RESOLVED", "kim", "chargeback by letter")
    posted = await scenario.sql(
        "SELECT p.account, p.amount FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id"
        " WHERE t.kind = 'adjustment' AND t.source_id = $1 AND t.id = $2 ORDER BY p.amount",
        disc["id"],
        row["ledger_transaction_id"],
    )
    assert [tuple(line) for line in posted] == [("psp_clearing:stripe", -1000), ("adjustments", 1000)]
    (entry,) = await scenario.sql("SELECT actor, action, detail FROM audit_log WHERE object_id = $1", disc["id"])
    assert (entry["actor"], entry["action"]) == ("kim", "discrepancy.resolve")


async def test_what_was_resolved_is_not_opened_again(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line(amount=AMOUNT - 1000))
    (disc,) = await scenario.open_ones()
    await resolve(scenario, disc["id"], Decision.ADJUST)
    found = await scenario.run(paid.line(amount=AMOUNT - 1000))
    assert found.one(LineClass.AMOUNT)["discrepancy_id"] == disc["id"]
    assert await scenario.open_ones() == []
    await scenario.run(paid.line(amount=AMOUNT - 2000))
    assert len(await scenario.open_ones()) == 1, "that is another break"


async def test_to_suspense(scenario: Scenario) -> None:
    await scenario.run(other(amount=5000, fee=100))
    (disc,) = await scenario.open_ones()
    await resolve(scenario, disc["id"], Decision.TO_SUSPENSE)
    balances = await scenario.sql("SELECT account, sum(amount)::int AS s FROM ledger_posting GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in balances] == [("psp_clearing:stripe", 4900), ("suspense", -4900)]


async def test_adjust_a_currency(scenario: Scenario) -> None:
    paid = await scenario.paid()
    await scenario.run(paid.line(currency="USD"))
    (disc,) = await scenario.open_ones()
    await resolve(scenario, disc["id"], Decision.ADJUST)
    rows = await scenario.sql(
        "SELECT currency, sum(amount)::int AS s FROM ledger_posting WHERE account = 'psp_clearing:stripe' GROUP BY 1"
    )
    assert {row["currency"]: row["s"] for row in rows} == {"INR": 0, "USD": AMOUNT - FEE}


async def test_decisions_that_are_refused(scenario: Scenario) -> None:
    await scenario.run(other())
    (disc,) = await scenario.open_ones()
    with pytest.raises(Unprocessable, match="takes: adjust, accept") as refused:
        await resolve(scenario, disc["id"], Decision.TO_SUSPENSE)
    assert refused.value.code == "decision_not_allowed"
    with pytest.raises(Unprocessable) as silent:
        await resolve(scenario, disc["id"], Decision.ACCEPT, " ")
    assert silent.value.code == "note_required"
    await resolve(scenario, disc["id"], Decision.ACCEPT)
    with pytest.raises(Conflict) as twice:
        await resolve(scenario, disc["id"], Decision.ADJUST)
    assert twice.value.code == "discrepancy_closed"
    with pytest.raises(NotFound):
        await resolve(scenario, "disc_nothing", Decision.ACCEPT)
    assert await scenario.sql("SELECT FROM ledger_transaction") == []


async def test_two_people_decide_at_once(scenario: Scenario) -> None:
    await scenario.run(other())
    (disc,) = await scenario.open_ones()
    answers = await asyncio.gather(
        *(resolve(scenario, disc["id"], Decision.ADJUST) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "dict"]
    assert len(await scenario.sql("SELECT FROM ledger_transaction")) == 1


async def test_nothing_is_erased(scenario: Scenario) -> None:
    await scenario.run(other())
    (disc,) = await scenario.open_ones()
    await resolve(scenario, disc["id"], Decision.ACCEPT)
    for statement in (
        "UPDATE discrepancy SET status = 'OPEN', resolved_at = NULL, resolved_by = NULL",
        "UPDATE reconciliation_line SET amount = 0",
        "DELETE FROM reconciliation_item",
        "TRUNCATE reconciliation_line",
    ):
        with pytest.raises(Exception, match=r"cannot become|append-only"):
            await scenario.sql(statement)


# --- the alarm ---


async def test_a_task_once_it_is_overdue(scenario: Scenario) -> None:
    await scenario.paid()
    await scenario.run(at=NOON + hours(3))
    (disc,) = await scenario.open_ones()
    assert await scenario.database.run(lambda c: discrepancies.alert(c, disc["due_at"] - hours(0.1))) == []
    told = await scenario.database.run(lambda c: discrepancies.alert(c, disc["due_at"]))
    assert [row.id for row in told] == [disc["id"]]
    assert await scenario.database.run(lambda c: discrepancies.alert(c, LATER)) == [], "once"
    (task,) = await scenario.sql("SELECT tenant_id, object_id, kind, closed_at FROM operator_task")
    assert (task["tenant_id"], task["object_id"], task["kind"]) == ("shop", disc["id"], "unmatched")
    counts = await scenario.database.read(lambda c: discrepancies.open_counts(c, LATER))
    assert [(row.cls, row.open, row.overdue) for row in counts] == [("timing", 1, 1)]
    await resolve(scenario, disc["id"], Decision.ACCEPT)
    (task,) = await scenario.sql("SELECT closed_by, resolution FROM operator_task WHERE closed_at IS NOT NULL")
    assert tuple(task) == ("kim", "accept")


# --- tenants ---


async def test_each_tenant_sees_its_own(scenario: Scenario) -> None:
    await scenario.seller("rival")
    mine, theirs = await scenario.paid(), await scenario.paid(tenant="rival")
    found = await scenario.run(mine.line(amount=1), theirs.line(amount=2), other())
    seen = {tenant: {d["object_id"] for d in await scenario.open_ones(tenant=tenant)} for tenant in ("shop", "rival")}
    assert seen == {"shop": {mine.charge_id}, "rival": {theirs.charge_id}}, "what is nobody's, neither sees"
    assert len(await scenario.open_ones()) == 3
    items = await scenario.database.read(lambda c: runs.items(c, "rival", found.run_id))
    assert [item.object_id for item in items] == [theirs.charge_id]
    assert await scenario.database.read(lambda c: runs.find(c, "rival", found.run_id)) is None
    (hers,) = await scenario.open_ones(tenant="rival")
    with pytest.raises(NotFound):
        await resolve(scenario, hers["id"], Decision.ACCEPT, tenant="shop")


async def test_a_tenant_that_is_alone_sees_what_is_nobodys(scenario: Scenario) -> None:
    await scenario.run(other())
    assert len(await scenario.open_ones(tenant="shop")) == 1


# --- corrections ---


async def test_the_ledger_is_corrected_without_a_line(scenario: Scenario) -> None:
    """A correction that a person booked is expected on nobody's list."""
    await scenario.run(other())
    (disc,) = await scenario.open_ones()
    await resolve(scenario, disc["id"], Decision.ADJUST)
    await scenario.post(Kind.ADJUSTMENT, "disc_x", books.psp_fee("stripe", 5, "INR"))
    assert (await scenario.run(other(), window=(DAY, LATER + hours(1)))).classes == ["missing_here"]
