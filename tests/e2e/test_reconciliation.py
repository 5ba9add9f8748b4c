"""Reconciliation on the real stack: what a lost webhook left behind is healed; what is shown first is only shown."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import ScheduleBackfill, ScheduleOverlapPolicy

from db.audit.audit import audit_database
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import run as runs
from db.reconciliation.file import store
from domain.reconciliation.reconciliation import NewRun, Occasion, ReconciliationReport, Source, Subject
from domain.sweep import SweepReport
from runtime.runs import reconciliation_input, schedule_id, start_reconciliation
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop
from workers.schedules import ensure_schedules

SETTINGS = {
    "api_worker": False,
    "workflow_task_timeout_s": 2.0,
    "poll_first_s": 600.0,
    "poll_max_s": 600.0,
    "reconcile_here_grace_s": 0.0,
    "reconcile_verify_s": 1.0,
}
"""Nobody looks by itself: what is healed here, reconciliation has healed."""


@pytest.fixture
async def paysaga(deploy: Deploy) -> AsyncIterator[Deployment]:
    deployment = await deploy(**SETTINGS)
    yield deployment
    assert await audit_database(deployment.database) == []


@pytest.fixture
async def shop(paysaga: Deployment) -> Shop:
    return await paysaga.shop("shop")


async def stored(paysaga: Deployment, **fields: Any) -> tuple[str, Any]:
    """A run of the last hour, not begun; its id and what starts it."""
    now = datetime.now(UTC)
    file_id = fields.pop("file_id", None)
    inp = reconciliation_input(
        paysaga.settings, tenant_id="shop", by="kim", source=Source.FILE if file_id else Source.API, **fields
    )
    window = (None, None) if file_id else (now - timedelta(hours=1), now + timedelta(minutes=5))
    new = NewRun(
        key=str(uuid4()),
        tenant_id="shop",
        psp="stripe",
        subject=inp.subject,
        source=inp.source,
        file_id=file_id,
        window_from=window[0],
        window_to=window[1],
        apply=inp.apply,
        by=inp.by,
        at=now,
    )
    run_id = (await paysaga.database.run(lambda c: runs.open_run(c, new)))["id"]
    return run_id, inp.model_copy(update={"run_id": run_id})


async def reconcile(paysaga: Deployment, **fields: Any) -> ReconciliationReport:
    _, inp = await stored(paysaga, **fields)
    handle = await start_reconciliation(paysaga.temporal, inp)
    return await handle.result()


async def open_ones(paysaga: Deployment, status: str | None = "OPEN") -> list[dict[str, Any]]:
    found = await paysaga.database.read(lambda c: discrepancies.page(c, None, status=status, limit=100))
    return [row.model_dump(by_alias=True) for row in found]


async def deaf(paysaga: Deployment, checkout: str | None = None) -> str:
    """From now on the PSP's webhooks are lost."""
    return await paysaga.sandbox.webhook_fault("*", "lost", checkout=checkout, times=None)


async def test_all_is_well(paysaga: Deployment, shop: Shop) -> None:
    for _ in range(3):
        await shop.paid(shop.checkout())
    report = await reconcile(paysaga)
    assert (report.counts, report.opened, report.lines) == ({"matched": 3}, 0, 3)
    (event,) = await paysaga.sql("SELECT payload FROM outbox WHERE type = 'reconciliation.completed'")
    assert report.run_id in event["payload"]


async def test_a_lost_webhook_is_healed(paysaga: Deployment, shop: Shop) -> None:
    await deaf(paysaga)
    payment = await shop.paid(shop.checkout(), "pm_upi_processing", wait=0)
    await shop.until(payment["id"], "PENDING")
    await paysaga.sandbox.steer(await shop.reference(payment["id"]), "complete_processing")
    shown = await reconcile(paysaga)
    assert (shown.counts["status"], shown.asked) == (1, 0), "a dry run proposes"
    assert (await shop.payment(payment["id"]))["status"] == "PENDING"
    healed = await reconcile(paysaga, apply=True)
    assert (healed.asked, healed.overdue) == (1, 0)
    assert (await shop.payment(payment["id"]))["status"] == "SUCCESS"
    (disc,) = await open_ones(paysaga, None)
    assert (disc["status"], disc["resolution"]) == ("FIXED", "advance_payment")
    assert disc["fix_note"] == f"asked the workflow of {payment['id']}"
    again = await reconcile(paysaga, apply=True)
    assert (again.counts, again.opened) == ({"matched": 1}, 0)


async def test_paid_after_the_cancel(paysaga: Deployment, shop: Shop) -> None:
    await deaf(paysaga)
    payment = await shop.paid(shop.checkout(), "pm_card_authenticationRequired", wait=0)
    await shop.until(payment["id"], "REQUIRES_ACTION")
    await shop.post(f"/v1/payments/{payment['id']}/cancel", wait=10)
    await shop.until(payment["id"], "CANCELLED")
    await paysaga.sandbox.steer(await shop.reference(payment["id"]), "force_success")
    report = await reconcile(paysaga, apply=True)
    assert report.asked == 1

    async def refunded() -> bool:
        return await shop.kinds(payment["id"]) == ["suspense", "psp_fee", "suspense_refund"]

    await eventually(refunded, what="the late charge is refunded")
    again = await reconcile(paysaga, apply=True)
    assert (again.counts, await open_ones(paysaga)) == ({"matched": 2}, [])


async def test_refunded_and_disputed_without_us(paysaga: Deployment, shop: Shop) -> None:
    one, two = [await shop.paid(shop.checkout()) for _ in range(2)]
    await deaf(paysaga)
    await paysaga.sandbox.refund_by_hand(await shop.reference(one["id"]), 10_000)
    await paysaga.sandbox.dispute(await shop.reference(two["id"]))
    report = await reconcile(paysaga, apply=True)
    assert (report.counts, report.asked) == ({"matched": 2, "missing_here": 2}, 2)

    async def booked() -> bool:
        await reconcile(paysaga)
        return await open_ones(paysaga) == []

    await eventually(booked, timeout_s=40, what="both are booked")
    assert "refund" in await shop.kinds(one["id"])
    assert "dispute_withdrawn" in await shop.kinds(two["id"])


async def test_what_nobody_knows_waits_for_a_person(paysaga: Deployment, shop: Shop) -> None:
    await shop.paid(shop.checkout())
    line = {"type": "adjustment", "amount": -1234, "currency": "inr", "description": "a mystery"}
    await paysaga.sandbox.control("POST", "/balance_transactions", line)
    fee = {"type": "stripe_fee", "amount": -300, "currency": "inr", "reporting_category": "fee"}
    await paysaga.sandbox.control("POST", "/balance_transactions", fee)
    for booked in (1, 0):
        report = await reconcile(paysaga, apply=True)
        (disc,) = await open_ones(paysaga)
        assert (disc["class"], disc["difference"], report.fixed) == ("missing_here", -1234, booked)
    (task,) = await paysaga.sql("SELECT object_id, kind FROM operator_task WHERE closed_at IS NULL")
    assert tuple(task) == (disc["id"], "unmatched")
    fees = await paysaga.sql(
        "SELECT sum(amount)::int AS s FROM ledger_posting WHERE account = 'psp_fees' AND tenant_id = 'platform'"
    )
    assert fees[0]["s"] == 300


async def test_from_the_psps_file_and_the_banks(paysaga: Deployment, shop: Shop) -> None:
    """A payout to our bank: listed by the PSP, booked by rule, confirmed by the bank's statement."""
    await paysaga.sandbox.configure(available_delay_s=0, payout_delay_s=0.1)
    await shop.paid(shop.checkout())
    await paysaga.sandbox.stripe("/v1/balance")
    made = await paysaga.sandbox._http.post("/v1/payouts", data={"amount": 40_000, "currency": "inr"})
    assert made.status_code == 200, made.text
    start, end = int(datetime.now(UTC).timestamp()) - 3600, int(datetime.now(UTC).timestamp()) + 3600
    report = await reconcile(
        paysaga,
        apply=True,
        file_id=await uploaded(
            paysaga, Subject.PSP, f"/_control/reports/itemized?interval_start={start}&interval_end={end}"
        ),
    )
    assert (report.lines, report.counts, report.fixed) == (2, {"matched": 1, "missing_here": 1}, 1)

    async def arrived() -> str | None:
        path = f"/_control/bank/statement?from={start}&to={end}"
        return path if made.json()["id"] in (await paysaga.sandbox._http.get(path)).text else None

    path = await eventually(arrived, what="on the statement")
    assert path is not None
    report = await reconcile(paysaga, subject=Subject.BANK, file_id=await uploaded(paysaga, Subject.BANK, path))
    assert (report.lines, report.counts, report.opened) == (1, {"matched": 1}, 0)
    assert await open_ones(paysaga) == []


async def uploaded(paysaga: Deployment, subject: Subject, path: str) -> str:
    content = (await paysaga.sandbox._http.get(path)).raise_for_status().content

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return (await store(paysaga.database, paysaga.keyring, "shop", subject, path, "kim", chunks()))[0]


async def test_a_file_that_cannot_be_read(paysaga: Deployment, shop: Shop) -> None:
    assert shop.tenant == "shop"

    async def chunks() -> AsyncIterator[bytes]:
        yield b"not,a,report\n"

    file_id, _ = await store(paysaga.database, paysaga.keyring, "shop", Subject.PSP, "x.csv", "kim", chunks())
    report = await reconcile(paysaga, file_id=file_id)
    assert report.status == "FAILED"
    assert report.failure is not None
    assert report.failure.startswith("line 1: no column")


async def test_what_can_never_be_matched_ends(paysaga: Deployment, shop: Shop) -> None:
    """Not a file's fault that its reader knows: no repetition helps, and a person reads why."""
    await shop.paid(shop.checkout())
    run_id, inp = await stored(paysaga)
    await paysaga.sql("UPDATE reconciliation_run SET window_to = '9999-12-31 23:59:59Z' WHERE id = $1", run_id)
    report = await (await start_reconciliation(paysaga.temporal, inp)).result()
    assert report.status == "FAILED"
    assert (report.failure or "").startswith("The window cannot be asked for: ")


async def test_a_run_that_was_stored_and_not_started_is_swept_up(paysaga: Deployment, shop: Shop) -> None:
    await shop.paid(shop.checkout())
    run_id, _ = await stored(paysaga)
    sweep = await paysaga.temporal.execute_workflow(
        "sweep", id=f"sweep-{secrets.token_hex(5)}", task_queue=paysaga.name, result_type=SweepReport
    )
    assert sweep.reconciliations == 1

    async def done() -> bool:
        return bool((await paysaga.database.read(lambda c: runs.get(c, run_id)))["status"] == "COMPLETED")

    await eventually(done, what="the run ends")


async def test_killed_while_it_copies(paysaga: Deployment, shop: Shop) -> None:
    await shop.paid(shop.checkout())
    hold = await paysaga.sandbox.fault("balance_transactions.list", "hold_before")
    _, inp = await stored(paysaga)
    handle = await start_reconciliation(paysaga.temporal, inp)
    await paysaga.sandbox.struck(hold)
    await paysaga.worker.kill()
    await paysaga.sandbox.release(hold)
    await paysaga.start_worker()
    assert (await handle.result()).counts == {"matched": 1}


async def test_killed_while_it_matches(paysaga: Deployment, shop: Shop) -> None:
    """Nothing of a matching that was not finished can be seen."""
    await shop.paid(shop.checkout())
    run_id, inp = await stored(paysaga)
    async with paysaga.connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('reconciliation:stripe', 0))")
        handle = await start_reconciliation(paysaga.temporal, inp)
        await eventually(lambda: waits(paysaga), what="the matching waits")
        await paysaga.worker.kill()
    assert (await paysaga.database.read(lambda c: runs.get(c, run_id)))["matched_at"] is None
    await paysaga.start_worker()
    assert (await handle.result()).counts == {"matched": 1}


async def waits(paysaga: Deployment) -> bool:
    return bool(await paysaga.sql("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))


async def test_a_backfill_is_about_its_own_day(paysaga: Deployment, shop: Shop) -> None:
    await ensure_schedules(paysaga.temporal, paysaga.settings)
    assert shop.tenant == "shop"
    handle = paysaga.temporal.get_schedule_handle(schedule_id(paysaga.name, "reconcile-day"))
    description = await handle.describe()
    assert description.schedule.spec.time_zone_name in (None, "", "UTC")
    moment = datetime(2026, 2, 3, 3, 30, tzinfo=UTC)
    await handle.backfill(
        ScheduleBackfill(
            start_at=moment - timedelta(minutes=1),
            end_at=moment + timedelta(minutes=1),
            overlap=ScheduleOverlapPolicy.ALLOW_ALL,
        )
    )

    async def done() -> Any:
        rows = await paysaga.sql("SELECT * FROM reconciliation_run WHERE status = 'COMPLETED'")
        return rows[0] if rows else None

    run = await eventually(done, what="the backfill")
    assert str(run["business_date"]) == "2026-02-02"
    assert (run["window_from"], run["window_to"]) == (
        datetime(2026, 2, 2, tzinfo=UTC),
        datetime(2026, 2, 3, tzinfo=UTC),
    )
    assert (run["tenant_id"], run["apply"], run["actor"]) == ("platform", True, "reconciliation")


async def test_the_last_hours(paysaga: Deployment, shop: Shop) -> None:
    await shop.paid(shop.checkout())
    inp = reconciliation_input(paysaga.settings, occasion=Occasion.RECENT)
    report = await paysaga.temporal.execute_workflow(
        "reconciliation",
        inp,
        id=f"recent-{secrets.token_hex(4)}",
        task_queue=paysaga.name,
        result_type=ReconciliationReport,
    )
    assert (report.lines, report.status) == (1, "COMPLETED")
