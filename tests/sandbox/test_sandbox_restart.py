"""What survives a killed process, and how it leaves when asked to."""

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Endpoint, Psp


async def test_a_killed_provider_forgets_nothing_it_acknowledged(mortal: "Psp", endpoint: "Endpoint") -> None:
    psp, server = mortal, mortal.server
    await psp.control(
        "PATCH",
        "/account",
        {"webhook_url": "http://127.0.0.1:9/", "webhook_secret": "whsec_test", "processing_delay_s": 0.3},
    )
    paid = await psp.pay(key="k", metadata={"order": "1"})
    late = await psp.pay("pm_upi_success")
    fault = await psp.fault("hold_after")
    lost = asyncio.create_task(psp.pay(key="committed"))
    await psp.control("GET", f"/faults/{fault}?wait_hits=1")
    server.end(signal.SIGKILL)
    with pytest.raises(stripe.APIConnectionError):
        await lost
    server.start()
    assert (await psp.pay(key="k", metadata={"order": "1"})).id == paid.id
    again = await psp.pay(key="committed")
    assert again.last_response
    assert again.last_response.headers["idempotent-replayed"] == "true"
    while (await psp.v1.payment_intents.retrieve_async(late.id)).status == "processing":
        pass
    assert len((await psp.log())["charges"]) == 3
    await psp.control("PATCH", "/account", {"webhook_url": endpoint.url})
    await psp.control("POST", "/webhooks/flush")
    assert sorted(endpoint.types)[-3:] == ["payment_intent.succeeded"] * 3


async def test_sigterm_ends_it_in_peace_even_while_requests_hang(mortal: "Psp") -> None:
    psp, server = mortal, mortal.server
    fault = await psp.fault("hold_before")
    held = asyncio.create_task(psp.pay())
    await psp.control("GET", f"/faults/{fault}?wait_hits=1")
    started_at = time.monotonic()
    assert await asyncio.to_thread(server.end) == 0
    assert time.monotonic() - started_at < 15
    with pytest.raises(stripe.APIConnectionError):
        await held
    server.start()
    assert (await psp.log())["charges"] == []
    assert await asyncio.to_thread(server.end, signal.SIGINT) == 0
    assert "Traceback" not in server.complaints, server.complaints


async def test_the_overview_page_shows_the_default_account(mortal: "Psp") -> None:
    psp = mortal
    intent = await psp.pay(description="<b>Shoes & socks</b>")
    await psp.fault("http_503")
    async with psp.session.get(f"{psp.server.url}/") as page:
        text = await page.text()
    assert intent.id in text
    assert "&lt;b&gt;Shoes &amp; socks" in text
    assert "₹500.00" in text
    assert "http_503" in text
    async with psp.session.get(f"{psp.server.url}/healthz") as answer:
        assert await answer.json() == {"status": "ok"}
