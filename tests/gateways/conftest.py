"""A sandbox process for the adapter's tests, and an account of its own for each test."""

import asyncio
import itertools
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from domain.psp import ChargeRequest, RefundRequest, TransferRequest
from gateways.guard import Guard
from gateways.stripe.gateway import StripePsp
from tests.support.programs import Program

_numbers = itertools.count(1)


class Account:
    """One Stripe account in the sandbox: the adapter, what steers it, and how to make requests for it."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.key = f"sk_test_gateways_{os.getpid()}_{next(_numbers)}"
        self.base_url, self._url, self._http = url, url, http
        self.psp = self.adapter()

    def adapter(self, *webhook_secrets: str) -> StripePsp:
        """The account's adapter; a further one stands for another process."""
        guard = Guard("sandbox", concurrency_max=50, rate_per_s=10_000, breaker_failures=100, breaker_open_s=1)
        currencies = ["USD", "INR", "KWD", "JPY"]
        return StripePsp(
            api_key=self.key,
            guard=guard,
            currencies=currencies,
            base_url=self.base_url,
            return_url="https://shop.example/back",
            webhook_secrets=webhook_secrets,
        )

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the control API; its JSON answer."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with self._http.request(method, f"{self._url}/_control/{path}", json=body, headers=headers) as response:
            text = await response.text()
            assert response.status < 300, f"{response.status} {text}"
            return await response.json() if text else None

    async def download(self, path: str, **query: int) -> bytes:
        """A file of the control API."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with self._http.get(f"{self._url}/_control/{path}", params=query, headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.read()

    async def fault(self, kind: str, operation: str = "payment_intents.create", **more: Any) -> Any:
        """Make the provider misbehave, once unless `times` says otherwise."""
        return await self.control("POST", "faults", {"kind": kind, "operation": operation, **more})

    async def struck(self, fault: Any) -> None:
        """Wait until the fault has taken effect. A request that was given up may be on its way still, and the next one
        would meet what was meant for it."""
        await self.control("GET", f"faults/{fault['id']}?wait_hits=1&timeout_s=30")

    async def charges_taken(self) -> int:
        """How many charges really took money, by the provider's own log."""
        return len((await self.control("GET", "log"))["charges"])

    def request(self, card: str = "pm_card_visa", **more: Any) -> ChargeRequest:
        """A charge of 500.00 USD under ids of its own."""
        number = next(_numbers)
        fields: dict[str, Any] = {
            "key": f"pay_{number}:charge:1",
            "charge_id": f"ch_{number}",
            "payment_id": f"pay_{number}",
            "amount": 50_000,
            "currency": "USD",
            "method": "card",
            "token": card,
            "description": "Order",
            "metadata": {"checkout": "c-1"},
        }
        return ChargeRequest(**(fields | more))

    def refund_request(self, reference: str, amount: int = 50_000, **more: Any) -> RefundRequest:
        """A refund under ids of its own."""
        number = next(_numbers)
        fields: dict[str, Any] = {
            "key": f"re_{number}:refund:1",
            "refund_id": f"re_{number}",
            "charge_reference": reference,
            "amount": amount,
            "currency": "USD",
            "reason": "requested_by_customer",
        }
        return RefundRequest(**(fields | more))

    def transfer_request(self, destination: str = "acct_paysOut", **more: Any) -> TransferRequest:
        """A transfer of 100.00 USD under ids of its own."""
        number = next(_numbers)
        fields: dict[str, Any] = {
            "key": f"pt_{number}:transfer:1",
            "payout_id": f"pt_{number}",
            "destination": f"{destination}_{number}",
            "amount": 10_000,
            "currency": "USD",
            "metadata": {"seller": "s-1"},
        }
        return TransferRequest(**(fields | more))


@pytest.fixture(scope="session")
async def sandbox_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a sandbox process that lives as long as the test session."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = tmp_path_factory.mktemp("sandbox") / "sandbox.db"
    address = ("--host", "127.0.0.1", "--port", str(port), "--data", str(data))
    program = Program("sandbox", *address, env=os.environ, out=data.with_suffix(".log"))
    try:
        await _until_listening(port, program)
        yield f"http://127.0.0.1:{port}"
    finally:
        program.send(signal.SIGTERM)
        await program.ended()


async def _until_listening(port: int, program: Program) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert program.code is None, "the sandbox ended at once"
            assert time.monotonic() < deadline, "the sandbox does not listen"
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def account(sandbox_url: str, http: aiohttp.ClientSession) -> AsyncIterator[Account]:
    account = Account(sandbox_url, http)
    yield account
    await account.psp.close()
