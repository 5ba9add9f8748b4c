"""A database with every kind of payment in it, made by a real Paysaga, to be copied and damaged."""

import secrets
from collections.abc import AsyncIterator

import pytest

from db.database import Database
from stack.embedded import EmbeddedStack
from tests.audit.copies import Copy
from tests.support.deployment import Deployment


@pytest.fixture(scope="session")
async def original(servers: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """(the database, label → payment id). Nothing is connected to it any more, so it can be copied."""
    name = f"audited{secrets.token_hex(4)}"
    async with Deployment(servers, tmp_path_factory.mktemp("audited"), name) as paysaga:
        shop = await paysaga.shop("acme")
        paid = await shop.paid(shop.checkout("paid"))
        two = await shop.paid(shop.checkout("two"), orders=[("anna", "300.00"), ("bo", "200.00")])
        declined = await shop.paid(shop.checkout("declined"), "pm_card_chargeDeclined")
        waiting = await shop.paid(shop.checkout("waiting"), "pm_card_threeDSecure2Required")
        cancelled = await shop.paid(shop.checkout("cancelled"), "pm_card_threeDSecure2Required")
        await shop.post(f"/v1/payments/{cancelled['id']}/cancel")
        refunded = await shop.paid(shop.checkout("refunded"), "pm_upi_processing", orders=[("chen", "500.00")])
        await shop.set_merchant("chen", status="FROZEN")
        await paysaga.sandbox.steer(await shop.reference(refunded["id"]), "complete_processing")
        payments = {
            "paid": paid,
            "two": two,
            "declined": declined,
            "waiting": waiting,
            "cancelled": cancelled,
            "refunded": refunded,
        }
        await shop.until(refunded["id"], "FAILED")
        await shop.until(cancelled["id"], "CANCELLED")
        await paysaga.sandbox.flush_webhooks()
    return name, {label: payment["id"] for label, payment in payments.items()}


@pytest.fixture
async def copy(servers: EmbeddedStack, original: tuple[str, dict[str, str]]) -> AsyncIterator[Copy]:
    """A copy of it, dropped afterwards."""
    template, names = original
    name = f"copy{secrets.token_hex(5)}"
    await servers.postgres.create_database(name, template=template)
    database = Database(servers.postgres.url(name, "paysaga"), pool_size=0, timeout_s=20)
    yield Copy(servers, name, names, database)
    await database.close()
    await servers.postgres.drop_database(name)
