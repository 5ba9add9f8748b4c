"""The head start of a charge: it is sent while Temporal starts its workflow, and taken once whatever comes between."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from db.audit.audit import audit_database
from embedded.stack import EmbeddedStack
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.link import Link
from tests.support.shop import Shop

DECLINED = "pm_card_chargeDeclined"


@dataclass
class Cut:
    """A Paysaga whose last payment went through, and whose way to Temporal was cut since."""

    paysaga: Deployment
    shop: Shop
    temporal: Link

    async def sent(self, checkout: str, token: str = "pm_card_visa", *, key: str) -> str:
        """The id of a payment that was taken on, and whose charge has been asked for."""
        answer = await self.shop.pay(checkout, token, key=key, wait=0)
        assert (answer.status_code, answer.json()["status"]) == (202, "EXECUTING")
        await eventually(lambda: self.asked_for(checkout), what=f"the charge of {checkout}")
        return str(answer.json()["id"])

    async def asked_for(self, checkout: str) -> bool:
        return (await self.paysaga.sandbox.log(checkout)).sent("payment_intents.create") > 0

    async def mended(self, payment: str, checkout: str, token: str = "pm_card_visa", *, key: str) -> str:
        """The payment's end, once its client has sent the request again after the way was mended."""
        self.temporal.mend()
        answer = await self.shop.pay(checkout, token, key=key)
        assert (answer.headers["idempotent-replayed"], answer.json()["id"]) == ("true", payment)
        return str((await self.shop.until(payment))["status"])


@pytest.fixture
async def cut(servers: EmbeddedStack, deploy: Deploy) -> AsyncIterator[Cut]:
    assert servers.settings.temporal_address is not None
    async with Link.to(servers.settings.temporal_address) as temporal:
        paysaga = await deploy(temporal_address=temporal.address)
        shop = await paysaga.shop("ahead")
        assert (await shop.paid(shop.checkout()))["status"] == "SUCCESS"
        temporal.cut()
        yield Cut(paysaga, shop, temporal)
        assert await audit_database(paysaga.database) == []


async def test_a_charge_is_sent_while_its_workflow_is_started(cut: Cut) -> None:
    """And none after a start that Temporal has not answered: nobody would hear of it."""
    checkout, later, key, other = cut.shop.checkout(), cut.shop.checkout(), str(uuid4()), str(uuid4())
    payment = await cut.sent(checkout, key=key)
    answer = await cut.shop.pay(later, key=other, wait=0)
    assert answer.status_code == 202
    assert not await cut.asked_for(later)
    assert await cut.mended(payment, checkout, key=key) == "SUCCESS"
    assert await cut.mended(answer.json()["id"], later, key=other) == "SUCCESS"
    assert [(await cut.paysaga.sandbox.log(name)).charged for name in (checkout, later)] == [[50000], [50000]]


async def test_killed_before_its_workflow_was_started(cut: Cut) -> None:
    checkout, key = cut.shop.checkout(), str(uuid4())
    payment = await cut.sent(checkout, key=key)
    await cut.paysaga.api.kill()
    await cut.paysaga.worker.kill()
    cut.temporal.mend()
    await asyncio.gather(cut.paysaga.start_api(), cut.paysaga.start_worker())
    assert await cut.mended(payment, checkout, key=key) == "SUCCESS"
    assert (await cut.paysaga.sandbox.log(checkout)).charged == [50000]


async def test_cancelled_before_its_workflow_was_started(cut: Cut) -> None:
    checkout, key = cut.shop.checkout(), str(uuid4())
    payment = await cut.sent(checkout, key=key)
    assert (await cut.shop.post(f"/v1/payments/{payment}/cancel", wait=0)).status_code == 202
    assert await cut.mended(payment, checkout, key=key) == "CANCELLED"
    log = await cut.paysaga.sandbox.log(checkout)
    assert (log.charged, log.refunded) == ([50000], [50000])


async def test_declined_before_its_workflow_was_started(cut: Cut) -> None:
    checkout, key = cut.shop.checkout(), str(uuid4())
    payment = await cut.sent(checkout, DECLINED, key=key)
    assert await cut.mended(payment, checkout, DECLINED, key=key) == "FAILED"
    assert (await cut.paysaga.sandbox.log(checkout)).charged == []
