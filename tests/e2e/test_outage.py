"""The servers under us are killed (SIGKILL) while payments are on their way. Whatever was acknowledged is there."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from db.audit.audit import audit_database
from embedded.stack import SERVERS, EmbeddedStack, free_settings
from tests.support.deployment import Deployment, make_template
from tests.support.eventually import eventually
from tests.support.shop import Shop


@pytest.fixture(scope="module")
async def mortal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    """Servers of their own: others must not notice. Their supervisor starts what dies again."""
    async with EmbeddedStack(free_settings(tmp_path_factory.mktemp("servers")), pieces=SERVERS) as stack:
        await make_template(stack)
        yield stack


@pytest.fixture
async def paysaga(mortal: EmbeddedStack, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with Deployment(mortal, tmp_path, f"outage_{secrets.token_hex(3)}") as deployment:
        yield deployment


async def insist(shop: Shop, checkout: str) -> dict[str, Any]:
    """What a good client does: the same request under the same key until it is acknowledged."""

    async def probe() -> dict[str, Any] | None:
        try:
            answer = await shop.pay(checkout, key=checkout, wait=0)
        except httpx2.TransportError:
            return None
        assert answer.status_code in (201, 202, 409, 503), answer.text
        if answer.status_code == 503:
            assert answer.headers["Retry-After"]
        return answer.json() if answer.status_code in (201, 202) else None

    return await eventually(probe, timeout_s=60, what=f"{checkout} acknowledged")


@pytest.mark.parametrize("server", ["postgres", "temporal", "sandbox"])
async def test_a_server_is_killed_under_load(paysaga: Deployment, server: str) -> None:
    shop = await paysaga.shop("outage")
    checkouts = [shop.checkout() for _ in range(24)]

    async def kill_in_the_middle() -> None:
        await insist(shop, checkouts[0])
        os.kill(paysaga.stack.pid_of(server), signal.SIGKILL)

    payments, _ = await asyncio.gather(
        asyncio.gather(*(insist(shop, checkout) for checkout in checkouts)), kill_in_the_middle()
    )

    swept_s = 0.0

    async def ended(payment_id: str) -> str | None:
        nonlocal swept_s
        try:
            answer = await shop.get(f"/v1/payments/{payment_id}")
        except httpx2.TransportError:
            return None
        found = answer.json()["status"] if answer.status_code == 200 else None
        if found not in ("SUCCESS", "FAILED", "CANCELLED") and time.monotonic() > swept_s + 1:
            await sweep(paysaga)
            swept_s = time.monotonic()  # at each look, sweeping would be most of what the servers do
        return found if found in ("SUCCESS", "FAILED", "CANCELLED") else None

    for payment, checkout in zip(payments, checkouts, strict=True):
        status = await eventually(partial(ended, payment["id"]), timeout_s=90, what=payment["id"])
        assert status == "SUCCESS"
        assert await eventually(partial(charged, paysaga, checkout), what="the PSP's log") == [50000]
    await paysaga.database.close()  # its connections may have died with the server; it makes new ones
    assert await audit_database(paysaga.database) == []


async def charged(paysaga: Deployment, checkout: str) -> list[int] | None:
    """The ground truth, once the PSP answers again."""
    try:
        return (await paysaga.sandbox.log(checkout)).charged
    except httpx2.TransportError:
        return None


async def sweep(paysaga: Deployment) -> None:
    """The schedule's work, now: payments that were stored while Temporal could not be told."""
    try:
        async with asyncio.timeout(10):
            await paysaga.temporal.execute_workflow(
                "sweep", id=f"sweep-{os.urandom(4).hex()}", task_queue=paysaga.settings.temporal_task_queue
            )
    except Exception:  # noqa: BLE001 - Temporal may be the one that is down: the caller asks again
        await asyncio.sleep(0.5)
