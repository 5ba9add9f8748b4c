"""A run repeated changes nothing; what was decided stays decided; what is gone is closed; each sees its own."""

import asyncio
from datetime import timedelta

import pytest

from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import run as runs
from domain import ledger as books
from domain.errors import Conflict, NotFound, Unprocessable
from domain.ledger import Kind
from domain.reconciliation.reconciliation import Decision, LineClass, ResolveStep, allowed_decisions
from tests.reconciliation.test_reconciliation_classes import other
from tests.reconciliation.world import AMOUNT, DAY, FEE, LATER, NOON, World, hours


async def resolve(world: World, disc: str, decision: Decision, note: str = "seen") -> dict[str, object]:
    step = ResolveStep(discrepancy_id=disc, decision=decision, by="kim", note=note, at=LATER)
    return await world.database.run(lambda c: discrepancies.resolve(c, step))


async def events(world: World, kind: str) -> list[str]:
    return [row["object_id"] for row in await world.sql("SELECT object_id FROM outbox WHERE type = $1", kind)]


# --- again ---


async def test_the_same_breaks_again(world: World) -> None:
    unlisted, short = await world.paid(), await world.paid()
    lines = [short.line(amount=1), other()]
    first = await world.run(*lines)
    before = await world.open_ones()
    assert (len(before), first.matched.opened) == (3, 3)
    again = await world.run(*lines, at=LATER + hours(6))
    after = await world.open_ones(None)
    assert [(d["id"], d["class"], d["due_at"]) for d in after] == [(d["id"], d["class"], d["due_at"]) for d in before]
    assert {d["last_run_id"] for d in after} == {again.run_id}
    assert (again.matched.opened, again.matched.closed, again.counts) == (0, 0, first.counts)
    assert len(await events(world, "discrepancy.opened")) == 3
    assert unlisted.charge_id in {d["object_id"] for d in after}


async def test_matching_a_run_twice(world: World) -> None:
    """The activity's answer was lost: the second finds what the first has written."""
    run_id = await world.open()
    await world.staged(run_id, [other()])
    first, second = [await world.match(run_id) for _ in range(2)]
    assert first == second
    assert len(await world.database.read(lambda c: runs.items(c, None, run_id))) == 1


async def test_two_runs_at_once(world: World) -> None:
    ids = [await world.open() for _ in range(2)]
    for run_id in ids:
        await world.staged(run_id, [other()])
    await asyncio.gather(*(world.match(run_id) for run_id in ids))
    assert len(await world.open_ones(None)) == 1


async def test_what_the_psp_sets_right_is_closed(world: World) -> None:
    paid = await world.paid()
    await world.run(paid.line(amount=AMOUNT - 1), other())
    found = await world.run(paid.line(), other())
    assert (found.classes, found.matched.closed) == (["missing_here"], 1)
    (disc,) = await world.open_ones("FIXED")
    assert (disc["object_id"], disc["there_amount"]) == (paid.charge_id, AMOUNT - 1), "what it was stays on record"
    assert await events(world, "discrepancy.resolved") == [disc["id"]]


async def test_it_comes_back_as_a_new_one(world: World) -> None:
    paid = await world.paid()
    for amount in (AMOUNT - 1, AMOUNT, AMOUNT - 1):
        await world.run(paid.line(amount=amount))
    assert [d["status"] for d in await world.open_ones(None)] == ["OPEN", "FIXED"]


async def test_what_was_nobodys_becomes_somebodys(world: World) -> None:
    paid = await world.paid()
    await world.sql("UPDATE charge SET reference = NULL WHERE id = $1", paid.charge_id)
    line = paid.line(our_reference=None, occurred_at=NOON - hours(2))
    assert (await world.run(line)).classes == ["missing_at_psp", "missing_here"]
    await world.sql("UPDATE charge SET reference = $2 WHERE id = $1", paid.charge_id, paid.intent)
    found = await world.run(window=(DAY + timedelta(days=2), DAY + timedelta(days=3)))
    assert (found.classes, found.matched.closed) == (["matched"], 2)


# --- decisions ---


async def test_adjust(world: World) -> None:
    paid = await world.paid()
    await world.run(paid.line(amount=AMOUNT - 1000))
    (disc,) = await world.open_ones()
    assert allowed_decisions(disc) == [Decision.ADJUST, Decision.ACCEPT]
    row = await resolve(world, disc["id"], Decision.ADJUST, "chargeback by letter")
    assert (row["status"], row["resolved_by"], row["note"]) == ("RESOLVED", "kim", "chargeback by letter")
    posted = await world.sql(
        "SELECT p.account, p.amount FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id"
        " WHERE t.kind = 'adjustment' AND t.source_id = $1 AND t.id = $2 ORDER BY p.amount",
        disc["id"],
        row["ledger_transaction_id"],
    )
    assert [tuple(line) for line in posted] == [("psp_clearing:stripe", -1000), ("adjustments", 1000)]
    (entry,) = await world.sql("SELECT actor, action, detail FROM audit_log WHERE object_id = $1", disc["id"])
    assert (entry["actor"], entry["action"]) == ("kim", "discrepancy.resolve")


async def test_what_was_resolved_is_not_opened_again(world: World) -> None:
    paid = await world.paid()
    await world.run(paid.line(amount=AMOUNT - 1000))
    (disc,) = await world.open_ones()
    await resolve(world, disc["id"], Decision.ADJUST)
    found = await world.run(paid.line(amount=AMOUNT - 1000))
    assert found.one(LineClass.AMOUNT)["discrepancy_id"] == disc["id"]
    assert await world.open_ones() == []
    await world.run(paid.line(amount=AMOUNT - 2000))
    assert len(await world.open_ones()) == 1, "that is another break"


async def test_to_suspense(world: World) -> None:
    await world.run(other(amount=5000, fee=100))
    (disc,) = await world.open_ones()
    await resolve(world, disc["id"], Decision.TO_SUSPENSE)
    balances = await world.sql("SELECT account, sum(amount)::int AS s FROM ledger_posting GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in balances] == [("psp_clearing:stripe", 4900), ("suspense", -4900)]


async def test_adjust_a_currency(world: World) -> None:
    paid = await world.paid()
    await world.run(paid.line(currency="USD"))
    (disc,) = await world.open_ones()
    await resolve(world, disc["id"], Decision.ADJUST)
    rows = await world.sql(
        "SELECT currency, sum(amount)::int AS s FROM ledger_posting WHERE account = 'psp_clearing:stripe' GROUP BY 1"
    )
    assert {row["currency"]: row["s"] for row in rows} == {"INR": 0, "USD": AMOUNT - FEE}


async def test_decisions_that_are_refused(world: World) -> None:
    await world.run(other())
    (disc,) = await world.open_ones()
    with pytest.raises(Unprocessable, match="takes: adjust, accept") as refused:
        await resolve(world, disc["id"], Decision.TO_SUSPENSE)
    assert refused.value.code == "decision_not_allowed"
    with pytest.raises(Unprocessable) as silent:
        await resolve(world, disc["id"], Decision.ACCEPT, " ")
    assert silent.value.code == "note_required"
    await resolve(world, disc["id"], Decision.ACCEPT)
    with pytest.raises(Conflict) as twice:
        await resolve(world, disc["id"], Decision.ADJUST)
    assert twice.value.code == "discrepancy_closed"
    with pytest.raises(NotFound):
        await resolve(world, "disc_nothing", Decision.ACCEPT)
    assert await world.sql("SELECT FROM ledger_transaction") == []


async def test_two_people_decide_at_once(world: World) -> None:
    await world.run(other())
    (disc,) = await world.open_ones()
    answers = await asyncio.gather(
        *(resolve(world, disc["id"], Decision.ADJUST) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "dict"]
    assert len(await world.sql("SELECT FROM ledger_transaction")) == 1


async def test_nothing_is_erased(world: World) -> None:
    await world.run(other())
    (disc,) = await world.open_ones()
    await resolve(world, disc["id"], Decision.ACCEPT)
    for statement in (
        "UPDATE discrepancy SET status = 'OPEN', resolved_at = NULL, resolved_by = NULL",
        "UPDATE reconciliation_line SET amount = 0",
        "DELETE FROM reconciliation_item",
        "TRUNCATE reconciliation_line",
    ):
        with pytest.raises(Exception, match=r"cannot become|append-only"):
            await world.sql(statement)


# --- the alarm ---


async def test_a_task_once_it_is_overdue(world: World) -> None:
    await world.paid()
    await world.run(at=NOON + hours(3))
    (disc,) = await world.open_ones()
    assert await world.database.run(lambda c: discrepancies.alert(c, disc["due_at"] - hours(0.1))) == []
    told = await world.database.run(lambda c: discrepancies.alert(c, disc["due_at"]))
    assert [row["id"] for row in told] == [disc["id"]]
    assert await world.database.run(lambda c: discrepancies.alert(c, LATER)) == [], "once"
    (task,) = await world.sql("SELECT tenant_id, object_id, kind, closed_at FROM operator_task")
    assert (task["tenant_id"], task["object_id"], task["kind"]) == ("shop", disc["id"], "unmatched")
    counts = await world.database.read(lambda c: discrepancies.open_counts(c, LATER))
    assert [(row["class"], row["open"], row["overdue"]) for row in counts] == [("timing", 1, 1)]
    await resolve(world, disc["id"], Decision.ACCEPT)
    (task,) = await world.sql("SELECT closed_by, resolution FROM operator_task WHERE closed_at IS NOT NULL")
    assert tuple(task) == ("kim", "accept")


# --- tenants ---


async def test_each_tenant_sees_its_own(world: World) -> None:
    await world.seller("rival")
    mine, theirs = await world.paid(), await world.paid(tenant="rival")
    found = await world.run(mine.line(amount=1), theirs.line(amount=2), other())
    seen = {tenant: {d["object_id"] for d in await world.open_ones(tenant=tenant)} for tenant in ("shop", "rival")}
    assert seen == {"shop": {mine.charge_id}, "rival": {theirs.charge_id}}, "what is nobody's, neither sees"
    assert len(await world.open_ones()) == 3
    items = await world.database.read(lambda c: runs.items(c, "rival", found.run_id))
    assert [item["object_id"] for item in items] == [theirs.charge_id]
    assert await world.database.read(lambda c: runs.find(c, "rival", found.run_id)) is None
    (hers,) = await world.open_ones(tenant="rival")
    step = ResolveStep(discrepancy_id=hers["id"], decision=Decision.ACCEPT, by="x", note="x", at=LATER)
    with pytest.raises(NotFound):
        await world.database.run(lambda c: discrepancies.resolve(c, step, "shop"))


async def test_a_tenant_that_is_alone_sees_what_is_nobodys(world: World) -> None:
    await world.run(other())
    assert len(await world.open_ones(tenant="shop")) == 1


# --- corrections ---


async def test_the_ledger_is_corrected_without_a_line(world: World) -> None:
    """A correction that a person booked is expected on nobody's list."""
    await world.run(other())
    (disc,) = await world.open_ones()
    await resolve(world, disc["id"], Decision.ADJUST)
    await world.post(Kind.ADJUSTMENT, "disc_x", books.psp_fee("stripe", 5, "INR"))
    assert (await world.run(other(), window=(DAY, LATER + hours(1)))).classes == ["missing_here"]
