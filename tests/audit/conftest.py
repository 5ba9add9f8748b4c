"""A database with everything in it that can happen to a payment, made by a real Paysaga, to be copied and damaged."""

import asyncio
import fcntl
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.core.database import FEW, Database
from domain.ids import payment_workflow_id
from embedded.stack import EmbeddedStack
from tests.audit.copies import Copy, Spoilt
from tests.audit.flows import Flows
from tests.audit.payouts import payouts, sealed
from tests.audit.reconciled import reconciled
from tests.support.databases import copy_database, drop_database
from tests.support.deployment import Deployment
from tests.support.people import added
from tests.support.shop import Shop


@pytest.fixture(scope="session")
async def original(
    servers: EmbeddedStack, shared_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, str]]:
    """(the database, label → id). Nothing is connected to it any more, so it can be copied. Whichever process of the
    run asks first makes it."""
    made = shared_folder / "audited.json"
    with (shared_folder / "audited.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not made.exists():
            made.write_text(json.dumps(await _made(servers, tmp_path_factory.mktemp("audited"))))
        name, names = json.loads(made.read_text())
    return name, names


async def _made(servers: EmbeddedStack, folder: Path) -> tuple[str, dict[str, str]]:
    name = f"audited{secrets.token_hex(4)}"
    async with Deployment(servers, folder, name) as paysaga:
        paysaga.keep_database = True
        shop = await paysaga.shop("acme")
        flows = Flows(paysaga, shop)
        await flows.seller("dora", dispute_fee_payer="seller")
        await flows.seller("eve", platform_fee_on_refund="kept", allow_negative_balance=True)
        await added(shop)
        careful = Flows(paysaga, await paysaga.shop("careful"))
        names = await charges(paysaga, shop)
        made = await asyncio.gather(refunds(flows), disputes(flows, names["ours"]), captures(flows), reviews(careful))
        for part in made:
            names |= part
        await paysaga.sandbox.configure(processing_delay_s=None)  # from now on a pending refund stays pending
        payment = await paid(shop, "refund_pending", "pm_card_pendingRefund", [("dora", "500.00")])
        names |= {"refund_pending": payment, "re_pending": await flows.refund(payment, "PENDING", amount=10000)}
        await paysaga.sandbox.flush_webhooks()
        for row in await paysaga.sql("SELECT id FROM payment WHERE status IN ('SUCCESS', 'FAILED', 'CANCELLED')"):
            handle = paysaga.temporal.get_workflow_handle(payment_workflow_id(row["id"]))
            async with asyncio.timeout(20):
                await handle.result()
        names |= await payouts(flows, shop)
        names |= await reconciled(paysaga, shop.tenant, names["paid"])
        names["head"] = str(await sealed(flows, block=20))
        names["sold_unsealed"] = await paid(shop, "sold_unsealed")
    # Nobody looks at them any more, and the tests take their time.
    tomorrow = "UPDATE {} SET next_check_at = now() + interval '1 day' WHERE next_check_at IS NOT NULL"
    statements = [tomorrow.format(table) for table in ("payment", "dispute", "payout")]
    await servers.postgres.sql(";".join(["SET session_replication_role = replica", *statements]), database=name)
    return name, names


async def paid(shop: Shop, label: str, token: str = "pm_card_visa", orders: object = None, **fields: object) -> str:
    payment = await shop.paid(shop.checkout(label), token, orders=orders or [("anna", "500.00")], **fields)
    return str(payment["id"])


async def charges(paysaga: Deployment, shop: Shop) -> dict[str, str]:
    names = {
        "paid": await paid(shop, "paid"),
        "two": await paid(shop, "two", orders=[("anna", "300.00"), ("bo", "200.00")]),
        "declined": await paid(shop, "declined", "pm_card_chargeDeclined"),
        "waiting": await paid(shop, "waiting", "pm_card_threeDSecure2Required"),
        "cancelled": await paid(shop, "cancelled", "pm_card_threeDSecure2Required"),
        "refunded": await paid(shop, "refunded", "pm_upi_processing", [("chen", "500.00")]),
        "ours": await paid(shop, "ours", "pm_upi_processing", [("chen", "500.00")]),
    }
    await shop.post(f"/v1/payments/{names['cancelled']}/cancel")
    await shop.set_merchant("chen", status="FROZEN")
    for label in ("refunded", "ours"):
        await paysaga.sandbox.steer(await shop.reference(names[label]), "complete_processing")
        await shop.until(names[label], "FAILED")
    await shop.until(names["cancelled"], "CANCELLED")
    return names


async def refunds(flows: Flows) -> dict[str, str]:
    two = [("dora", "300.00"), ("bo", "200.00")]
    names = {
        "returned": await paid(flows.shop, "returned", orders=two),
        "all_returned": await paid(flows.shop, "all_returned", orders=[("eve", "500.00")]),
        "not_returned": await paid(flows.shop, "not_returned", "pm_card_pendingRefundFail"),
        "came_back": await paid(flows.shop, "came_back", "pm_card_refundFail"),
        "at_psp": await paid(flows.shop, "at_psp", orders=two),
    }
    names |= {
        "re_part": await flows.refund(names["returned"], "SUCCEEDED", amount=12_000, seller="dora"),
        "re_all": await flows.refund(names["all_returned"], "SUCCEEDED"),
        "re_failed": await flows.refund(names["not_returned"], "FAILED", amount=7_000),
        "re_came_back": await flows.refund(names["came_back"], "FAILED", amount=5_000),
        "re_psp": await flows.refund_at_psp(names["at_psp"], 10_000),
    }
    return names


async def disputes(flows: Flows, ours: str) -> dict[str, str]:
    two = [("dora", "300.00"), ("bo", "200.00")]
    names = {label: await paid(flows.shop, label, orders=two) for label in ("disputed", "lost", "won", "reinstated")}
    # Nothing of `ours` was ever credited, so nobody but us can bear the loss.
    disputed = names | {"ours": ours}
    opened = {label: await flows.dispute(disputed[label], "NEEDS_RESPONSE") for label in disputed}
    names |= {label: await paid(flows.shop, label) for label in ("inquired", "closed")}
    opened["inquired"] = await flows.dispute(names["inquired"], "INQUIRY", inquiry=True)
    opened["closed"] = await flows.dispute(names["closed"], "INQUIRY", inquiry=True)
    await flows.decide(opened["lost"], "lose", "LOST")
    await flows.decide(opened["ours"], "lose", "LOST")
    await flows.decide(opened["reinstated"], "lose", "LOST")
    await flows.decide(opened["reinstated"], "reinstate", "WON")
    await flows.decide(opened["won"], "win", "WON")
    await flows.decide(opened["closed"], "close_inquiry", "CLOSED")
    return names | {f"dp_{label}": dispute[0] for label, dispute in opened.items()}


async def captures(flows: Flows) -> dict[str, str]:
    two = [("anna", "300.00"), ("bo", "200.00")]
    names = {
        label: await paid(flows.shop, label, orders=two, capture="manual")
        for label in ("authorized", "part", "left_out", "voided")
    }
    for payment_id in names.values():
        await flows.shop.until(payment_id, "AUTHORIZED")
    await flows.capture(names["part"], {"anna": 10_000, "bo": 20_000})
    await flows.capture(names["left_out"], {"anna": 30_000})
    await flows.shop.post(f"/v1/payments/{names['voided']}/cancel")
    await flows.shop.until(names["voided"], "CANCELLED")
    return names


async def reviews(flows: Flows) -> dict[str, str]:
    amount = {"type": "amount", "currency": "INR"}
    await flows.rules(
        amount | {"name": "large", "then": "review", "above": "1000.00"},
        amount | {"name": "too large", "then": "block", "above": "5000.00"},
        {"type": "psp_risk_score", "name": "risky", "then": "review", "at_least": 60},
    )
    large = [("anna", "2000.00")]
    names = {
        "allowed": await paid(flows.shop, "allowed"),
        "blocked": await paid(flows.shop, "blocked", orders=[("anna", "6000.00")]),
        "in_review": await paid(flows.shop, "in_review", orders=large),
        "approved": await paid(flows.shop, "approved", orders=large),
        "rejected": await paid(flows.shop, "rejected", orders=large),
        "risky": await paid(flows.shop, "risky", "pm_card_riskLevelElevated"),
    }
    for label in ("in_review", "approved", "rejected", "risky"):
        await flows.shop.until(names[label], "IN_REVIEW")
    await flows.review(names["approved"], "approve", "SUCCESS")
    await flows.review(names["rejected"], "reject", "FAILED")
    return names


@pytest.fixture
async def copy(servers: EmbeddedStack, original: tuple[str, dict[str, str]]) -> AsyncIterator[Copy]:
    """A copy of it, dropped afterwards."""
    template, names = original
    name = f"copy{secrets.token_hex(5)}"
    await copy_database(servers.postgres, name, template=template)
    database = Database(servers.postgres.url(name, "paysaga"), pool_size=FEW, timeout_s=20)
    yield Copy(servers, name, names, database)
    await database.close()
    await drop_database(servers.postgres, name)


@pytest.fixture(scope="session")
async def spoilt(servers: EmbeddedStack, original: tuple[str, dict[str, str]]) -> AsyncIterator[Spoilt]:
    template, names = original
    name = f"spoilt{secrets.token_hex(5)}"
    await copy_database(servers.postgres, name, template=template)
    as_superuser = Database(servers.postgres.url(name), pool_size=1, timeout_s=20)
    yield Spoilt(as_superuser.engine, names)
    await as_superuser.close()
