"""A day of traffic, reconciled from files as they come in real life: Stripe's default download, in local time and
without payouts, and a bank that does not name the PSP's payouts, or names them as only the bank does."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.audit.audit import audit_database
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.reconciling import AT_ONCE, reconciled, upload
from tests.support.shop import Shop

ZONE = "Asia/Kolkata"


@pytest.fixture
async def paysaga(deploy: Deploy) -> AsyncIterator[Deployment]:
    deployment = await deploy(**AT_ONCE)
    yield deployment
    assert await audit_database(deployment.database) == []


async def of_the_sandbox(shop: Shop, path: str, kind: str) -> str:
    """A file of the last hours, uploaded; its id."""
    begin, end = int(time.time()) - 7_200, int(time.time()) + 60
    names = ("interval_start", "interval_end") if kind == "psp" else ("from", "to")
    query = f"{names[0]}={begin}&{names[1]}={end}"
    content = (await shop.paysaga.sandbox._http.get(f"/_control/{path}?{query}")).raise_for_status().content
    answer = await upload(shop, content, kind=kind, name=path.replace("/", "-"))
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


async def report(shop: Shop, **body: Any) -> dict[str, Any]:
    file_id = await of_the_sandbox(shop, "reports/itemized", "psp")
    return await reconciled(shop, file_id=file_id, **body)


async def statement(shop: Shop, names: str, *, apply: bool = False) -> dict[str, Any]:
    """A bank run over a statement whose entries name their payouts so; as the API shows it."""
    await shop.paysaga.sandbox.configure(bank_names=names)
    file_id = await of_the_sandbox(shop, "bank/statement", "bank")
    run = await reconciled(shop, subject="bank", file_id=file_id, zone=ZONE, apply=apply)
    assert (run["status"], run["opened"]) == ("COMPLETED", 0), run
    return run


async def matched_by(shop: Shop, run: dict[str, Any]) -> list[str]:
    rows = await shop.paysaga.sql("SELECT how FROM reconciliation_item WHERE run_id = $1 AND how <> ''", run["id"])
    return sorted(row["how"] for row in rows)


async def traffic(shop: Shop) -> list[str]:
    """Charges, refunds of which two are alike, and three payouts to our bank of which two are alike; their names."""
    payments = [await shop.paid(shop.checkout()) for _ in range(4)]
    for payment, amount in zip(payments, ("10.00", "10.00", "20.00"), strict=False):
        answer = await shop.post(f"/v1/payments/{payment['id']}/refunds", {"amount": amount}, wait=20)
        assert answer.json()["status"] == "SUCCEEDED", answer.text
    paid = []
    for minor in (40_000, 40_000, 30_000):
        made = await shop.paysaga.sandbox.control("POST", "/platform_payouts", {"currency": "inr", "amount": minor})
        paid.append(made["id"])
    return paid


async def test_a_day_as_it_comes_in_real_life(paysaga: Deployment) -> None:
    shop = await paysaga.shop("shop")
    await paysaga.sandbox.configure(
        available_delay_s=0, payout_delay_s=None, trace_delay_s=None, report_columns="default", report_payouts=False,
        local_timezone=ZONE,
    )  # fmt: skip
    paid = await traffic(shop)
    now = datetime.now(UTC)
    window = {"from": (now - timedelta(hours=2)).isoformat(), "to": (now + timedelta(hours=1)).isoformat()}
    listed = await reconciled(shop, apply=True, **window)
    assert (listed["counts"], listed["fixed"]) == ({"matched": 7, "missing_here": 3}, 3), "payouts are booked by rule"

    # Nine columns, local times, no payouts. Read in another zone the lines are hours off, and that is said.
    run = await report(shop, zone=ZONE)
    assert (run["counts"], run["opened"]) == ({"matched": 7}, 0), run
    assert any("were read as of Asia/Kolkata" in note for note in run["notes"])
    elsewhere = await report(shop, zone="UTC", **window)
    assert (elsewhere["outside"], elsewhere["lines"]) == (7, 7), elsewhere
    again = await report(shop, zone=ZONE)
    assert (again["counts"]["matched"], again["closed"]) == (7, elsewhere["opened"])

    # The bank names no payout: amount and day do, and what is alike is said.
    for payout in paid:
        await paysaga.sandbox.steer_payout(payout, "pay")
    run = await statement(shop, "nothing")
    assert (run["counts"], await matched_by(shop, run)) == ({"matched": 3}, ["guess"] * 3)
    (said,) = run["notes"]
    assert said.startswith("2 entries and 2 payouts of 400.00 INR are alike, and no name tells them apart.")
    page = (await shop.get(f"/v1/reconciliations/{run['id']}/report")).text
    assert "2 entries and 2 payouts of 400.00 INR are alike" in page

    # The bank names them by its own references, which the PSP does not tell yet, and later tells by an event, or when
    # it is asked.
    run = await statement(shop, "trace_id")
    assert (run["counts"], await matched_by(shop, run)) == ({"matched": 3}, ["guess"] * 3)
    await paysaga.sandbox.steer_payout(paid[0], "trace")
    await eventually(lambda: traced(paysaga, paid[0]), what="the event has told it")
    await paysaga.sandbox.webhook_fault("*", "lost", times=None)
    for payout in paid[1:]:
        await paysaga.sandbox.steer_payout(payout, "trace")
    run = await statement(shop, "trace_id", apply=True)
    assert (run["counts"], await matched_by(shop, run), run["notes"]) == ({"matched": 3}, ["psp_id"] * 3, [])

    # Confirmed once, by whatever name.
    for names in ("nothing", "payout"):
        run = await statement(shop, names, apply=True)
        assert (run["counts"], run["notes"]) == ({"matched": 3}, [])


async def traced(paysaga: Deployment, payout: str) -> bool:
    return bool(await paysaga.sql("SELECT FROM payout_trace WHERE reference = $1", payout))
